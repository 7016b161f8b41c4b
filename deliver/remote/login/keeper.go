package login

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"log/slog"
	mathrand "math/rand/v2"
	"sync"
	"time"

	"postoffice/internal/maillog"
	"postoffice/internal/smarthost"
)

// Passwords has the passwords at smarthosts.
type Passwords interface {
	// Password returns that of a user at a host. again says that the one given last was
	// refused. The error says what to do.
	Password(ctx context.Context, host, user string, again bool) (string, error)
}

// pauses are how long no session is opened after the first failures; after later ones
// it is the last of them.
var pauses = [...]time.Duration{2 * time.Minute, 5 * time.Minute, 15 * time.Minute, 30 * time.Minute, time.Hour}

// pauseAfter returns the pause after failure number n, counted from 1, and up to a fifth
// of it.
func pauseAfter(n int) time.Duration {
	d := pauses[min(max(n, 1), len(pauses))-1]
	return d + mathrand.N(d/5)
}

// A Keeper gives turns to whoever opens a session with a smarthost, and remembers what
// came of them. It outlives a change of the settings.
type Keeper struct {
	passwords Passwords      // nil: nobody logs in
	roots     *x509.CertPool // nil: the system's
	key       []byte         // of the hashes of refused passwords

	begun   sync.Once  // what the process before has left is read
	writing sync.Mutex // held while the memory is written

	mu     sync.Mutex // guards what follows
	log    *slog.Logger
	now    smarthost.Trust
	known  map[string]*account
	memory Memory          // nil: the next process knows nothing
	before map[string]kept // what it had, of whom nobody has asked for yet
}

// account is what is known of one user at one host.
type account struct {
	turn chan struct{} // holds one: who is in is opening a session

	// The Keeper's mutex guards what follows.
	host     smarthost.Host
	failures int // one after the other
	last     *Failure
	again    time.Time // nothing is tried before
	refused  []byte    // hash of the password that was; nil: it was not about that
	told     string    // the words that the log had last
	absent   bool      // there was no password when it was asked for last
	open     int       // sessions
	asked    int       // those in Begin and between Begin and End
	used     time.Time // last Begin
}

const (
	maxKnown   = 1000           // hosts and users that are remembered, some 500 octets each, of which the oldest that nobody uses goes
	forgetWait = 24 * time.Hour // after that nothing wants an account any more: mail that waits asks each few hours
)

// NewKeeper returns a Keeper that knows of no failure.
func NewKeeper(p Passwords) *Keeper {
	return &Keeper{passwords: p, key: []byte(rand.Text()), log: slog.New(slog.DiscardHandler), known: map[string]*account{}}
}

// Use takes what the settings say now. Whoever waits may try again; waited reports
// whether somebody did.
func (k *Keeper) Use(t smarthost.Trust, log *slog.Logger) (waited bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.now, k.log = t, log
	for _, a := range k.known {
		waited = waited || a.told != ""
		a.again = time.Time{}
	}
	return waited
}

// Trust returns which smarthosts are the right ones now.
func (k *Keeper) Trust() smarthost.Trust {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.now
}

// A Turn is the right to open one session.
type Turn struct {
	keeper   *Keeper
	account  *account
	host     smarthost.Host
	password string
}

func (k *Keeper) account(h smarthost.Host) *account {
	k.begun.Do(k.takeOver)
	k.mu.Lock()
	defer k.mu.Unlock()
	key := h.String()
	a := k.known[key]
	if a == nil {
		k.forget()
		a = &account{turn: make(chan struct{}, 1), host: h}
		k.recall(key, a)
		k.known[key] = a
	}
	a.asked++
	a.used = time.Now()
	return a
}

// forget forgets accounts that nothing wants any more, as those of lines of routes that
// were taken out, and the one that was wanted longest ago where they are too many. k.mu is
// held.
func (k *Keeper) forget() {
	var oldest *account
	for key, a := range k.known {
		switch {
		case a.asked > 0 || a.open > 0:
		case time.Since(a.used) > forgetWait:
			delete(k.known, key)
		case oldest == nil || a.used.Before(oldest.used):
			oldest = a
		}
	}
	if len(k.known) >= maxKnown && oldest != nil {
		delete(k.known, oldest.host.String())
	}
}

// leave says that somebody is done with an account.
func (k *Keeper) leave(a *account) {
	k.mu.Lock()
	defer k.mu.Unlock()
	a.asked--
}

// Begin waits for the turn to open a session with a host. After a failure, and without a
// password, it is a *Failure at once. Else End follows.
func (k *Keeper) Begin(ctx context.Context, h smarthost.Host) (*Turn, error) {
	a := k.account(h)
	select {
	case a.turn <- struct{}{}:
	case <-ctx.Done():
		k.leave(a)
		return nil, context.Cause(ctx)
	}
	t := &Turn{keeper: k, account: a, host: h}
	err := t.prepare(ctx)
	if err != nil {
		<-a.turn
		k.leave(a)
		return nil, err
	}
	return t, nil
}

// prepare gets the password and looks whether a session may be opened now.
func (t *Turn) prepare(ctx context.Context) error {
	k, a := t.keeper, t.account
	k.mu.Lock()
	last, again, refused := a.last, a.again, a.refused
	k.mu.Unlock()
	if t.host.User != "" {
		if k.passwords == nil {
			return noPassword(t.host, errors.New("nobody here has passwords"))
		}
		var err error
		if t.password, err = k.passwords.Password(ctx, t.host.Place(), t.host.User, refused != nil); err != nil {
			return k.lacks(a, noPassword(t.host, err))
		}
	}
	switch {
	case last == nil, refused != nil && !hmac.Equal(refused, k.hash(t.password)):
		return nil
	case time.Now().Before(again):
		return last
	}
	return nil
}

// hash is what is kept of a password that was refused.
func (k *Keeper) hash(password string) []byte {
	mac := hmac.New(sha256.New, k.key)
	mac.Write([]byte(password))
	return mac.Sum(nil)
}

// End says what came of opening a session: nil, a *Failure, or what has nothing to do
// with logins. It returns the error as others are to see it.
func (t *Turn) End(err error) error {
	defer func() { <-t.account.turn; t.keeper.leave(t.account) }()
	k, a := t.keeper, t.account
	f, ok := errors.AsType[*Failure](err)
	switch {
	case err == nil:
	case !ok, f.Reply.Temporary() && k.serves(a):
		return err
	case f.unasked:
		k.tell(a, f)
		return err
	}
	if err == nil {
		if k.worked(a) {
			k.remember()
			k.logger().LogAttrs(context.Background(), slog.LevelInfo, "login works", about(a)...)
		}
		return nil
	}
	attempt, next := k.failed(a, f, t.password)
	k.remember()
	attrs := append(about(a), maillog.Attempt(attempt), maillog.Err(f), maillog.Next(next))
	if !f.Reply.IsZero() {
		attrs = append(attrs, maillog.Reply(f.Reply))
	}
	k.logger().LogAttrs(context.Background(), slog.LevelWarn, "login failed", attrs...)
	return err
}

// worked forgets the failures before a success, and reports whether there were some.
func (k *Keeper) worked(a *account) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	before := a.told != ""
	a.open++
	a.failures, a.last, a.again, a.refused, a.told, a.absent = 0, nil, time.Time{}, nil, "", false
	return before
}

// Leave says that a session is over whose turn has ended well.
func (t *Turn) Leave() {
	t.keeper.mu.Lock()
	defer t.keeper.mu.Unlock()
	t.account.open--
}

// serves reports whether there is a session: the login is good, and a refusal for now is
// of one session more.
func (k *Keeper) serves(a *account) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return a.open > 0
}

// failed counts a failure, and says how many there were and when the next session may
// be tried.
func (k *Keeper) failed(a *account, f *Failure, password string) (n int, again time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	a.failures++
	a.last, a.again, a.refused, a.told = f, time.Now().Add(pauseAfter(a.failures)), nil, f.Words
	if f.Reply.Permanent() {
		a.refused = k.hash(password)
	}
	return a.failures, a.again
}

func about(a *account) []slog.Attr {
	return []slog.Attr{maillog.Relay(a.host.Place()), maillog.User(a.host.User)}
}

func (k *Keeper) logger() *slog.Logger {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.log
}

// lacks notes that there is no password.
func (k *Keeper) lacks(a *account, f *Failure) error {
	k.mu.Lock()
	a.absent = true
	k.mu.Unlock()
	k.tell(a, f)
	return f
}

// tell logs a failure for which nothing was sent, once.
func (k *Keeper) tell(a *account, f *Failure) {
	k.mu.Lock()
	told := a.told == f.Words
	a.told = f.Words
	k.mu.Unlock()
	if !told {
		k.logger().LogAttrs(context.Background(), slog.LevelWarn, "login failed", append(about(a), maillog.Err(f))...)
	}
}

// Mended asks for the passwords of logins that wait, and reports whether one of them
// may work now: it is another one, or there is one at last.
func (k *Keeper) Mended(ctx context.Context) bool {
	mended := false
	for _, a := range k.waiting() {
		password, err := k.passwords.Password(ctx, a.host.Place(), a.host.User, true)
		if err != nil {
			continue
		}
		k.mu.Lock()
		if a.refused != nil && !hmac.Equal(a.refused, k.hash(password)) || a.absent {
			a.last, a.again, a.refused, a.absent = nil, time.Time{}, nil, false
			mended = true
		}
		k.mu.Unlock()
	}
	return mended
}

// waiting are the accounts whose passwords don't do.
func (k *Keeper) waiting() (all []*account) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.forget()
	for _, a := range k.known {
		if a.host.User != "" && (a.refused != nil || a.absent) {
			all = append(all, a)
		}
	}
	return all
}
