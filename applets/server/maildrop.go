package server

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"postoffice/applets/cmdline"
	"postoffice/applets/config"
	"postoffice/applets/judging"
	"postoffice/applets/policy"
	"postoffice/applets/service"
	"postoffice/applets/smtpd"
	"postoffice/applets/sysexits"
	"postoffice/deliver"
	"postoffice/deliver/local"
	"postoffice/internal/maillog"
	"postoffice/internal/smtp"
	"postoffice/spool"
	"postoffice/spool/envelope"
	"postoffice/spool/maildrop"
)

// dropInterval is how often a server looks into maildrop/: nobody tells it.
const dropInterval = time.Minute

// watchMaildrop picks up what lies in maildrop/, at once and every minute.
func (s *system) watchMaildrop(ctx context.Context) {
	tick := time.NewTicker(dropInterval)
	defer tick.Stop()
	for {
		s.pickUp(ctx)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// pickUp takes all that lies in maildrop/ into the queue.
func (s *system) pickUp(ctx context.Context) {
	for more := s.drops != nil; more && ctx.Err() == nil; {
		var err error
		more, err = s.drops.PickUp(ctx, s.settings.Load().conf.Size, func(d *maildrop.Dropped) error { return s.submitDrop(ctx, d) })
		if err != nil && ctx.Err() == nil {
			s.log.LogAttrs(ctx, slog.LevelWarn, "maildrop not picked up", maillog.Err(err))
		}
	}
}

// submitDrop submits a message that was left, as its owner would have: in a
// session of that user's. What root is said to have left is held there (inbox).
func (s *system) submitDrop(ctx context.Context, d *maildrop.Dropped) error {
	owner := d.Owner
	if d.Disowned {
		owner = 0
	}
	login, err := Login(owner)
	if err != nil {
		return err
	}
	conn, end, err := s.sessionFor(ctx, owner)
	if err != nil {
		return err
	}
	defer end()
	client, err := NewSession(conn, time.Time{})
	if err != nil {
		return err
	}
	defer client.Close()
	from := smtp.Path{Local: login}
	if d.ReversePath != nil {
		from = *d.ReversePath
	}
	res, err := client.Send(smtp.Transaction{
		ReversePath: from,
		Params:      d.Params,
		Recipients:  d.Recipients,
		Body:        d.Body(),
		Size:        max(d.Size(), 1),
		Exact:       true,
	})
	if res.Final.Class() == 2 {
		client.Quit() // nothing depends on it
	}
	return taken(res, err)
}

// sessionFor opens a session of our own server's for a user. end waits for it.
func (s *system) sessionFor(ctx context.Context, uid int) (conn net.Conn, end func(), err error) {
	conn, theirs, err := service.ConnPair()
	if err != nil {
		return nil, nil, err
	}
	far, err := net.FileConn(theirs)
	theirs.Close()
	if err != nil {
		conn.Close()
		return nil, nil, err
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := s.smtp.ServeUser(ctx, far, uid); err != nil {
			s.log.LogAttrs(ctx, slog.LevelDebug, "session ended", maillog.Err(err))
		}
	}()
	return conn, func() { conn.Close(); <-done }, nil
}

// never is a reply by which a message that was left will never get into the
// queue, or has got there for some of its recipients only.
type never struct{ reply smtp.Reply }

func (n never) Error() string { return "refused: " + n.reply.String() }

func (never) Is(target error) bool { return target == maildrop.ErrNever }

// taken is what a transaction's replies mean for the file: nil, it is in the
// queue for everybody; never; else later.
func taken(res smtp.TransactionResult, err error) error {
	refusals := append([]smtp.Reply{res.Mail, res.Data, res.Final}, res.Rcpt...)
	accepted := res.Final.Class() == 2
	for _, reply := range refusals {
		if reply.Permanent() || accepted && reply.Temporary() {
			return never{reply}
		}
	}
	switch {
	case accepted:
		return nil
	case err != nil:
		return err
	}
	for _, reply := range refusals {
		if reply.Temporary() {
			return errors.New(reply.String())
		}
	}
	return io.ErrUnexpectedEOF
}

// ErrNoSession is a server that went away, said 421 or said nothing, before it took
// a command.
var ErrNoSession = errors.New("the mail server")

// NewSession opens a session with a server of this machine on conn, for one
// transaction. The server has until greeted to greet, if that isn't zero. The error
// has its exit code.
func NewSession(conn net.Conn, greeted time.Time) (*smtp.Client, error) {
	client := smtp.NewClient(conn, smtp.ClientOptions{Hello: "localhost", Step: 10 * time.Minute})
	if !greeted.IsZero() {
		late := time.AfterFunc(time.Until(greeted), func() { client.Close() })
		defer late.Stop()
	}
	for _, step := range []func() (smtp.Reply, error){client.Greeting, client.Hello} {
		reply, err := step()
		if err != nil && errors.Is(err, net.ErrClosed) {
			err = errors.New("it doesn't greet")
		}
		if err != nil {
			client.Close()
			return nil, cmdline.ExitWith(sysexits.TempFail, fmt.Errorf("%w: %w", ErrNoSession, err))
		}
		if reply.Code == 421 {
			client.Close()
			return nil, cmdline.ExitWith(sysexits.TempFail, fmt.Errorf("%w takes no session: %s", ErrNoSession, reply))
		}
		if reply.Class() != 2 {
			client.Close()
			return nil, Refused("the mail server takes no session", reply, sysexits.Unavailable)
		}
	}
	return client, nil
}

// Refused returns the error for a reply that ends it: later, or never with code.
func Refused(what string, reply smtp.Reply, code int) error {
	if !reply.Permanent() {
		code = sysexits.TempFail
	}
	return cmdline.ExitWith(code, fmt.Errorf("%s: %s", what, reply))
}

// inbox is the spool for sessions. What programs of this machine submit waits there for
// whoever judges it: they are told that it was taken, whatever becomes of av (B9).
func (s *system) inbox() inbox {
	return inbox{
		queue: s.queue, shares: s.shares, log: s.log, arrived: s.arrived,
		waits: func(t *smtpd.Transaction) bool { return s.judges() && t.Client.Kind == smtpd.Local },
		judged: func(id spool.ID, t *smtpd.Transaction) {
			if t.Queue {
				s.kept.Store(true)
			}
			s.waiting.Arrived(id, recorded(t.Client), t.Queue)
		},
	}
}

// judges reports whether anybody judges what waits.
func (s *system) judges() bool {
	conf := s.settings.Load().conf
	return conf.AV != "" || conf.FiltersForSendmail && len(conf.Filters) > 0
}

// awaits reports whether a message waits to be judged.
func (s *system) awaits(id spool.ID) bool {
	l, err := s.queue.Look(id)
	if err != nil {
		return false
	}
	defer l.Close() // only read
	return l.Location == spool.Waiting
}

// newWaiting returns what judges the mail that waits in the queue.
func (s *system) newWaiting() *judging.Waiting {
	return judging.NewWaiting(judging.Options{
		Queue: s.queue, Log: s.log, Judge: s.judge, Judges: s.judges,
		Refuse: s.runner.Refuse,
		GiveUp: s.runner.GiveUp,
		Over:   func(id spool.ID, env envelope.Envelope) { s.watchers.over(id, env.Client) },
		Passed: s.passed,
		Waits: func(id spool.ID, env envelope.Envelope) {
			s.watchers.kept(id, env.Client, len(env.Recipients))
		},
		Who: whoSubmits,
	})
}

// whoSubmits is for whom a client's mail counts where it waits to be judged.
func whoSubmits(client string) string { return deliver.Submitter(client, smtp.Path{Local: "-"}) }

// passed is told of a message that filters let into the queue.
func (s *system) passed(id spool.ID, env envelope.Envelope, later bool) {
	switch {
	case later || s.queueOnly:
		s.watchers.kept(id, env.Client, len(env.Recipients))
	case env.Arrived.IsZero(): // nothing is known of it
		s.runner.Wake(id)
	default:
		s.runner.Arrived(id, env.Client, env.ReversePath)
	}
}

// judge says what becomes of a message that waits: the filters first, and then av of what
// they leave of it, as for mail of the network.
func (s *system) judge(ctx context.Context, m *spool.Message) (v judging.Verdict, err error) {
	conf, env := s.settings.Load().conf, m.Envelope()
	if set := s.filters.Load(); set != nil && conf.FiltersForSendmail {
		if v, err = judging.Filtered(ctx, whoSubmits(env.Client), set, s.queue, m); err != nil {
			return v, err
		}
		v = s.unwanted(conf, v)
	}
	if conf.AV == "" || !v.Refuse.IsZero() || v.Nobody || v.Discard != "" || v.Mark != "" {
		return v, nil
	}
	f, err := s.scan(ctx, env.Client, string(m.ID()), v.Edits.Reader(m.Data(), m.Size()))
	if err != nil || !f.Bad {
		return v, err
	}
	s.log.LogAttrs(ctx, slog.LevelWarn, "message found bad", maillog.QueueID(m.ID()), maillog.Client(env.Client), maillog.From(env.ReversePath), maillog.Reason(f.Text))
	return s.found(conf, v, f.Text, policy.Infected(conf.Spam.Why)), nil
}

// unwanted is v where filters refuse the message, or recipients of it, by option spam.
func (s *system) unwanted(conf *config.Config, v judging.Verdict) judging.Verdict {
	if v.Refuse.Permanent() {
		v = s.found(conf, v, v.Refuse.Text, policy.Unwanted(conf.Spam.Why, v.Refuse))
	}
	if !conf.Spam.Take || len(v.Refused) == 0 {
		return v
	}
	if v.Mark == "" {
		first := slices.MinFunc(slices.Collect(maps.Keys(v.Refused)), envelope.Key.Compare)
		v = s.found(conf, v, v.Refused[first].Text, smtp.Reply{})
	}
	v.Refused, v.Nobody = nil, false
	return v
}

// found is v of a message that is found bad, by option spam: refused with r, or marked
// with the reason.
func (s *system) found(conf *config.Config, v judging.Verdict, reason string, r smtp.Reply) judging.Verdict {
	if conf.Spam.Take {
		v.Refuse, v.Mark, v.Folder = smtp.Reply{}, reason, conf.Spam.Folder
	} else {
		v.Refuse = r
	}
	return v
}

// scan has the program of option av look at a message.
func (s *system) scan(ctx context.Context, client, id string, body io.Reader) (judging.Finding, error) {
	return s.scanner.Look(ctx, judging.Scan{
		Mailer: s.mailer, User: cmp.Or(s.postmaster, scanUser(s.settings.Load().conf)), // a private server has its user alone
		Who: whoSubmits(client), ID: id, Body: body,
	})
}

// rule tells a policy what becomes of what is found bad.
func (s *system) rule(o *policy.Options, conf *config.Config) {
	o.Spam, o.Safe = policy.Forbidden(conf.Spam), conf.Safe
	if conf.AV == "" {
		return
	}
	o.Scan = func(ctx context.Context, c *smtpd.Client, id string, body io.Reader) (bool, string, error) {
		f, err := s.scan(ctx, recorded(c), id, body)
		return f.Bad, f.Text, err
	}
}

// scanUser is the account that av runs as.
func scanUser(conf *config.Config) string {
	if conf.AVUser == config.Auto {
		return conf.DefaultUser
	}
	return conf.AVUser
}

// foldersOf are the folders in home directories that mail may be put into.
func foldersOf(conf *config.Config) (all []string) {
	for _, f := range []string{conf.Forbidden.Folder, conf.Spam.Folder} {
		if strings.HasPrefix(f, local.HomePrefix) {
			all = append(all, f)
		}
	}
	return all
}

// here reports whether an address is one of this machine's.
func (s *system) here(a netip.Addr) bool { return s.settings.Load().ours(a) }

// score adds points to a client's score, and has it kept out where that is too low.
func (s *system) score(c *smtpd.Client, points, pending int) (out bool) {
	a := c.Addr.Addr()
	if out = s.scores.Add(time.Now(), a, points, pending); out {
		s.keepOut(a)
	}
	return out
}
