package route

import (
	"context"

	"postoffice/deliver/local"
	"postoffice/deliver/remote"
	"postoffice/deliver/routes"
	"postoffice/internal/account"
	"postoffice/internal/alias"
)

// Options are the settings of a Router.
type Options struct {
	Hostname string // our name: in owners' addresses, and always local
	Resolver Resolver

	// RelayHost takes all mail that is not local: a host or [address], with
	// or without :port. Empty: the recipient's domain decides (MX).
	RelayHost string
	// Routes has lines for senders and domains that come before RelayHost; nil: none.
	Routes *routes.Table
	// OnlyKnown keeps from RelayHost what is for domains that DNS says do not exist:
	// it is returned.
	OnlyKnown bool
	// MXPool takes mail from anybody for domains with this machine as an exchanger that
	// isn't their best one.
	MXPool bool
	// SMTPPort is the port of remote deliveries; 0 means 25.
	SMTPPort int

	LocalDomains []string // local besides localhost, Hostname and our addresses
	LocalByDNS   bool     // a domain whose best MX or address is ours is local
	Aliases      *alias.Aliases
	Accounts     account.Accounts
	Virtual      Virtual  // nil: there are no virtual domains
	Usermap      []string // pattern:target,target…, in the order in which they count; see alias.Usermap
	Delimiter    string   // parts a name from a detail behind it: one octet, or "" for none
	DefaultUser  string   // runs the programs of aliases, writes their files and reads their lists; empty means nobody
	// Postmaster is the account that gets the mail of postmaster and root
	// where neither has an alias; empty means root. An ordinary user's
	// private server names that user.
	Postmaster string
	// Mailbox is where mail of a user goes, as the option has it: "" into
	// mail-dir, "~/file", "~/Maildir/", or "lmtp:/socket" for the LMTP server
	// that keeps the mailboxes.
	Mailbox string
	// VirtualMailbox is the same for users of virtual domains: "" for a file of each,
	// "maildir", or "lmtp:/socket".
	VirtualMailbox string
	// VirtualFolder is the folder of users of virtual domains where mail is for one; ""
	// is their mailbox, as with an LMTP server.
	VirtualFolder string
	// VirtualQuota is how many octets the mailbox of such a user may have for whom the
	// domain's files say nothing else; 0: there is no bound.
	VirtualQuota int64
	// Mailer says that a program delivers to a user instead, for all but root;
	// its text is nothing to us.
	Mailer string
	Users  Users
}

// Resolver is what of *resolver.Resolver a Router needs.
type Resolver interface {
	remote.Resolver
	// IsLocalName reports whether a domain is a name by which this host knows
	// itself; an error means that it isn't known now.
	IsLocalName(name string) (bool, error)
}

// Users reads what only a user may read.
type Users interface {
	// Forwards reports whether the account has a .forward (or
	// .forward+extension).
	Forwards(ctx context.Context, user, extension string) (bool, error)
	// List reads a list. A file that isn't there is no lines and no error; a
	// *local.OwnerError says whom to ask instead; any other error means later.
	List(ctx context.Context, l local.Listing) ([]local.Line, error)
}

// Maildir is Options.VirtualMailbox for a Maildir of each user.
const Maildir = "maildir"

const defaultPort = 25

// filled returns o with its defaults in place.
func (o Options) filled() Options {
	if o.SMTPPort == 0 {
		o.SMTPPort = defaultPort
	}
	if o.DefaultUser == "" {
		o.DefaultUser = "nobody"
	}
	if o.Postmaster == "" {
		o.Postmaster = "root"
	}
	return o
}
