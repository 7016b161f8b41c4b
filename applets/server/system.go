package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"postoffice/applets/certs"
	"postoffice/applets/cmdline"
	"postoffice/applets/coal"
	"postoffice/applets/config"
	"postoffice/applets/control"
	"postoffice/applets/filters"
	"postoffice/applets/judging"
	"postoffice/applets/logins"
	"postoffice/applets/policy"
	"postoffice/applets/preflight"
	"postoffice/applets/service"
	"postoffice/applets/smtpd"
	"postoffice/applets/smtpd/greykeeper"
	"postoffice/applets/state"
	"postoffice/deliver"
	"postoffice/deliver/local"
	"postoffice/deliver/remote/login"
	"postoffice/deliver/route"
	"postoffice/internal/account"
	"postoffice/internal/maillog"
	"postoffice/internal/peer"
	"postoffice/internal/smtp"
	"postoffice/resolver"
	"postoffice/spool"
	"postoffice/spool/maildrop"
	"postoffice/spool/shares"
	"postoffice/vhost"
)

// ground is what a system stands on: the master behind a link, or this process
// alone.
type ground struct {
	accounts   account.Accounts
	mailer     local.Mailer
	postmaster string // who reads the mail of postmaster and root; "": root does
	maildrop   bool   // other users may leave messages while nobody serves

	passwords login.Passwords  // at smarthosts; nil: there are none
	virtual   *vhost.Directory // domains without accounts; nil: there are none
	logins    logins.Source    // of their users
	system    logins.Source    // of the machine's accounts; nil: only a server of root's can ask
	keepOut   func(netip.Addr) // keeps a client out for a while (option coal); nil: nobody can
	state     *state.State     // what is known again after a restart; nil: this server is for one pass, and remembers nothing
}

// system accepts mail and delivers it: the server of the root tree, or the one
// process of an ordinary user. Everything that comes in goes to the spool, and
// everything that goes out comes from there.
type system struct {
	ground
	log      *slog.Logger
	settings atomic.Pointer[settings] // a reload puts others in place
	queue    *spool.Queue
	shares   *shares.Ledger     // of the queue
	drops    *maildrop.Maildrop // nil: there is none
	runner   *deliver.Runner
	smtp     *smtpd.Server
	waiting  *judging.Waiting // mail that is judged in the queue
	scanner  judging.Scanner
	policy   *policy.Policy              // of the settings
	filters  atomic.Pointer[filters.Set] // of the settings; nil: there are none
	scores   coal.Scores
	greylist *greykeeper.Keeper // nil: nobody waits, and nobody has since the start
	watchers watchers
	logins   *login.Keeper // at smarthosts
	offer    certs.Offer   // of TLS

	queueOnly bool // only runq delivers: fixed at the start

	work    sync.WaitGroup // listeners and the runner
	passing sync.Mutex     // one pass at a time, with queue-only
	kept    atomic.Bool    // a message came that waits for the next run
	passes  func(onePass)  // begins the one pass that this server is for; nil: it stays

	leaveSigner func() // lets go of the signer that offer has; of the goroutine that serves the link

	broken    func(name string) error // has a listener bound again, which then comes to listen
	listening map[string]listening    // of the goroutine that calls listen
	strangers bool                    // one of them is for clients of the network
}

// listening is a listener that is served. end has it accept nothing more; over is closed
// then, at that of requests when all are answered.
type listening struct {
	end  func()
	over <-chan struct{}
}

// assemble joins the packages. Nothing is accepted or delivered yet.
func assemble(ctx context.Context, conf *config.Config, log *slog.Logger, g ground) (*system, error) {
	s := &system{ground: g, log: log, logins: login.NewKeeper(g.passwords), queueOnly: conf.QueueOnly, listening: map[string]listening{}}
	now := s.newSettings(ctx, conf)
	s.settings.Store(now)
	s.logins.Use(relayTrust(conf), log)
	var err error
	s.shares = shares.New(&shares.Who{Places: peer.Places{Server: os.Geteuid(), Nobody: accountless}, Here: s.here})
	s.queue, err = spool.Open(spool.Options{Dir: conf.QueueDir, Log: log, MinFree: conf.MinFree, Tally: s.shares})
	if err != nil {
		return nil, preflight.QueueDirError(conf.QueueDir, fmt.Errorf("open the queue: %w", err))
	}
	s.rememberLogins(conf)
	s.tellRoom(ctx, conf)
	if g.maildrop {
		s.drops, err = maildrop.Open(maildrop.Options{Spool: conf.QueueDir, Corrupt: s.queue, Log: log})
		if err != nil {
			return nil, errors.Join(preflight.QueueDirError(conf.QueueDir, err), s.queue.Close())
		}
	}
	s.runner = deliver.NewRunner(s.deliverOptions(now))
	s.waiting = s.newWaiting()
	s.useGreylist(ctx, now)
	s.smtp = smtpd.New(s.smtpdOptions(now))
	s.keepState(conf)
	s.work.Go(func() { s.countQueue(ctx) })
	return s, nil
}

// countQueue finds out for whom what is in the queue counts.
func (s *system) countQueue(ctx context.Context) {
	if err := s.shares.Count(ctx, s.queue.EachHead); err != nil && ctx.Err() == nil {
		s.log.LogAttrs(ctx, slog.LevelWarn, "queue not readable", maillog.Err(err))
	}
}

// wholeFits reports whether a report may carry all of a message of so many octets
// back: those that wait have a share of the room too. One with the header alone is
// always written.
func (s *system) wholeFits(octets int64) bool {
	free, err := spare(s.queue)
	return err == nil && s.shares.Held(context.Background()).Fits(peer.Reports, peer.Amount{Octets: octets, Files: 1}, free)
}

// newSettings reads a configuration, and who are trusted clients, whose names it
// asks DNS for.
func (s *system) newSettings(ctx context.Context, conf *config.Config) *settings {
	now := newSettings(ctx, conf, s.log)
	now.logins = logins.Open(ctx, conf.Auth, s.virtualUsers(), s.ground.system, s.log)
	now.clients = newClients(ctx, conf.Trusted, now.ours, now.resolver.HostAddrs, s.log)
	return now
}

// tellRoom says at the start what mail will be refused for.
func (s *system) tellRoom(ctx context.Context, conf *config.Config) {
	if kept := s.queue.MinFree(); kept < conf.MinFree {
		s.log.LogAttrs(ctx, slog.LevelWarn, "option reduced", maillog.Option("minfree"), maillog.Reason(fmt.Sprintf(
			"%d KiB are more than half of the file system of %s: %d KiB, a tenth, are kept free", conf.MinFree>>10, conf.QueueDir, kept>>10)))
	}
	if err := s.queue.Room(); err != nil {
		s.log.LogAttrs(ctx, slog.LevelWarn, "queue takes no mail", maillog.Err(err))
	}
}

func (s *system) deliverOptions(now *settings) deliver.Options {
	o := now.deliver(s.ground, s.queue, &s.watchers)
	o.WholeFits, o.Remote.Logins = s.wholeFits, s.logins
	return o
}

func (s *system) smtpdOptions(now *settings) smtpd.Options {
	rules := now.policy(s.recipient, s.place)
	rules.Exchanges = func(ctx context.Context, domain string) (bool, error) {
		return s.runner.Router().Exchanges(ctx, domain)
	}
	rules.Greylist = s.greylist
	rules.SenderLogins = now.conf.SenderLogins
	s.useFilters(now)
	rules.Filters = s.filters.Load()
	if now.logins != nil {
		rules.OwnSender = s.ownSender
	}
	if now.conf.Coal > 0 && s.keepOut != nil {
		rules.Score = s.score
	}
	s.rule(&rules, now.conf)
	s.policy = policy.New(rules, s.policy)
	o := now.smtpd(s.inbox(), s.policy.Session)
	o.Mailbox, o.Banner = s.mailbox, s.policy.Banner
	s.offer.Ask(now.conf.TLSAsk)
	if !noTLS(now.conf) {
		o.TLS = s.offer.TLS
	}
	if now.conf.Debug {
		set := s.filters.Load()
		o.Debug = func(c *smtpd.Client, t *smtpd.Transaction) []string {
			lines := append(policy.Shown(c, t, s.runner.Router().IsStatic), "Version: "+cmdline.Version(), "Host: "+now.self)
			return append(append(lines, now.conf.DebugLines(c.Local)...), set.Lines(c.Local)...)
		}
	}
	return o
}

// place says where mail for a domain goes: not at all where DNS has neither
// exchanger nor address for it.
func (s *system) place(ctx context.Context, domain string) (policy.Place, error) {
	switch here, err := s.runner.Router().IsLocal(ctx, domain); {
	case here && s.runner.Router().IsVirtual(domain):
		return policy.Virtual, nil
	case here:
		return policy.Here, nil
	case err != nil:
		return policy.Elsewhere, err
	case smtp.IsLiteral(domain):
		return policy.Elsewhere, nil
	}
	mxs, err := s.settings.Load().resolver.MX(ctx, domain)
	for i := 0; err == nil && i < len(mxs); i++ {
		var addrs []netip.Addr
		if addrs, err = s.settings.Load().resolver.Addrs(ctx, mxs[i].Host); len(addrs) > 0 {
			return policy.Elsewhere, nil
		}
		if errors.Is(err, resolver.ErrNotFound) {
			err = nil
		}
	}
	switch {
	case err == nil, errors.Is(err, resolver.ErrNotFound), errors.Is(err, resolver.ErrNullMX):
		return policy.Nowhere, nil
	}
	return policy.Elsewhere, err
}

// recipient asks the router, as it is now.
func (s *system) recipient(ctx context.Context, q policy.Question) (smtp.Reply, error) {
	return s.runner.Router().Recipient(ctx, route.Question(q))
}

// arrived is told of each message that is durable and in the log: it is tried now, or it waits
// for the next run of the queue, and who watches must not wait for that.
func (s *system) arrived(id spool.ID, t *smtpd.Transaction) {
	if t.Queue {
		s.kept.Store(true)
	} else if !s.queueOnly {
		s.runner.Arrived(id, recorded(t.Client), t.ReversePath)
		return
	}
	s.watchers.kept(id, recorded(t.Client), len(t.Recipients))
}

// reload puts a checked configuration in the place of the present one. What is
// bound to a directory or a socket stays until the next start.
func (s *system) reload(ctx context.Context, conf *config.Config) {
	now := s.newSettings(ctx, conf)
	s.settings.Store(now)
	waited := s.logins.Use(relayTrust(conf), s.log)
	s.runner.Reload(s.deliverOptions(now))
	if waited {
		s.runNow(ctx)
	}
	s.useGreylist(ctx, now)
	s.smtp.Reload(s.smtpdOptions(now))
	s.keepState(conf)
	if s.strangers {
		s.policy.Look()
	}
	s.log.LogAttrs(ctx, slog.LevelInfo, "configuration reloaded")
}

// listen serves one listener until it breaks, another one of its name comes, or
// ctx ends. Sessions that have begun go on.
func (s *system) listen(ctx context.Context, l service.Listener) error {
	nl, err := l.Listen()
	if err != nil {
		return err
	}
	if before, ok := s.listening[l.Name]; ok {
		before.end()
	}
	own, cancel := context.WithCancel(ctx)
	over := make(chan struct{})
	s.listening[l.Name] = listening{func() { cancel(); nl.Close() }, over}
	kind := s.settings.Load().kindOf(l)
	serve := func() error { return s.smtp.Serve(own, nl, kind) }
	switch {
	case l.Name == service.Control:
		serve = func() error { return control.Serve(ctx, nl, s.controls(ctx)) }
	case kind != smtpd.Local:
		s.strangers = true
		s.policy.Look()
	}
	s.work.Go(func() {
		defer cancel()
		defer close(over)
		if err := serve(); err != nil && own.Err() == nil {
			s.rebind(ctx, l.Name, err)
		}
	})
	return nil
}

// rebind has a listener bound again that broke.
func (s *system) rebind(ctx context.Context, name string, why error) {
	listen := slog.String("listen", name)
	s.log.LogAttrs(ctx, slog.LevelWarn, "listener broken", listen, maillog.Err(why), maillog.Reason("it is bound again until that works"))
	if err := s.broken(name); err != nil {
		s.log.LogAttrs(ctx, slog.LevelError, "listener lost", listen, maillog.Err(err), maillog.Reason("restart the server"))
	}
}

// deliverAll runs the queue until ctx ends.
func (s *system) deliverAll(ctx context.Context) {
	s.work.Go(func() {
		if s.queueOnly {
			return
		}
		if err := s.runner.Run(ctx); err != nil && ctx.Err() == nil {
			s.log.LogAttrs(ctx, slog.LevelError, "queue runner stopped", maillog.Err(err))
		}
	})
	s.work.Go(func() { s.waiting.Run(ctx) })
	s.work.Go(func() { s.watchAliases(ctx) })
	s.work.Go(func() { s.watchMaildrop(ctx) })
	s.work.Go(func() { s.countFilters(ctx) })
	if every := s.settings.Load().conf.QueueInterval; every > 0 {
		s.work.Go(func() { s.runEvery(ctx, every) })
	}
}

// killSpare is what a server that was told to end has beyond option stop-time, before the
// master kills it: with what is left to do then all is over within 20 s.
const killSpare = 2 * time.Second

// stop ends the sessions and waits for all work; the context that it ran with
// must have ended.
func (s *system) stop() {
	limit, cancel := context.WithTimeout(context.Background(), s.settings.Load().conf.StopTime)
	defer cancel()
	if s.state != nil { // the next server may be waiting for it
		s.releaseGreylist(limit)
		s.state.Close()
	}
	if err := s.smtp.Shutdown(limit); err != nil {
		s.log.LogAttrs(limit, slog.LevelWarn, "sessions cut off", maillog.Err(err))
	}
	s.work.Wait()
	s.filters.Load().LogCounts(limit, nil)
	err := s.queue.Close()
	if s.drops != nil {
		err = errors.Join(err, s.drops.Close())
	}
	if err != nil {
		s.log.LogAttrs(limit, slog.LevelWarn, "queue not closed", maillog.Err(err))
	}
}

// flushWait is how long what the greylist has counted may take to be written by a server
// that ends: the next one waits for its store.
const flushWait = time.Second

func (s *system) releaseGreylist(ctx context.Context) {
	if s.greylist == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, flushWait)
	defer cancel()
	s.greylist.Flush(ctx)
	s.greylist.Release()
}
