package accounts

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/netip"

	"postoffice/applets/smtpd/login"
	"postoffice/internal/hashes"
	"postoffice/internal/idn"
	"postoffice/internal/peer"
	"postoffice/internal/sasl"
	"postoffice/internal/smtp"
)

// An Account is what is known of one.
type Account struct {
	Name     string // as who has logged in is called
	Hash     string // as a file has it
	Verifier string // for SCRAM; "" is none
	Closed   error  // why nobody may log in to it, for the log; nil: they may
}

// Accounts are those of one kind.
type Accounts interface {
	// Find returns an account by a name as idn.AsLogin has it. ErrNone is a definite
	// answer, with the Name that all ways to write the name of one account have in
	// common; any other error means that it isn't known now.
	Find(ctx context.Context, name string) (Account, error)
	// Scram reports whether accounts may have verifiers, and whether each has one.
	Scram() (some, all bool)
}

// ErrNone: there is no account of that name.
var ErrNone = errors.New("no such account")

// Source logs in to accounts.
type Source struct {
	accounts Accounts
	pool     hashes.Pool
	nobodys  hashes.Hash // of a password that nobody knows
	secret   []byte      // of verifiers of accounts that there aren't
	guesses  guesses
}

// New returns the source of accounts. The secret must be the same in all runs, and known
// to nobody else; nil makes one for this run: who asks twice could tell a name that there
// isn't then.
func New(a Accounts, secret []byte) (*Source, error) {
	if len(secret) == 0 {
		secret = []byte(rand.Text())
	}
	text, err := hashes.New(rand.Text())
	if err != nil {
		return nil, err
	}
	h, err := hashes.Parse(text)
	if err != nil {
		return nil, err
	}
	return &Source{accounts: a, nobodys: h, secret: secret}, nil
}

// Mechanisms are PLAIN, and SCRAM where accounts have verifiers: a client that takes
// SCRAM doesn't try another one if it is refused.
func (s *Source) Mechanisms() []login.Mechanism {
	plain := login.Mechanism{Name: sasl.Plain}
	switch some, all := s.accounts.Scram(); {
	case some || all:
		return []login.Mechanism{{Name: sasl.ScramSHA256Plus, Some: !all}, {Name: sasl.ScramSHA256, Some: !all}, plain}
	}
	return []login.Mechanism{plain}
}

// Begin begins an exchange.
func (s *Source) Begin(c login.Client, mechanism string) login.Exchange {
	e := &exchange{source: s, client: c, network: networkOf(c.Addr.Addr())}
	switch mechanism {
	case sasl.ScramSHA256, sasl.ScramSHA256Plus:
		e.scram = sasl.NewScramServer(mechanism == sasl.ScramSHA256Plus, c.Bindings)
	}
	return e
}

// networkOf is the network whose logins are counted together.
func networkOf(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return peer.Network(a).String()
}

// exchange is one login.
type exchange struct {
	source  *Source
	client  login.Client
	network string

	scram   *sasl.ScramServer // nil: PLAIN
	step    int
	account Account
	found   bool // there is such an account
	known   bool // and it is open
	proved  bool
}

// Close has nothing to end.
func (*exchange) Close() {}

// Step takes a response.
func (e *exchange) Step(ctx context.Context, response []byte) ([]byte, login.Result) {
	e.step++
	switch {
	case e.scram == nil && e.step == 1:
		return nil, e.plain(ctx, response)
	case e.scram != nil && e.step == 1:
		return e.challenge(ctx, string(response))
	case e.scram != nil && e.step == 2:
		return e.prove(string(response))
	case e.step == 3 && e.proved:
		return nil, e.end(true, nil)
	}
	return nil, login.Result{Answer: login.No}
}

// errGuessed has no name and no time in it: the log has a cause once in a while.
var errGuessed = errors.New("too many wrong passwords for one account in an hour: it is closed for up to an hour to networks from which nobody has logged in to it; the lines \"login refused\" before this one say who guessed")

// find looks the account up, and says what ends the exchange before anything is compared.
func (e *exchange) find(ctx context.Context, name string) (stop login.Result) {
	a, err := e.source.accounts.Find(ctx, idn.AsLogin(name))
	switch {
	case err == nil:
		e.account, e.found, e.known = a, true, a.Closed == nil
	case errors.Is(err, ErrNone):
		e.account.Name = a.Name // of which guesses are counted, too
	default:
		return login.Result{Answer: login.Later, Err: err}
	}
	if e.others() {
		return login.Result{}
	}
	// Of a name that may be written in several ways there is one account.
	if wait := e.source.guesses.wait(e.account.Name, e.network); wait > 0 {
		return login.Result{Answer: login.Later, Err: errGuessed}
	}
	return login.Result{}
}

// others reports whether a name that isn't ours may be another source's, where a good
// password for it must not count as a wrong one here.
func (e *exchange) others() bool { return !e.found && e.client.Among }

// plain checks a password.
func (e *exchange) plain(ctx context.Context, response []byte) login.Result {
	name, password, err := sasl.ParsePlain(response)
	if err != nil {
		return login.Result{Answer: login.No, Err: err}
	}
	if stop := e.find(ctx, name); stop.Answer != login.Asks {
		return stop
	}
	hash, err := e.source.nobodys, error(nil)
	if e.known {
		if hash, err = hashes.Parse(e.account.Hash); err != nil {
			hash, e.known = e.source.nobodys, false
		}
	}
	if e.account.Closed != nil {
		err = e.account.Closed
	}
	right, busy := e.source.pool.Match(ctx, e.network, hash, password)
	if busy != nil {
		return login.Result{Answer: login.Later, Err: busy}
	}
	if err != nil && !errors.Is(err, hashes.ErrClosed) {
		err = fmt.Errorf("%s: %w", e.account.Name, err) // which its owner can mend
	}
	return e.end(right && e.known, err)
}

// challenge answers SCRAM's first message; a name that there isn't gets a challenge like
// all others, the same one however it is written: an account's has one salt for all ways.
func (e *exchange) challenge(ctx context.Context, message string) ([]byte, login.Result) {
	name, err := e.scram.First(message)
	if err != nil {
		return nil, login.Result{Answer: login.No, Err: err}
	}
	if stop := e.find(ctx, name); stop.Answer != login.Asks {
		return nil, stop
	}
	v := sasl.Nobodys(e.source.secret, smtp.Fold(e.account.Name))
	if e.known {
		own, err := sasl.ParseVerifier(e.account.Verifier)
		if err == nil {
			v = own
		} else {
			e.known = false
		}
	}
	return []byte(e.scram.Challenge(v)), login.Result{}
}

// prove answers SCRAM's last message with our proof, for which the client says nothing
// any more.
func (e *exchange) prove(message string) ([]byte, login.Result) {
	proof, err := e.scram.Final(message)
	if err != nil || !e.known {
		if errors.Is(err, sasl.ErrProof) {
			err = e.account.Closed
		}
		return nil, e.end(false, err)
	}
	e.proved = true
	return []byte(proof), login.Result{}
}

// end counts the login and returns its result.
func (e *exchange) end(in bool, err error) login.Result {
	if in {
		e.source.guesses.right(e.account.Name, e.network)
		return login.Result{Answer: login.Yes, User: e.account.Name}
	}
	if !e.others() {
		e.source.guesses.wrong(e.account.Name, e.network)
	}
	if !e.found {
		return login.Result{Answer: login.Unknown}
	}
	return login.Result{Answer: login.No, User: e.account.Name, Err: err}
}
