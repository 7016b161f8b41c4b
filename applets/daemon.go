package applets

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"

	"postoffice/deliver/local"
	"postoffice/internal/config"
	"postoffice/internal/disk"
	"postoffice/internal/maillog"
	"postoffice/internal/privsep"
	"postoffice/internal/sysexits"
)

// daemon is a mail server, for as long as it is wanted or for one pass over the
// queue: as root the master and its server, else one process.
type daemon struct {
	env        *Env
	conf       *config.Config
	foreground bool
	onePass    bool
	deaf       bool               // listen on no port
	session    *os.File           // an SMTP session to take before the pass, or nil
	control    *os.File           // a request to answer beside the pass, or nil; with no session, what it asks for is all that is done
	inherited  []privsep.Listener // from a service manager
	answers    func() error       // called when the server answers; nil: nobody waits for it

	log    *slog.Logger
	logs   logs
	runDir *privsep.RunDir
}

func (d *daemon) run(ctx context.Context) error {
	if d.foreground {
		logHere(d.conf)
	}
	var err error
	if d.log, d.logs, err = openLogs(d.env, d.conf, d.program()); err != nil {
		return err
	}
	defer d.logs.close()
	if !d.onePass {
		warnOfSyslog(d.env, d.conf)
	}
	if os.Getuid() == 0 {
		return d.master(ctx)
	}
	return d.alone(ctx)
}

// program is the name in the log.
func (d *daemon) program() string {
	if d.onePass {
		return "runq"
	}
	return "smtpd"
}

// listeners are the sockets of a server that stays: the run directory is ours
// from here on.
func (d *daemon) listeners(ctx context.Context, gid int) ([]privsep.Listener, error) {
	var err error
	if d.runDir, err = privsep.LockRunDir(d.conf.RunDir, gid); err != nil {
		return nil, runDirError(d.conf.RunDir, err)
	}
	all := d.inherited
	if len(all) == 0 && !d.deaf {
		if all, err = privsep.Listen(ctx, d.conf.Listen, d.log); err != nil {
			return nil, portError(err)
		}
	}
	for _, name := range []string{privsep.Submission, privsep.Control} {
		l, err := privsep.ListenUnix(name, filepath.Join(d.conf.RunDir, name))
		if err != nil {
			return nil, runDirError(d.conf.RunDir, fmt.Errorf("make the socket %s: %w", name, err))
		}
		all = append(all, l)
	}
	if err := d.runDir.WritePID(); err != nil {
		return nil, runDirError(d.conf.RunDir, err)
	}
	return all, nil
}

// ready tells whoever waits that the server answers.
func (d *daemon) ready() {
	if d.answers != nil {
		if err := d.answers(); err != nil {
			d.log.LogAttrs(context.Background(), slog.LevelWarn, "starter not told", maillog.Err(err))
		}
	}
	d.log.LogAttrs(context.Background(), slog.LevelInfo, "server ready")
}

// master is the root tree: it holds the sockets, starts the server and writes
// the mailboxes.
func (d *daemon) master(ctx context.Context) error {
	owner, err := serverUser(d.conf)
	if err != nil {
		return err
	}
	users, err := userOptions(ctx, d.conf)
	if err != nil {
		return err
	}
	if err := makeQueueDir(d.conf.QueueDir, owner); err != nil {
		return err
	}
	o := privsep.MasterOptions{
		Settings:  d.conf.Encode(),
		Session:   d.session,
		OnePass:   d.onePass,
		Detach:    d.answers != nil,
		Server:    owner,
		Mailboxes: local.Options{FS: disk.OS(), Dir: d.conf.MailDir, Mailbox: d.conf.Mailbox, Log: d.log},
		Users:     users,
		Ready:     d.ready,
		Grace:     killWait,
		Log:       d.log,
		Reload:    func() (privsep.Reloaded, error) { return d.reloadMaster(ctx) },
	}
	if d.control != nil { // it has no place of its own between the processes
		o.Listeners = []privsep.Listener{{Name: privsep.Control, File: d.control}}
	}
	if !d.onePass {
		if o.Listeners, err = d.listeners(ctx, owner.GID); err != nil {
			return err
		}
		defer d.runDir.Close()
		o.RunDir = d.runDir
	}
	err = privsep.RunMaster(ctx, o)
	if e := (*privsep.ExitError)(nil); errors.As(err, &e) && e.Code > 0 {
		return exitWith(e.Code, err)
	}
	return err
}

// reloadMaster reads the configuration again for the master and its children.
func (d *daemon) reloadMaster(ctx context.Context) (privsep.Reloaded, error) {
	conf, err := d.reloaded()
	if err != nil {
		return privsep.Reloaded{}, err
	}
	users, err := userOptions(ctx, conf)
	if err != nil {
		return privsep.Reloaded{}, err
	}
	return privsep.Reloaded{Settings: conf.Encode(), Users: users}, d.logs.reopen()
}

// reloaded reads the configuration again. What is bound to the start stays as
// it is, also for a server that is started in the place of one that died: it
// must not find another queue.
func (d *daemon) reloaded() (*config.Config, error) {
	conf, err := d.env.reloadConfig()
	if err != nil {
		return nil, err
	}
	if d.foreground {
		logHere(conf)
	}
	conf, later := conf.Reloaded(d.conf)
	for _, name := range later {
		d.log.LogAttrs(context.Background(), slog.LevelWarn, "option not changed", maillog.Option(name), maillog.Reason("it is read at the start alone: restart the server"))
	}
	return conf, nil
}

// makeQueueDir makes the top of the spool, which the server fills: it could not
// make a directory in one of root's. An empty one of root's becomes the
// server's: whoever made it may have been killed before he gave it away.
func makeQueueDir(dir string, owner privsep.User) error {
	err := os.Mkdir(dir, 0o700)
	if err != nil && !errors.Is(err, os.ErrExist) {
		return queueDirError(dir, fmt.Errorf("make the queue directory: %w", err))
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return fmt.Errorf("look at the queue directory: %w", err)
	}
	if info.IsDir() && ownerOf(info) == 0 && isEmpty(dir) {
		if err := os.Lchown(dir, owner.UID, owner.GID); err != nil {
			return fmt.Errorf("make the queue directory: %w", err)
		}
		return nil
	}
	info, err = os.Stat(dir) // root may have put a link there
	switch {
	case err != nil:
		return fmt.Errorf("look at the queue directory: %w", err)
	case !info.IsDir():
		return exitWith(sysexits.Config, fmt.Errorf("queue directory %s is not a directory", dir), "option queue-dir says where it is")
	case ownerOf(info) != owner.UID:
		return exitWith(sysexits.NoPerm, fmt.Errorf("queue directory %s belongs to uid %d, not to %s", dir, ownerOf(info), owner.Name),
			"if it is a queue of ours: chown -R "+owner.Name+": "+dir+"; else option queue-dir says where it is")
	}
	return nil
}

func ownerOf(info os.FileInfo) int { return int(info.Sys().(*syscall.Stat_t).Uid) }

func isEmpty(dir string) bool {
	entries, err := os.ReadDir(dir)
	return err == nil && len(entries) == 0
}

// alone is everything in this process, for the user who started it: the only
// mailbox is his.
func (d *daemon) alone(ctx context.Context) error {
	me, err := ourselves()
	if err != nil {
		return err
	}
	ctx, cancel := signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGINT)
	defer cancel()
	own := newOwnMailer(d.conf, me, d.log)
	s, err := assemble(ctx, d.conf, d.log, ground{accounts: local.Only(me), mailer: own, postmaster: me.Name})
	if err != nil {
		return err
	}
	if d.onePass {
		d.ready()
		err := s.pass(ctx, d.session, d.control)
		cancel()
		s.stop()
		return err
	}
	listeners, err := d.listeners(ctx, -1)
	if err != nil {
		return err
	}
	defer d.runDir.Close()
	sockets := privsep.NewSockets(ctx, listeners, d.log)
	defer sockets.Close()
	s.broken = sockets.Broken
	again := make(chan privsep.Listener)
	for _, l := range sockets.Serve(d.give(ctx, again)) {
		if err := s.listen(ctx, l); err != nil {
			return err
		}
	}
	sockets.Watch(d.runDir)
	s.deliverAll(ctx)
	d.ready()
	privsep.Notify("READY=1")
	d.wait(ctx, s, own, again)
	privsep.Notify("STOPPING=1")
	s.stop()
	return nil
}

// give passes on what was bound again.
func (d *daemon) give(ctx context.Context, again chan<- privsep.Listener) func(privsep.Listener) {
	return func(l privsep.Listener) {
		select {
		case again <- l:
		case <-ctx.Done():
		}
	}
}

// wait takes SIGHUP and rebound listeners until ctx ends.
func (d *daemon) wait(ctx context.Context, s *system, own *ownMailer, again <-chan privsep.Listener) {
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	for {
		select {
		case <-ctx.Done():
			return
		case <-hup:
			conf, err := d.reloaded()
			if err != nil {
				d.log.LogAttrs(ctx, slog.LevelError, "configuration refused", maillog.Err(err), maillog.Reason("the present one stays in force"))
				continue
			}
			own.use(conf)
			s.reload(ctx, conf)
		case l := <-again:
			if err := s.listen(ctx, l); err != nil {
				d.log.LogAttrs(ctx, slog.LevelError, "listener lost", maillog.Err(err))
			}
		}
	}
}

// ourselves is the account of the user who runs this process.
func ourselves() (local.Account, error) {
	uid := os.Getuid()
	name := login(uid)
	if err := local.CheckName(name); err != nil {
		return local.Account{}, exitWith(sysexits.NoUser, fmt.Errorf("user %q can't have a mailbox: %w", name, err))
	}
	me := local.Account{Name: name, UID: uid, GID: os.Getgid(), Home: os.Getenv("HOME")}
	if u, err := user.LookupId(strconv.Itoa(uid)); err == nil { // HOME may be that of whoever became this user
		me.Home = u.HomeDir
	}
	if me.Home == "" {
		return local.Account{}, exitWith(sysexits.NoUser, fmt.Errorf("uid %d has no account, and no home directory", uid), "set HOME")
	}
	return me, nil
}
