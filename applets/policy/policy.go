package policy

import (
	"context"
	"io"
	"log/slog"
	"net/netip"
	"sync/atomic"
	"time"

	"postoffice/applets/filters"
	"postoffice/applets/smtpd"
	"postoffice/applets/smtpd/greykeeper"
	"postoffice/internal/smtp"
)

// Options are a policy's settings, and what it asks others.
type Options struct {
	Log *slog.Logger

	// HostsAllow and HostsDeny are files in the language of hosts_access(5); "" is
	// none.
	HostsAllow, HostsDeny string
	AllowMust, DenyMust   bool      // they have to be there
	Forbidden             Forbidden // what becomes of clients that they deny
	Spam                  Forbidden // what becomes of mail that is found bad
	Safe                  bool      // mail of who has logged in is not looked at
	Paranoid              bool      // refuse clients without a name
	CheckHelo             bool      // refuse clients that call themselves by an address of ours
	VerifyFrom            bool      // look at reverse-paths
	NoDaemon              bool      // refuse the null sender
	SoftDeny              bool      // refuse for now, where a check would refuse for good
	DNSCheck              bool      // refuse clients whose name does not lead back
	LocalMX               bool      // clients for whose name we are an exchanger may relay
	Banner                string    // a file whose lines stand in the greeting; "" is none
	Audit                 bool      // write down what clients say and are answered, until ToggleAudit

	// OurName says whether a host name is one by which this machine knows itself.
	OurName func(name string) bool
	// Ours says whether an address is this machine's.
	Ours func(netip.Addr) bool
	// Addrs returns the addresses of a host name.
	Addrs func(ctx context.Context, host string) ([]netip.Addr, error)
	// Domain says where mail for a domain goes. The error is one that may pass.
	Domain func(ctx context.Context, domain string) (Place, error)
	// Exchanges says whether an exchanger of a domain is this machine. The error is one
	// that may pass.
	Exchanges func(ctx context.Context, domain string) (bool, error)
	// Recipient is the answer of the router to a recipient: the zero Reply takes it. The
	// error is for the log.
	Recipient func(ctx context.Context, q Question) (smtp.Reply, error)
	// OwnSender says whether an address is an account's own, as which it may send. The
	// error is one that may pass. nil: nobody can log in.
	OwnSender func(ctx context.Context, account string, from smtp.Path) (bool, error)
	// SenderLogins is a file of more addresses and the accounts that may send as them; ""
	// is none.
	SenderLogins string
	// Score adds points to a client's score; pending are those that it gets if its
	// message is taken. out is that the score is so low that the client is to go. nil:
	// there are no scores.
	Score func(c *smtpd.Client, points, pending int) (out bool)
	// Greylist has strangers wait. nil: they don't.
	Greylist *greykeeper.Keeper
	// Filters are asked behind all checks. nil: there are none.
	Filters *filters.Set
	// Scan has the program of option av look at a message, and returns what it says of one
	// that is bad. The error is one that may pass. nil: there is none.
	Scan func(ctx context.Context, c *smtpd.Client, id string, message io.Reader) (bad bool, text string, err error)
	// Unsure says whether a stranger may turn out to be trusted. nil: none may.
	Unsure func() bool
}

// A Question is what the router is asked about a recipient.
type Question struct {
	From, To smtp.Path
	Octets   int64 // that the client tells of the message; -1: none comes, it is asked whether there is such a recipient
	Trusted  bool  // the client may send elsewhere
}

// Policy is what the sessions of a server have in common.
type Policy struct {
	o        Options
	hosts    *hostsFiles
	banner   *banner
	senders  *senderLogins
	auditing *atomic.Bool // of all policies that followed each other
}

// New returns a policy. Options may be changed by making a new one that takes over
// what the old one has read.
func New(o Options, old *Policy) *Policy {
	p := &Policy{o: o, auditing: new(atomic.Bool)}
	if old != nil {
		p.hosts, p.banner, p.senders, p.auditing = old.hosts, old.banner, old.senders, old.auditing
	}
	p.hosts = p.hosts.follow(o)
	p.banner = p.banner.follow(o)
	p.senders = p.senders.follow(o)
	p.audit(o.Audit)
	return p
}

// Look reads the files that sessions with strangers ask, so that what is wrong with
// them is in the log before anybody connects.
func (p *Policy) Look() {
	p.hosts.allow.get(p.o.Log)
	p.hosts.deny.get(p.o.Log)
	p.Banner()
}

// Session returns the Checker of one session.
func (p *Policy) Session(c *smtpd.Client) smtpd.Checker {
	return &session{p: p, o: &p.o, client: c, began: time.Now()}
}

// session is the Checker of one session.
type session struct {
	smtpd.Accepting
	p         *Policy
	o         *Options
	client    *smtpd.Client
	unsure    bool // it may be one that may relay, which DNS doesn't say now
	began     time.Time
	cause     string // what the next audit record says of the check that was heard last
	ourSender bool   // the reverse-path is of a virtual domain here
	grey      greyed
	goodness

	filters      *filters.Session
	filtersKnown bool
	foundBad     string // why a filter would have refused the message, see remembered
	helloBad     string // the same of HELO, and so of all messages behind it
}

// asked is what a check is about, beside the client: of Mail and Rcpt a path, of
// those, Data and Message a transaction, of Message what came.
type asked struct {
	path    smtp.Path
	tx      *smtpd.Transaction
	message smtpd.Message
	said    smtpd.Verdict // by those before
}

func (s *session) Connect(ctx context.Context) smtpd.Verdict { return s.run(ctx, atConnect, asked{}) }

func (s *session) Helo(ctx context.Context) smtpd.Verdict { return s.run(ctx, atHelo, asked{}) }

func (s *session) Mail(ctx context.Context, t *smtpd.Transaction) smtpd.Verdict {
	return s.run(ctx, atMail, asked{path: t.ReversePath, tx: t})
}

func (s *session) Rcpt(ctx context.Context, t *smtpd.Transaction, to smtp.Path) smtpd.Verdict {
	a := asked{path: to, tx: t}
	v := s.run(ctx, atRcpt, a)
	if !v.Accepted() {
		s.refusedByUs(ctx, a, v.Reply)
	}
	return v
}

func (s *session) Data(ctx context.Context, t *smtpd.Transaction) smtpd.Verdict {
	return s.run(ctx, atData, asked{tx: t})
}

func (s *session) Message(ctx context.Context, t *smtpd.Transaction, m smtpd.Message) smtpd.Verdict {
	return s.run(ctx, atMessage, asked{tx: t, message: m})
}

// Replied is told what the client was answered, which may end its session. Nothing of
// it is formatted while auditing is off. Programs of this machine are not audited.
func (s *session) Replied(verb, line string, r smtp.Reply) (end smtp.Reply) {
	cause := s.cause
	s.cause = ""
	audited := s.p.auditing.Load() && s.client.Kind != smtpd.Local
	if audited {
		s.record(verb, line, cause, r)
	}
	if greylisted(s.o) {
		s.greylistHears(verb, line, r)
	}
	end = s.score(verb, line, r)
	if audited && !end.IsZero() {
		s.record(smtpd.VerbEnd, "", auditCoal, end)
	}
	return end
}

// run asks the checks of a stage, in order, until one says something: who is only
// just accepted gets no trust from a later one, and is shown to the filters.
func (s *session) run(ctx context.Context, at stage, a asked) (said smtpd.Verdict) {
	for i := range checks {
		c := &checks[i]
		if c.at != at || c.on != nil && !c.on(s.o) || c.strangers && !s.stranger() || !c.also && said != (smtpd.Verdict{}) {
			continue
		}
		a.said = said
		v := c.do(s, ctx, a)
		switch {
		case c.strangers && v.Trust == "" && v != (smtpd.Verdict{}) && s.maybeTrusted():
			v = notKnown(at)
		case s.o.SoftDeny && c.soft:
			v.Reply = soften(v.Reply)
		}
		if v != (smtpd.Verdict{}) {
			if c.audit != "" && !(c.also && v.Accepted()) {
				s.cause = c.audit
			}
			if v != notKnown(at) {
				s.heard(c, v)
			}
			if said = said.And(v); !v.Accepted() {
				break
			}
		}
	}
	return said
}

// stranger reports whether the client is neither of this machine nor trusted.
func (s *session) stranger() bool { return !s.client.Local && !s.client.Trusted }

// maybeTrusted reports whether the client may turn out to be one that is no stranger,
// which DNS doesn't say now.
func (s *session) maybeTrusted() bool { return s.unsure || s.o.Unsure != nil && s.o.Unsure() }

// notKnown refuses a client for now where what would refuse it isn't certain (B38).
// No mail of it is marked, and nothing that counts refusals, as fail2ban(1), takes it
// for one.
func notKnown(at stage) smtpd.Verdict {
	r := smtp.Reply{Code: 451, Status: "4.4.3", Text: "it is not known now who you are and whether you may, try again later"} // DNS says neither a client's name nor whom option trusted means, or hosts.allow can't be read; to the connection 421
	if at == atConnect {
		r.Code = 421
	}
	return smtpd.Refusal(r)
}

// soften makes a refusal one that the client may try again (option soft-deny).
func soften(r smtp.Reply) smtp.Reply {
	switch {
	case !r.Permanent():
		return r
	case r.Code == 554, r.Code == 521: // of a greeting (RFC 5321 section 4.2.4.2 and RFC 7504)
		r.Code = 421
	default:
		r.Code = 450
	}
	r.Status = smtp.StatusFor(r.Code, r.Status)
	return r
}
