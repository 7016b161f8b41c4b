package smtpd

import (
	"cmp"
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"strconv"
	"time"

	"postoffice/applets/smtpd/edits"
	"postoffice/applets/smtpd/login"
	"postoffice/applets/smtpd/places"
	"postoffice/applets/smtpd/rates"
	"postoffice/internal/peer"
	"postoffice/internal/smtp"
)

// Kind is where a session comes from.
type Kind int

const (
	// Relay is a TCP connection to port 25, from this machine or any other.
	Relay Kind = iota
	// Submission is one to the port for mail of our own users (RFC 6409), which
	// begins in the clear.
	Submission
	// SubmissionTLS is one to the port where TLS comes before the greeting (RFC 8314).
	SubmissionTLS
	// Local is a program of this machine's: the submission socket, whose
	// peer's credentials say who it is, or sendmail -bs.
	Local
	kinds = iota // how many there are
)

// Client is the other end of a session.
type Client struct {
	Kind    Kind
	Session string         // in the log
	Addr    netip.AddrPort // never IPv4-mapped; zero for a program of this machine
	Server  netip.AddrPort // the address of ours, or of a proxy, that it came to
	Via     netip.AddrPort // of who told Addr, as a proxy does; zero: the kernel did
	Name    string         // of Addr, from the DNS, and verified; "" is none
	Naming  Naming         // what DNS said
	Local   bool           // this machine: a program, or one of its own addresses
	Trusted bool           // may relay
	UID     int            // of a program; -1 for a TCP connection
	Owner   *int           // uid that a TCP connection from this machine counts for; nil: another one, or it isn't known; it gives no right
	User    string         // login name of UID, or "uid-N"; "" for a TCP connection
	Full    string         // the account's full name; may be empty
	Hello   string         // argument of HELO or EHLO, as sent
	ESMTP   bool           // it said EHLO
	TLS     *TLS           // nil: what it says comes in the clear
	Login   string         // the account as which it logged in to who told Addr; nothing follows from it
	Account string         // as which it has logged in here; "" is none

	Mechanism string    // by which it has
	Absent    bool      // it left its message and has gone (ServeUser): no reply reaches it
	NoRelay   bool      // it may send to this machine alone, though it is of it
	AskBy     time.Time // until when other machines may be asked about it before the greeting; zero: see the context
}

// Naming is what DNS says of an address.
type Naming int

const (
	Unnamed   Naming = iota // it has no name
	Named                   // it has one that leads back to it
	Forged                  // it has none that does
	Uncertain               // DNS didn't say: nothing may follow from that
)

// Transaction is one message's envelope, complete when the queue gets it.
type Transaction struct {
	ID          string // Queue.NewID's; the log's qid from MAIL on
	Client      *Client
	ReversePath smtp.Path
	Params      []smtp.Param     // of MAIL, checked: SIZE, BODY and SMTPUTF8; from this machine RET and ENVID
	Arguments   string           // of the MAIL or RCPT that is being asked about, as they came: what stands behind the path
	Recipients  []smtp.Recipient // from this machine with NOTIFY and ORCPT, checked
	Queue       bool             // a program wants it to wait for the next run of the queue
	Mark        Mark             // of a client that is only just accepted
	Report      bool             // a program wants reports of recipients that are refused beside good ones: they are in Recipients
	UTF8        bool             // SMTPUTF8 is among Params: addresses outside ASCII may come
	Arrived     time.Time        // when MAIL came
	SessionID   string           // the log's session
}

// Declared is how many octets the client says that the message has; 0: it doesn't.
func (t *Transaction) Declared() int64 { return declared(t.Params) }

// declared is SIZE among the parameters of MAIL, which were checked; too large a number is
// the largest.
func declared(params []smtp.Param) int64 {
	text, ok := smtp.FindParam(params, "SIZE")
	if !ok {
		return 0
	}
	size, _ := strconv.ParseInt(text, 10, 64)
	return size
}

// Queue takes messages in.
type Queue interface {
	// Room returns what there is room for; it is asked before every transaction, and
	// again while a large message comes and at its end. An error is answered with
	// 452.
	Room(ctx context.Context) (peer.Amount, error)
	// Held returns what everybody has of the room, with what waits in the queue. What
	// comes is counted there until it is in the queue, or won't be.
	Held(ctx context.Context) *peer.Held
	// NewID returns a queue ID that no other message has or gets.
	NewID() (string, error)
	// Begin opens a message with t as its envelope and t.ID, unless that has
	// been taken meanwhile.
	Begin(ctx context.Context, t *Transaction) (Incoming, error)
}

// Incoming is a message on its way into the queue. It gets lines that end in
// LF, then either Commit and Release or Abort; Abort after Commit's error is
// harmless.
type Incoming interface {
	io.Writer
	// ReaderAt reads back what was written, in pieces, before Commit.
	io.ReaderAt
	ID() string
	// More are the queue IDs of further messages for recipients that one has no
	// room for.
	More() []string
	// Instead begins a message with t as its envelope that takes this one's place, and has
	// its ID. This one is aborted before the new one's Commit.
	Instead(ctx context.Context, t *Transaction) (Incoming, error)
	// Hold has Commit keep the message back until somebody releases it.
	Hold(reason string)
	// Commit returns nil when the message will survive a power cut.
	Commit(ctx context.Context) error
	// Release says that the log has the message: it may be worked on now.
	Release()
	Abort()
}

// Checker judges one session, in stages. All calls come from the session's
// goroutine, one after the other, and what they may ask other machines about a
// stranger has a limit in ctx. The Client and the Transaction are the session's
// own, as far as they are known then: a Checker reads them and keeps none of it
// beyond Close.
type Checker interface {
	// Connect is asked before the greeting, when the client's name is known.
	Connect(ctx context.Context) Verdict
	// Helo is asked at HELO and EHLO, once Client.Hello has the argument.
	Helo(ctx context.Context) Verdict
	// Mail is asked about the reverse-path of a transaction.
	Mail(ctx context.Context, t *Transaction) Verdict
	// Rcpt is asked about a recipient of a transaction. A path that no message in the queue can have
	// is refused with the status 5.1.3 (smtp.Reported).
	Rcpt(ctx context.Context, t *Transaction, to smtp.Path) Verdict
	// Data is asked before 354, or before the first chunk of a message is read.
	Data(ctx context.Context, t *Transaction) Verdict
	// Message is asked when a message has come to its end and nothing else speaks
	// against it. There is no limit in ctx: who asks others sets one.
	Message(ctx context.Context, t *Transaction, m Message) Verdict
	// Aborted is told of each transaction that Mail took and that ends without its message
	// being taken, whatever ended it: once.
	Aborted()
	// Unknown is asked about a command that is none here. A refusal takes the place of
	// the usual one.
	Unknown(ctx context.Context, line string) Verdict
	// Replied is told what was answered to a command: its verb in capitals, "CONN" for the
	// greeting and "QUIT" for the end, the line as it came, and the reply. The session
	// ends with what it returns, behind that reply, unless that is the zero Reply or the
	// session is over already.
	Replied(verb, line string, r smtp.Reply) (end smtp.Reply)
	// Close is the end of the session, once, whatever ended it.
	Close()
}

// A Verdict is what a Checker says. The zero Verdict accepts.
type Verdict struct {
	// Reply is sent to the client as it is, and counts as a refusal if it is
	// permanent. The zero Reply accepts.
	Reply smtp.Reply
	// Refuse, of Connect and Helo, makes the session go on in the state of RFC 5321
	// section 3.1: whatever comes is answered with the same words, after a while,
	// until the client quits.
	Refuse bool
	// Greeting, of Connect, are words for the greeting of a client that is accepted.
	Greeting string
	// Mark, of Connect, is put on all mail of a client that is accepted; of Message, on that
	// message.
	Mark Mark
	// Trust, of Connect, lets a client that is accepted relay, and says why.
	Trust string
	// Edits, of Message, are what the message becomes; nil: it stays as it is.
	Edits *edits.Edits
	// Discard, of Message, is why an accepted message is thrown away; "": it isn't.
	Discard string
	// Hold, of Message, is why an accepted message is kept back in the queue; "": it isn't.
	Hold string
}

// A Mark is what mail of a client that is only just accepted gets.
type Mark struct {
	Reason string // the field X-Spam; "" is no mark
	Folder string // where local recipients' copies go, see local.Delivery; "": as always
}

// Accepted reports whether nothing speaks against what was asked about.
func (v Verdict) Accepted() bool { return v.Reply.IsZero() }

// And is the Verdict of two that follow each other, of which the first one refuses nothing:
// a refusal of the second one holds alone, and else both do.
func (v Verdict) And(w Verdict) Verdict {
	if !w.Accepted() || v == (Verdict{}) {
		return w
	}
	w.Greeting, w.Trust = cmp.Or(w.Greeting, v.Greeting), cmp.Or(w.Trust, v.Trust)
	w.Mark, w.Edits = cmp.Or(w.Mark, v.Mark), cmp.Or(w.Edits, v.Edits)
	w.Discard, w.Hold = cmp.Or(w.Discard, v.Discard), cmp.Or(w.Hold, v.Hold)
	return w
}

// Refusal is the Verdict that says r.
func Refusal(r smtp.Reply) Verdict { return Verdict{Reply: r} }

// Options are a server's settings. The zero value of each has a meaning.
type Options struct {
	Hostname string        // our name in greeting, replies and trace fields; "localhost"
	Size     int64         // biggest message in octets; 0 is no limit
	Timeout  time.Duration // for a command line as a whole, and between reads of data; 0 is 300 s

	Clients           int     // Relay sessions of strangers at a time, as many of trusted clients, and of those of this machine whose user the kernel does not tell; 0 is 100, negative no limit
	ClientsPerAddress int     // of strangers, from one address (IPv6: one /64), where others wait for their turn; 0 is no limit, also for the networks around it
	Programs          int     // sessions of this machine's programs at a time, beside those of root and the server's user; 0 is 1000
	Load              float64 // refuse Relay above this load of one minute; 0 is never

	SoftErrors int           // permanent refusals without a message after which a stranger waits for each reply
	HardErrors int           // such refusals that end the session; 0 is 20, negative no limit
	ErrorDelay time.Duration // that wait; 0 is none
	GreetDelay time.Duration // a stranger is greeted so long after it came; 0 is at once
	TagEarly   bool          // mark the mail of who speaks before that, instead of refusing it

	Rates rates.Limits // how fast strangers may come

	Hops              int  // refuse a message with so many Received fields; 0 is 100
	RejectBareNewline bool // refuse CR and LF that stand alone, instead of mending them

	Queue Queue
	// Checker makes the judge of one session. nil: whoever is trusted may send
	// everywhere, nobody else anywhere.
	Checker func(c *Client) Checker
	Log     *slog.Logger // nil: no log

	// ClientName finds the verified name of an address, "" if there is none. It is
	// not asked for this machine's addresses. nil: nothing is known of names.
	ClientName func(ctx context.Context, a netip.Addr) (string, Naming)
	// Trusted says whether an address is this machine's, and whether it may
	// relay. nil: loopback is both, all others neither.
	Trusted func(a netip.Addr) (local, trusted bool)
	// Proxy says whether the connections of an address begin with a header of the PROXY
	// protocol, which tells whose they are. nil: none do.
	Proxy func(a netip.Addr) bool
	// XClient says whether who has an address may say by XCLIENT whom it passes on. nil:
	// nobody may.
	XClient func(a netip.Addr) bool
	// Account finds the login and full name of a user id, "" if it has none.
	// nil: no names.
	Account func(uid int) (login, full string, err error)
	// Nobody says whether no account has a user id. nil: each is somebody's.
	Nobody func(uid int) bool
	// OwnSender says whether the user of a program may give a reverse-path
	// without a field in the header that tells of it. nil: every.
	OwnSender func(c *Client, from smtp.Path) bool
	// TLS returns what a handshake is made with, TLS 1.2 at least; nil: TLS can't be done
	// now. Without it STARTTLS is not offered, and nobody is served on the port where
	// TLS comes first.
	TLS func() *tls.Config
	// Logins knows whose passwords are whose. Without it nobody can log in.
	Logins login.Source
	// Mechanisms are those of them that are offered, and LOGIN perhaps. nil: all.
	Mechanisms []string
	// HideClient leaves the name and address of who has logged in out of Received.
	HideClient bool
	// LoginsOnRelay offers AUTH on port 25 too.
	LoginsOnRelay bool
	// RefusedLogins is how many logins from a stranger's address may be refused in an
	// hour; 0 is no limit.
	RefusedLogins int
	// ClearLogins says for which addresses AUTH needs no TLS. nil: for none.
	ClearLogins func(a netip.Addr) bool
	// Mailbox returns what Delivered-To says in a mailbox to which a recipient leads
	// at once; ok is false where it leads elsewhere. nil: no mailboxes are known.
	Mailbox func(ctx context.Context, to smtp.Path) (deliveredTo string, ok bool)
	// Banner returns lines that stand behind the first one of the greeting of clients on
	// TCP. nil: none.
	Banner func() []string
	// Debug returns what the command DEBUG shows, to this machine and trusted clients
	// alone; t is nil where no transaction is open. nil: there is no such command.
	Debug func(c *Client, t *Transaction) []string
	// LoadAverage is the system's load of the last minute. nil: the kernel's.
	LoadAverage func() (float64, error)
	// Crash leaves a panic in a session alone, for tests; otherwise it ends
	// that session with 421 and a log line.
	Crash bool

	self int // the server's user, once withDefaults was called
}

// What a session may do at most.
const (
	defaultTimeout  = 300 * time.Second
	defaultClients  = 100
	defaultPrograms = 1000
	defaultHops     = 100
	defaultErrors   = 20

	turnWait = 30 * time.Second // for a session of an address that has as many as it may

	maxRecipients = 1000             // recipients of a transaction from the network
	maxEnvelope   = 96 << 10         // octets of all its RCPT lines
	recipientCost = 160              // octets of memory for a recipient beside its address
	maxSurplus    = 10_000           // RCPT after those limits, before the session ends
	maxCommands   = 100              // commands but RCPT and BDAT without a message
	maxHello      = 255              // octets of HELO's argument
	nameWait      = 5 * time.Second  // for all that DNS is asked about a client before its greeting
	policyWait    = 60 * time.Second // for one answer of a Checker about a stranger
	shutdownWait  = 20 * time.Second // for Shutdown as a whole
	shutdownGrace = 10 * time.Second // of it, for messages being received
)

// withDefaults returns o with every zero value replaced by its meaning.
func (o Options) withDefaults() *Options {
	o.self = os.Geteuid()
	setDefault(&o.Hostname, "localhost")
	setDefault(&o.Timeout, defaultTimeout)
	setDefault(&o.Clients, defaultClients)
	setDefault(&o.Programs, defaultPrograms)
	setDefault(&o.Hops, defaultHops)
	setDefault(&o.HardErrors, defaultErrors)
	if o.Checker == nil {
		o.Checker = func(c *Client) Checker { return trustedOnly{Client: c} }
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Trusted == nil {
		o.Trusted = func(a netip.Addr) (local, trusted bool) { return a.IsLoopback(), a.IsLoopback() }
	}
	if o.Proxy == nil {
		o.Proxy = func(netip.Addr) bool { return false }
	}
	if o.XClient == nil {
		o.XClient = func(netip.Addr) bool { return false }
	}
	if o.ClearLogins == nil {
		o.ClearLogins = func(netip.Addr) bool { return false }
	}
	if o.LoadAverage == nil {
		o.LoadAverage = places.Average
	}
	return &o
}

func setDefault[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}

// Accepting is a Checker that has nothing against anybody: what others are made
// of.
type Accepting struct{}

func (Accepting) Connect(context.Context) Verdict                          { return Verdict{} }
func (Accepting) Helo(context.Context) Verdict                             { return Verdict{} }
func (Accepting) Mail(context.Context, *Transaction) Verdict               { return Verdict{} }
func (Accepting) Rcpt(context.Context, *Transaction, smtp.Path) Verdict    { return Verdict{} }
func (Accepting) Data(context.Context, *Transaction) Verdict               { return Verdict{} }
func (Accepting) Message(context.Context, *Transaction, Message) Verdict   { return Verdict{} }
func (Accepting) Aborted()                                                 {}
func (Accepting) Unknown(context.Context, string) Verdict                  { return Verdict{} }
func (Accepting) Replied(verb, line string, r smtp.Reply) (end smtp.Reply) { return smtp.Reply{} }
func (Accepting) Close()                                                   {}

// trustedOnly is the Checker of a server that was given none.
type trustedOnly struct {
	Accepting
	*Client
}

func (t trustedOnly) Rcpt(context.Context, *Transaction, smtp.Path) Verdict {
	if t.Local || t.Trusted {
		return Verdict{}
	}
	return Refusal(smtp.Reply{Code: 550, Status: "5.7.1", Text: "no mail is taken from you for others, send it through the server that serves you"}) // a server without a policy
}
