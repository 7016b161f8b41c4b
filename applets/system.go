package applets

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/user"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"postoffice/deliver"
	"postoffice/deliver/local"
	"postoffice/deliver/remote"
	"postoffice/internal/alias"
	"postoffice/internal/config"
	"postoffice/internal/control"
	"postoffice/internal/maillog"
	"postoffice/internal/privsep"
	"postoffice/internal/smtpd"
	"postoffice/resolver"
	"postoffice/spool"
)

// ground is what a system stands on: the master behind a link, or this process
// alone.
type ground struct {
	accounts   local.Accounts
	mailer     deliver.LocalMailer
	postmaster string // who reads the mail of postmaster and root; "": root does
	maildrop   bool   // other users may leave messages while nobody serves
}

// system accepts mail and delivers it: the server of the root tree, or the one
// process of an ordinary user. Everything that comes in goes to the spool, and
// everything that goes out comes from there.
type system struct {
	ground
	conf     *config.Config // a reload changes it; only that and the start look at it
	log      *slog.Logger
	queue    *spool.Queue
	resolver *resolver.Resolver
	aliases  atomic.Pointer[alias.Aliases]
	runner   *deliver.Runner
	smtp     *smtpd.Server
	watchers watchers
	senders  atomic.Pointer[senders]
	self     string // our host name

	queueOnly bool         // only runq delivers: fixed at the start
	dropSize  atomic.Int64 // option size, for maildrop/

	work    sync.WaitGroup // listeners and the runner
	passing sync.Mutex     // one pass at a time, with queue-only
	kept    atomic.Bool    // a message came that waits for the next run
	passes  func(onePass)  // begins the one pass that this server is for; nil: it stays

	broken    func(name string) error // has a listener bound again, which then comes to listen
	listening map[string]func()       // what ends each listener; of the goroutine that calls listen
}

// assemble joins the packages. Nothing is accepted or delivered yet.
func assemble(ctx context.Context, conf *config.Config, log *slog.Logger, g ground) (*system, error) {
	s := &system{ground: g, conf: conf, log: log, queueOnly: conf.QueueOnly, listening: map[string]func(){}}
	s.resolver = newResolver(conf, log)
	s.aliases.Store(alias.Open(conf.Aliases))
	s.self = s.hostname(ctx)
	var err error
	s.queue, err = spool.Open(spool.Options{Dir: conf.QueueDir, Log: log, MinFree: conf.MinFree, Maildrop: g.maildrop})
	if err != nil {
		return nil, queueDirError(conf.QueueDir, fmt.Errorf("open the queue: %w", err))
	}
	s.dropSize.Store(conf.Size)
	s.runner = deliver.NewRunner(s.deliverOptions())
	s.smtp = smtpd.New(s.smtpdOptions(ctx))
	return s, nil
}

func newResolver(conf *config.Config, log *slog.Logger) *resolver.Resolver {
	return resolver.New(resolver.Options{Servers: conf.DNSServers, Log: log})
}

// hostname is our name in mail (option hostname).
func (s *system) hostname(ctx context.Context) string {
	switch s.conf.Hostname {
	case "auto":
		name, warning := s.resolver.Self(ctx)
		if warning != "" {
			s.log.LogAttrs(ctx, slog.LevelWarn, "host name uncertain", maillog.Option("hostname"), maillog.Reason(warning))
		}
		return name
	case "literal":
		if name, err := os.Hostname(); err == nil {
			return name
		}
		return "localhost.localdomain"
	}
	return s.conf.Hostname
}

func (s *system) deliverOptions() deliver.Options {
	return deliver.Options{
		Queue:        s.queue,
		Hostname:     s.self,
		Resolver:     s.resolver,
		RelayHost:    s.conf.RelayHost,
		SMTPPort:     s.conf.SMTPPort,
		LocalDomains: s.conf.LocalDomains,
		LocalByDNS:   s.conf.LocalByDNS,
		Aliases:      s.aliases.Load(),
		Accounts:     s.accounts,
		Usermap:      s.conf.Usermap,
		Delimiter:    s.conf.Delimiter,
		DefaultUser:  cmp.Or(s.postmaster, s.conf.DefaultUser), // a private server has its user alone
		Postmaster:   s.postmaster,
		Local:        s.mailer,
		Mailbox:      s.conf.Mailbox,
		Mailer:       s.conf.Mailer,
		EscapeFrom:   s.conf.EscapeFrom,
		QReturn:      s.conf.QReturn,
		Hops:         s.conf.Hops,
		Remote:       remote.Options{Hostname: s.self, Log: s.log},
		Watch:        &s.watchers,
		Log:          s.log,
	}
}

func (s *system) smtpdOptions(ctx context.Context) smtpd.Options {
	known := newClients(ctx, s.conf.Trusted, s.resolver.IsOurs, s.resolver.HostAddrs, s.log)
	own := newSenders(s.conf, s.self)
	s.senders.Store(&own)
	return smtpd.Options{
		Hostname:          s.self,
		Size:              s.conf.Size,
		Timeout:           s.conf.Timeout,
		Clients:           s.conf.Clients,
		ClientsPerAddress: s.conf.ClientsPerAddress,
		Load:              s.conf.Load,
		Hops:              s.conf.Hops,
		RejectBareNewline: s.conf.BareNewline == config.Reject,
		Queue:             inbox{s.queue, s.arrived},
		Policy:            policy{s.runner},
		Log:               s.log,
		ClientName:        s.resolver.Name,
		Trusted:           known.of,
		Account:           accountOf,
		OwnSender:         own.own,
	}
}

// arrived is told of each message that is durable: it is tried now, or it waits
// for the next run of the queue, and who watches must not wait for that.
func (s *system) arrived(id spool.ID, t *smtpd.Transaction) {
	if t.Queue {
		s.kept.Store(true)
	} else if !s.queueOnly {
		s.runner.Wake(id)
		return
	}
	s.watchers.kept(id, t.Client.String(), len(t.Recipients))
}

// accountOf is the login and full name of a user of this machine.
func accountOf(uid int) (login, full string) {
	u, err := user.LookupId(strconv.Itoa(uid))
	if err != nil {
		return "", ""
	}
	return u.Username, u.Name
}

// reload puts a checked configuration in the place of the present one. What is
// bound to a directory or a socket stays until the next start.
func (s *system) reload(ctx context.Context, conf *config.Config) {
	s.conf = conf
	s.dropSize.Store(conf.Size)
	s.resolver = newResolver(conf, s.log)
	s.aliases.Store(alias.Open(conf.Aliases))
	s.self = s.hostname(ctx)
	s.runner.Reload(s.deliverOptions())
	s.smtp.Reload(s.smtpdOptions(ctx))
	s.log.LogAttrs(ctx, slog.LevelInfo, "configuration reloaded")
}

// listen serves one listener until it breaks, another one of its name comes, or
// ctx ends. Sessions that have begun go on.
func (s *system) listen(ctx context.Context, l privsep.Listener) error {
	nl, err := l.Listen()
	if err != nil {
		return err
	}
	if end := s.listening[l.Name]; end != nil {
		end()
	}
	own, cancel := context.WithCancel(ctx)
	s.listening[l.Name] = func() { cancel(); nl.Close() }
	serve := func() error { return s.smtp.Serve(own, nl, smtpd.Port25) }
	switch l.Name {
	case privsep.Submission:
		serve = func() error { return s.smtp.Serve(own, nl, smtpd.Submission) }
	case privsep.Control:
		serve = func() error { return control.Serve(ctx, nl, s.controls(ctx)) }
	}
	s.work.Go(func() {
		defer cancel()
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
	s.work.Go(func() { s.watchAliases(ctx) })
	s.work.Go(func() { s.watchMaildrop(ctx) })
	if every := s.conf.QueueInterval; every > 0 {
		s.work.Go(func() { s.runEvery(ctx, every) })
	}
}

// watchAliases says in the log, once for each, what is wrong with the alias
// database, and that its text is newer.
func (s *system) watchAliases(ctx context.Context) {
	tick := time.NewTicker(time.Minute)
	defer tick.Stop()
	told := ""
	for {
		now := ""
		if err := s.aliases.Load().Problem(); err != nil {
			now = err.Error()
		}
		if now != told && now != "" {
			s.log.LogAttrs(ctx, slog.LevelWarn, "alias database to be made anew", maillog.Reason(now))
		}
		told = now
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// runEvery tries the whole queue at once and then at intervals (R68).
func (s *system) runEvery(ctx context.Context, every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		s.runNow(ctx)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// runNow tries every message now. With queue-only nothing runs the queue but
// this: one pass, in the background.
func (s *system) runNow(ctx context.Context) {
	s.work.Go(func() { s.pickUp(ctx) })
	if !s.queueOnly {
		s.runner.RunNow()
		return
	}
	s.work.Go(func() {
		s.passing.Lock()
		defer s.passing.Unlock()
		if err := s.runner.Pass(ctx); err != nil {
			s.log.LogAttrs(ctx, slog.LevelWarn, "queue not run", maillog.Err(err))
		}
	})
}

// A server that is told to end has stopWait for its sessions; a master kills
// one that isn't over after killWait, so that all is over within 20 s.
const (
	stopWait = 15 * time.Second
	killWait = 17 * time.Second
)

// stop ends the sessions and waits for all work; the context that it ran with
// must have ended.
func (s *system) stop() {
	limit, cancel := context.WithTimeout(context.Background(), stopWait)
	defer cancel()
	if err := s.smtp.Shutdown(limit); err != nil {
		s.log.LogAttrs(limit, slog.LevelWarn, "sessions cut off", maillog.Err(err))
	}
	s.work.Wait()
	if err := s.queue.Close(); err != nil {
		s.log.LogAttrs(limit, slog.LevelWarn, "queue not closed", maillog.Err(err))
	}
}
