package server

import (
	"context"
	"log/slog"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"postoffice/applets/config"
	"postoffice/applets/privsep"
	"postoffice/applets/service"
	"postoffice/deliver/local"
	"postoffice/deliver/local/mailbox"
	"postoffice/deliver/local/user"
	"postoffice/internal/account"
	"postoffice/internal/disk"
	"postoffice/internal/maillog"
)

// privateMailer delivers in this process, for the user who started it alone.
// Nothing outlives it, so there is nothing to record.
type privateMailer struct {
	serving context.Context // ends when the server is told to end
	me      account.Account
	boxes   *mailbox.Mailboxes
	person  atomic.Pointer[user.User]
	log     *slog.Logger
}

func newPrivateMailer(ctx context.Context, conf *config.Config, me account.Account, log *slog.Logger) *privateMailer {
	m := &privateMailer{serving: ctx, me: me, log: log, boxes: mailbox.New(mailbox.Options{
		FS: disk.OS(), Dir: conf.MailDir, Mailbox: conf.Mailbox, Folders: foldersOf(conf), Accounts: account.Only(me), Log: log,
	})}
	m.use(conf)
	return m
}

// use takes what the configuration says now of programs and lists. The alias
// file is the user's, or root's.
func (m *privateMailer) use(conf *config.Config) {
	m.person.Store(user.New(user.Options{
		Account:     m.me,
		DefaultUser: m.me.Name,
		Aliases:     conf.Aliases,
		AliasOwner:  m.me.UID,
		Usermap:     conf.Usermap,
		Mailer:      conf.Mailer,
		Escape:      escapeOf(conf.EscapeFrom),
		ProgramDir:  conf.ProgramDir,
		ProgramTime: conf.ProgramTime,
		FS:          disk.OS(),
		Files:       m.boxes,
		Accounts:    account.Only(m.me),
		Log:         m.log,
	}))
}

func (m *privateMailer) Deliver(ctx context.Context, _ string, d local.Delivery) local.Result {
	return m.boxes.Deliver(ctx, d)
}

// Run ends a program that runs on when the server is told to end, as the master of
// a root tree does.
func (m *privateMailer) Run(ctx context.Context, _ string, j local.Job) local.Result {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(m.serving, func() {
		timer := time.NewTimer(privsep.ProgramWait)
		defer timer.Stop()
		select {
		case <-ctx.Done():
		case <-timer.C:
			cancel()
		}
	})()
	return m.person.Load().Run(ctx, j)
}

func (m *privateMailer) Forwards(ctx context.Context, user, extension string) (bool, error) {
	return m.boxes.Forwards(ctx, user, extension)
}

func (m *privateMailer) List(ctx context.Context, l local.Listing) ([]local.Line, error) {
	return m.person.Load().List(ctx, l)
}

func (m *privateMailer) Recorded(string) {}

// otherSignals calls end for signals that end a server, until ctx ends, and passes the
// others on; as many as wait.
func otherSignals(ctx context.Context, signals <-chan os.Signal, end func()) <-chan os.Signal {
	others := make(chan os.Signal, 8)
	go func() {
		for {
			select {
			case <-ctx.Done():
				return
			case sig := <-signals:
				if service.Ends(sig) {
					end()
					return
				}
				select {
				case others <- sig:
				default:
				}
			}
		}
	}()
	return others
}

// wait takes signals that don't end the server, and rebound listeners, until ctx
// ends.
func (d *daemon) wait(ctx context.Context, s *system, own *privateMailer, signals <-chan os.Signal, again <-chan service.Listener) {
	for {
		select {
		case <-ctx.Done():
			return
		case sig := <-signals:
			switch sig {
			case syscall.SIGHUP:
				d.reloadAlone(ctx, s, own)
			case syscall.SIGUSR1:
				s.policy.ToggleAudit()
			}
		case <-d.renew:
			s.offerPairs(d.certs.Pairs())
		case l := <-again:
			if err := s.listen(ctx, l); err != nil {
				d.log.LogAttrs(ctx, slog.LevelError, "listener lost", maillog.Err(err))
			}
		}
	}
}

// reloadAlone reads the configuration again.
func (d *daemon) reloadAlone(ctx context.Context, s *system, own *privateMailer) {
	conf, err := d.reloaded()
	if err != nil {
		for _, one := range maillog.Lines(err) {
			d.log.LogAttrs(ctx, slog.LevelError, "configuration refused", maillog.Err(one), maillog.Reason("the present one stays in force"))
		}
		return
	}
	own.use(conf)
	d.reloadCerts(conf)
	s.reload(ctx, conf)
}
