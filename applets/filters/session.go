package filters

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/netip"
	"strings"
	"syscall"
	"time"

	"postoffice/applets/smtpd"
	"postoffice/internal/filterline"
	"postoffice/internal/maillog"
	"postoffice/internal/peer"
	"postoffice/internal/smtp"
	"postoffice/milter"
)

// Session is the filters of one SMTP session. It belongs to that session's goroutine.
type Session struct {
	set    *Set
	client *smtpd.Client
	from   netip.Addr      // for whom it is counted
	who    string          // whose failures are told apart from others', see doubts
	ctx    context.Context // of all connections
	cancel context.CancelFunc
	links  []*link

	waits   bool   // the message waits in the queue for the filters
	err     error  // why it waits on
	id      string // of the message
	author  string // that the client says of it
	discard string // which filter has the message thrown away
}

// link is one of the filters, as the session has it.
type link struct {
	s     *Session
	f     *filter
	conn  *milter.Conn // nil: none is open
	by    peer.Holder  // for whom its connection counts
	helo  string       // what it was told
	asked bool         // it is asked about the message
	hold  string       // why the message is held for it
}

// guard has the connections end when the server does. The end of a stage's time is not
// that: filters have times of their own.
func (s *Session) guard(ctx context.Context) (end func()) {
	if s.ctx == nil {
		s.ctx, s.cancel = context.WithCancel(context.WithoutCancel(ctx))
	}
	stop := context.AfterFunc(ctx, func() {
		if errors.Is(ctx.Err(), context.Canceled) {
			s.cancel()
		}
	})
	return func() { stop() }
}

// Connect tells the filters of the client.
func (s *Session) Connect(ctx context.Context) smtpd.Verdict {
	defer s.guard(ctx)()
	r := s.round(milter.AtConnect, func(l *link) (milter.Verdict, error) {
		if !l.sees() {
			return milter.Verdict{}, nil
		}
		return l.open()
	})
	r = greeted(r)
	return smtpd.Verdict{Reply: r, Refuse: !r.IsZero()}
}

// Helo tells them of the name that the client gives itself.
func (s *Session) Helo(ctx context.Context) smtpd.Verdict {
	defer s.guard(ctx)()
	r := s.round(milter.AtHelo, func(l *link) (milter.Verdict, error) {
		if l.conn == nil {
			return milter.Verdict{}, nil
		}
		return l.sayHelo()
	})
	return smtpd.Verdict{Reply: r, Refuse: !r.IsZero()}
}

// Mail tells them of a message that begins. Those whose connection is lost, or that see
// the mail of this client from now on, are connected to first.
func (s *Session) Mail(ctx context.Context, t *smtpd.Transaction) smtpd.Verdict {
	defer s.guard(ctx)()
	s.reset()
	s.id, s.author = t.ID, authorOf(t.Arguments)
	for _, l := range s.links {
		l.asked = l.sees()
	}
	r := s.round(milter.AtMail, func(l *link) (milter.Verdict, error) {
		if !l.asked {
			return milter.Verdict{}, nil
		}
		l.f.count(func(c *Counts) { c.Messages++ })
		if l.conn != nil && l.conn.Closed() {
			l.drop()
		}
		kept := l.conn != nil
		v, err := l.mail(t)
		if kept && isClosed(err) { // it was started again since, or has had enough of the session
			l.drop()
			v, err = l.mail(t)
		}
		return v, err
	})
	if !r.IsZero() {
		s.Aborted()
	}
	return smtpd.Refusal(r)
}

// mail tells the filter of a message that begins, and of the client where it doesn't know it
// yet.
func (l *link) mail(t *smtpd.Transaction) (milter.Verdict, error) {
	if l.conn == nil {
		if v, err := l.open(); err != nil || refuses(v) {
			return v, err
		}
	}
	if l.helo != l.s.client.Hello {
		if v, err := l.sayHelo(); err != nil || refuses(v) {
			return v, err
		}
	}
	return l.conn.Mail(bracketed(t.ReversePath), strings.Fields(t.Arguments), l.s.mailMacros(t))
}

// isClosed reports whether an error is that the filter has closed the connection.
func isClosed(err error) bool {
	return errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET)
}

// Rcpt tells them of a recipient.
func (s *Session) Rcpt(ctx context.Context, t *smtpd.Transaction, to smtp.Path) smtpd.Verdict {
	defer s.guard(ctx)()
	return smtpd.Refusal(s.message(milter.AtRcpt, func(l *link) (milter.Verdict, error) {
		return l.conn.Rcpt(bracketed(to), strings.Fields(t.Arguments), s.rcptMacros(t, to))
	}))
}

// Refused tells those that want to know of a recipient that somebody else has refused.
func (s *Session) Refused(ctx context.Context, t *smtpd.Transaction, to smtp.Path, r smtp.Reply) {
	defer s.guard(ctx)()
	s.message(milter.AtRcpt, func(l *link) (milter.Verdict, error) {
		return milter.Verdict{}, l.conn.RcptRefused(bracketed(to), strings.Fields(t.Arguments), s.refusedMacros(t, r))
	})
}

// Data tells them that the message comes.
func (s *Session) Data(ctx context.Context, t *smtpd.Transaction) smtpd.Verdict {
	defer s.guard(ctx)()
	return smtpd.Refusal(s.message(milter.AtData, func(l *link) (milter.Verdict, error) {
		return l.conn.Data(s.mailMacros(t))
	}))
}

// Unknown tells them of a command that is none. What they reject is refused in any case.
func (s *Session) Unknown(ctx context.Context, line string) smtpd.Verdict {
	defer s.guard(ctx)()
	return smtpd.Refusal(s.round(milter.AtUnknown, func(l *link) (milter.Verdict, error) {
		if l.conn == nil {
			return milter.Verdict{}, nil
		}
		v, err := l.conn.Unknown(line)
		if v.Action == milter.Reject {
			v = milter.Verdict{}
		}
		return v, err
	}))
}

// Aborted tells them that the message won't come.
func (s *Session) Aborted() {
	for _, l := range s.links {
		if l.conn != nil {
			if err := l.conn.Abort(); err != nil {
				l.fail(err)
			}
		}
	}
	s.reset()
}

// reset forgets the message.
func (s *Session) reset() {
	s.id, s.author, s.discard = "", "", ""
	for _, l := range s.links {
		l.asked, l.hold = false, ""
	}
}

// Close ends the connections.
func (s *Session) Close() {
	for _, l := range s.links {
		if l.conn != nil {
			l.conn.Quit()
			l.drop()
		}
	}
	if s.cancel != nil {
		s.cancel()
	}
	s.set.clients.Leave(s.from)
}

// message asks those about a step that are asked about the message.
func (s *Session) message(at milter.Step, ask func(l *link) (milter.Verdict, error)) smtp.Reply {
	return s.round(at, func(l *link) (milter.Verdict, error) {
		if !l.asked || l.conn == nil {
			return milter.Verdict{}, nil
		}
		return ask(l)
	})
}

// round asks each filter, until one refuses or has the message thrown away.
func (s *Session) round(at milter.Step, ask func(l *link) (milter.Verdict, error)) smtp.Reply {
	if s.discard != "" {
		return smtp.Reply{}
	}
	for _, l := range s.links {
		v, err := ask(l)
		if err != nil {
			if r := l.failed(at, err); !r.IsZero() {
				return r
			}
			continue
		}
		if v.Action == milter.Discard {
			s.discard = l.f.Name
			return smtp.Reply{}
		}
		if r := reply(v); !r.IsZero() {
			l.refused(at, v, r)
			return r
		}
	}
	return smtp.Reply{}
}

// refuses reports whether a verdict is a refusal.
func refuses(v milter.Verdict) bool { return !reply(v).IsZero() }

// refused notes a refusal.
func (l *link) refused(at milter.Step, v milter.Verdict, r smtp.Reply) {
	l.f.count(func(c *Counts) { c.Refused++ })
	l.s.log(slog.LevelInfo, "filter refused", l.f, maillog.Reason(v.Action.String()+" at "+at.String()), maillog.Reply(r))
}

// sees reports whether the filter is asked about what the client sends now. Who may send
// elsewhere, or came to a port for our own, submits mail.
func (l *link) sees() bool {
	c := l.s.client
	submits := c.Local || c.Trusted || c.Account != "" || c.Kind != smtpd.Relay
	switch l.f.For {
	case filterline.Received:
		return !submits
	case filterline.Submitted:
		return submits
	}
	return true
}

// open connects to the filter and tells it of the client.
func (l *link) open() (milter.Verdict, error) {
	c := l.s.client
	if !l.s.waits { // few are judged in the queue at once: those count for nobody who has sessions
		l.by = peer.HolderAt(c.Addr.Addr(), c.Local)
	}
	conn, err := l.f.dial(l.s.ctx, l.by, l.s.who, &l.s.set.o)
	if err != nil {
		return milter.Verdict{}, err
	}
	l.conn, l.helo = conn, ""
	return conn.Connect(l.s.asClient(), l.s.connectMacros())
}

func (l *link) sayHelo() (milter.Verdict, error) {
	l.helo = l.s.client.Hello
	return l.conn.Helo(l.helo, l.s.connectMacros())
}

// failed is what becomes of the message when the filter has failed. Before there is one
// that is seen when it begins.
func (l *link) failed(at milter.Step, err error) smtp.Reply {
	what := l.f.Fail
	switch {
	case errors.Is(err, errBusy) || l.s.ctx.Err() != nil:
		what = filterline.Tempfail
		l.drop()
	case errors.Is(err, errResting):
	default:
		l.fail(err)
	}
	if l.s.waits {
		return l.waitsFor(err)
	}
	l.asked = false
	if at == milter.AtConnect || at == milter.AtHelo || at == milter.AtUnknown {
		return smtp.Reply{}
	}
	if what == filterline.Quarantine {
		l.hold = "filter " + l.f.Name + " could not be asked: " + smtp.Printable(err.Error(), maxWhy)
	}
	return unfiltered(what)
}

// maxWhy bounds why a filter failed, in the reason of a message that is held.
const maxWhy = 200

// fail notes that the filter has failed, and closes its connection. Who has none couldn't
// reach it.
func (l *link) fail(err error) {
	var pause time.Duration
	if l.conn == nil {
		pause = l.f.unreachable(err)
	} else {
		pause = l.f.fail(l.s.who, l.conn.At(), err)
	}
	l.drop()
	reason := "mail goes on as its line in option filter has it: fail=" + string(l.f.Fail)
	if l.s.waits {
		reason = "the message waits in the queue until it can be asked"
	}
	l.s.log(slog.LevelWarn, "filter failed", l.f, maillog.Err(err), slog.Duration("pause", pause.Round(time.Millisecond)), maillog.Reason(reason))
}

// drop lets go of the connection, which is closed.
func (l *link) drop() {
	if l.conn != nil {
		l.conn.Close()
		l.conn = nil
		l.f.room.Leave(l.by)
	}
}
