package deliver

import (
	"context"
	"log/slog"
	"time"

	"postoffice/deliver/local"
	"postoffice/deliver/remote"
	"postoffice/internal/alias"
	"postoffice/internal/smtp"
	"postoffice/resolver"
	"postoffice/spool"
)

// Options are the settings of a Router and a Runner.
type Options struct {
	Queue    *spool.Queue // the Runner's only
	Hostname string       // our name: in bounces, and always local
	Resolver *resolver.Resolver

	// RelayHost takes all mail that is not local: a host or [address], with
	// or without :port. Empty: the recipient's domain decides (MX).
	RelayHost string
	// SMTPPort is the port of remote deliveries; 0 means 25.
	SMTPPort int

	LocalDomains []string // local besides localhost, Hostname and our addresses
	LocalByDNS   bool     // a domain whose best MX or address is ours is local
	Aliases      *alias.Aliases
	Accounts     local.Accounts
	Usermap      []string // pattern:target,target…, in the order in which they count; see alias.Usermap
	Delimiter    string   // parts a name from a detail behind it: one octet, or "" for none
	DefaultUser  string   // runs the programs of aliases, writes their files and reads their lists; empty means nobody
	// Postmaster is the account that gets the mail of postmaster and root
	// where neither has an alias; empty means root. An ordinary user's
	// private server names him.
	Postmaster string
	Local      LocalMailer
	// Mailbox is where mail of a user goes, as the option has it: "" into
	// mail-dir, "~/file", "~/Maildir/", or "lmtp:/socket" for the LMTP server
	// that keeps the mailboxes. Local has to know the first three too.
	Mailbox string
	// Mailer says that a program delivers to a user instead, which Local runs
	// for all but root; its text is nothing to us.
	Mailer     string
	EscapeFrom bool // ">" before lines of the body that begin with "From "

	QReturn time.Duration // a message is returned after this long; 0 means 3 days
	Hops    int           // more Received fields than this are a loop; 0 means 100
	Remote  remote.Options
	Watch   Watcher          // nil: nobody looks
	Log     *slog.Logger     // nil: no log
	Now     func() time.Time // the wall clock; nil: time.Now
}

// LocalMailer does what is done with users' rights: the master behind a link,
// or this process. Deliver and Run return when the outcome is certain; a
// Result is Forwarded where the account has a .forward, which List then reads.
// Recorded says that the outcome of the delivery with this token is in the
// spool, so that it need not be kept any longer.
type LocalMailer interface {
	Deliver(ctx context.Context, token string, d local.Delivery) local.Result
	Run(ctx context.Context, token string, j local.Job) local.Result
	Recorded(token string)

	// Forwards says whether the account has a .forward (or .forward+extension).
	Forwards(ctx context.Context, user, extension string) (bool, error)
	// List reads a list. A file that isn't there is no lines and no error; a
	// *local.OwnerError says whom to ask instead; any other error means later.
	List(ctx context.Context, l local.Listing) ([]local.Line, error)
}

// TokenResult is the outcome of a local delivery that ended without being
// recorded, because the process that asked for it died.
type TokenResult struct {
	Token  string
	Result local.Result
}

// An Action is what has become of a recipient in one attempt.
type Action int

const (
	Deferred  Action = iota // will be tried again
	Delivered               // done
	Bounced                 // will never work: goes back to the sender
)

func (a Action) String() string {
	switch a {
	case Delivered:
		return "delivered"
	case Bounced:
		return "bounced"
	}
	return "deferred"
}

// An Outcome is the result of one attempt for one recipient.
type Outcome struct {
	Action Action
	Reply  smtp.Reply // what was said, word for word, or our own words
	Err    error      // the cause where nobody replied; nil else
	Relay  string     // who said it: "host[address]:port", a mailbox, or ""
}

const (
	defaultQReturn = 3 * 24 * time.Hour
	defaultHops    = 100
	defaultPort    = 25
)

// filled returns o with its defaults in place.
func (o Options) filled() Options {
	if o.SMTPPort == 0 {
		o.SMTPPort = defaultPort
	}
	if o.QReturn <= 0 {
		o.QReturn = defaultQReturn
	}
	if o.Hops <= 0 {
		o.Hops = defaultHops
	}
	if o.DefaultUser == "" {
		o.DefaultUser = "nobody"
	}
	if o.Postmaster == "" {
		o.Postmaster = "root"
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}
