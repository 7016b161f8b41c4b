package smtpd

import (
	"context"
	"io"
	"log/slog"
	"net/netip"
	"time"

	"postoffice/internal/smtp"
)

// Kind is where a session comes from.
type Kind int

const (
	// Port25 is a TCP connection, from this machine or any other.
	Port25 Kind = iota
	// Submission is a program of this machine's: the submission socket, whose
	// peer's credentials say who it is, or sendmail -bs.
	Submission
)

// Client is the other end of a session.
type Client struct {
	Kind    Kind
	Addr    netip.AddrPort // never IPv4-mapped; zero for a program of this machine
	Name    string         // of Addr, from the DNS; "" is unknown
	Local   bool           // this machine: a program, or one of its own addresses
	Trusted bool           // may relay
	UID     int            // of a program; -1 for a TCP connection
	User    string         // login name of UID, or "uid-N"; "" for a TCP connection
	Full    string         // the account's full name; may be empty
	Hello   string         // argument of HELO or EHLO, as sent
	ESMTP   bool           // it said EHLO
	Absent  bool           // it left its message and has gone (ServeUser): no reply reaches it
}

// Transaction is one message's envelope, complete when the queue gets it.
type Transaction struct {
	ID          string // Queue.NewID's; the log's qid from MAIL on
	Client      *Client
	ReversePath smtp.Path
	Params      []smtp.Param     // of MAIL, checked: SIZE and BODY; from this machine RET and ENVID
	Recipients  []smtp.Recipient // from this machine with NOTIFY and ORCPT, checked
	Queue       bool             // a program wants it to wait for the next run of the queue
	Arrived     time.Time        // when MAIL came
	SessionID   string           // the log's session
}

// Queue takes messages in.
type Queue interface {
	// Room returns nil while there is room for a message; it is asked before
	// every transaction. An error is answered with 452.
	Room(ctx context.Context) error
	// NewID returns a queue ID that no other message has or gets.
	NewID() (string, error)
	// Begin opens a message with t as its envelope and t.ID, unless that has
	// been taken meanwhile.
	Begin(ctx context.Context, t *Transaction) (Incoming, error)
}

// Incoming is a message on its way into the queue. It gets lines that end in
// LF, then either Commit or Abort; Abort after Commit's error is harmless.
type Incoming interface {
	io.Writer
	ID() string
	// Commit returns nil when the message will survive a power cut.
	Commit(ctx context.Context) error
	Abort()
}

// Policy is who may send what to whom. The zero Reply accepts; any other is
// sent to the client as it is, and counts as a refusal if it is permanent.
type Policy interface {
	Sender(ctx context.Context, c *Client, from smtp.Path) smtp.Reply
	Recipient(ctx context.Context, c *Client, to smtp.Path) smtp.Reply
}

// Options are a server's settings. The zero value of each has a meaning.
type Options struct {
	Hostname string        // our name in greeting, replies and trace fields; "localhost"
	Size     int64         // biggest message in octets; 0 is no limit
	Timeout  time.Duration // for a command line as a whole, and between reads of data; 0 is 300 s

	Clients           int     // sessions on Port25 at a time; 0 is 100
	ClientsPerAddress int     // of them, from one address (IPv6: one /64) that isn't ours; 0 is no limit
	Submissions       int     // sessions on Submission at a time, half of them for one user; 0 is 1000
	Load              float64 // refuse Port25 above this load of one minute; 0 is never

	Hops              int  // refuse a message with so many Received fields; 0 is 100
	RejectBareNewline bool // refuse CR and LF that stand alone, instead of mending them

	Queue  Queue
	Policy Policy       // nil: whoever is trusted may send everywhere, nobody else anywhere
	Log    *slog.Logger // nil: no log

	// ClientName finds the name of an address, "" if there is none. It is not
	// asked for this machine's addresses. nil: no names.
	ClientName func(ctx context.Context, a netip.Addr) string
	// Trusted says whether an address is this machine's, and whether it may
	// relay. nil: loopback is both, all others neither.
	Trusted func(a netip.Addr) (local, trusted bool)
	// Account finds the login and full name of a user id, "" if it has none.
	// nil: no names.
	Account func(uid int) (login, full string)
	// OwnSender says whether the user of a program may give a reverse-path
	// without a field in the header that tells of it. nil: every.
	OwnSender func(c *Client, from smtp.Path) bool
	// LoadAverage is the system's load of the last minute. nil: the kernel's.
	LoadAverage func() (float64, error)
	// Crash leaves a panic in a session alone, for tests; otherwise it ends
	// that session with 421 and a log line.
	Crash bool
}

// KeywordUser stands before the caller's account, "uid-N" for one without, in
// the reply to EHLO that a program of this machine gets.
const KeywordUser = "XUSER"

// ParamQueue is a parameter of MAIL that programs of this machine alone may
// give, and without a value: it sets Transaction.Queue.
const ParamQueue = "XQUEUE"

// What a session may do at most.
const (
	defaultTimeout     = 300 * time.Second
	defaultClients     = 100
	defaultSubmissions = 1000
	defaultHops        = 100

	maxLine       = 2048             // octets of a command line with its line end
	maxRecipients = 1000             // recipients of a transaction
	maxEnvelope   = 96 << 10         // octets of all RCPT lines of a transaction
	maxSurplus    = 10_000           // RCPT after those limits, before the session ends
	maxRefusals   = 20               // permanent refusals without a message
	maxCommands   = 100              // commands but RCPT without a message
	maxHello      = 255              // octets of HELO's argument
	nameWait      = 10 * time.Second // for the client's name
	policyWait    = 60 * time.Second // for one answer of Policy to a stranger
	dataWait      = 4 * time.Hour    // for a message as a whole
	shutdownWait  = 20 * time.Second // for Shutdown as a whole
	shutdownGrace = 10 * time.Second // of it, for messages being received
)

// withDefaults returns o with every zero value replaced by its meaning.
func (o Options) withDefaults() *Options {
	setDefault(&o.Hostname, "localhost")
	setDefault(&o.Timeout, defaultTimeout)
	setDefault(&o.Clients, defaultClients)
	setDefault(&o.Submissions, defaultSubmissions)
	setDefault(&o.Hops, defaultHops)
	if o.Policy == nil {
		o.Policy = trustedOnly{}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Trusted == nil {
		o.Trusted = func(a netip.Addr) (local, trusted bool) { return a.IsLoopback(), a.IsLoopback() }
	}
	if o.LoadAverage == nil {
		o.LoadAverage = loadAverage
	}
	return &o
}

func setDefault[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}

// trustedOnly is the policy of a server that was given none.
type trustedOnly struct{}

func (trustedOnly) Sender(context.Context, *Client, smtp.Path) smtp.Reply { return smtp.Reply{} }

func (trustedOnly) Recipient(_ context.Context, c *Client, _ smtp.Path) smtp.Reply {
	if c.Local || c.Trusted {
		return smtp.Reply{}
	}
	return smtp.Reply{Code: 550, Status: "5.7.1", Text: "no relaying for you"}
}
