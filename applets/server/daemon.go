package server

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"

	"postoffice/applets/certs"
	"postoffice/applets/cmdline"
	"postoffice/applets/coal"
	"postoffice/applets/config"
	"postoffice/applets/passwords"
	"postoffice/applets/preflight"
	"postoffice/applets/privsep"
	"postoffice/applets/service"
	"postoffice/applets/state"
	"postoffice/applets/sysexits"
	"postoffice/deliver/local/mailbox"
	"postoffice/internal/account"
	"postoffice/internal/disk"
	"postoffice/internal/maillog"
)

// daemon is a mail server, for as long as it is wanted or for one pass over the
// queue: as root the master and its server, else one process.
type daemon struct {
	env        *cmdline.Env
	conf       *config.Config
	foreground bool
	onePass    bool
	deaf       bool               // listen on no port
	session    *os.File           // an SMTP session to take before the pass, or nil
	network    bool               // session is with a client of the network
	control    *os.File           // a request to answer beside the pass, or nil; with no session, what it asks for is all that is done
	inherited  []service.Listener // from a service manager
	answers    func() error       // called when the server answers; nil: nobody waits for it

	log    *slog.Logger
	logs   logs
	runDir *service.RunDir
	certs  *certs.Store  // nil: a single pass has no TLS, but for a client of the network
	renew  chan struct{} // says that there are other certificates
	coal   *coal.Keeper  // nil: nobody is kept out

	passwords *passwords.Source // at smarthosts
	helpers   helpers
}

func (d *daemon) run(ctx context.Context) error {
	err := d.here(d.conf)
	if err != nil {
		return err
	}
	if d.log, d.logs, err = openLogs(d.env, d.conf, d.program()); err != nil {
		return err
	}
	defer d.logs.close()
	if err := cmp.Or(d.servable(d.conf), checkDirs(d.conf)); err != nil {
		return err
	}
	d.passwords = passwords.NewSource(passwordOptions(d.conf))
	if !d.onePass {
		warnOfSyslog(d.env, d.conf)
		d.tellMissed()
		d.tell(findings(ctx, d.conf, nil))
	}
	if d.onePass || d.deaf {
		d.conf.Coal = 0
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
func (d *daemon) listeners(ctx context.Context, gid int) ([]service.Listener, error) {
	var err error
	if d.runDir, err = service.LockRunDir(d.conf.RunDir, gid); err != nil {
		return nil, preflight.RunDirError(d.conf.RunDir, err)
	}
	all := d.inherited
	if len(all) == 0 && !d.deaf {
		if all, err = listenAll(ctx, d.conf, d.log); err != nil {
			return nil, preflight.PortError(err)
		}
	}
	for _, name := range []string{service.Submission, service.Control} {
		l, err := service.ListenUnix(name, filepath.Join(d.conf.RunDir, name))
		if err != nil {
			return nil, preflight.RunDirError(d.conf.RunDir, fmt.Errorf("make the socket %s: %w", name, err))
		}
		all = append(all, l)
	}
	if err := d.runDir.WritePID(); err != nil {
		return nil, preflight.RunDirError(d.conf.RunDir, err)
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
	if err := prepareMaster(d.conf, d.log); err != nil {
		return err
	}
	owner, err := ServerUser(d.conf)
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
	d.makeStateDir(owner)
	d.warn(ctx)
	d.openCerts(ctx)
	o := privsep.MasterOptions{
		Session: d.session, OnePass: d.onePass,
		Detach:    d.answers != nil,
		Server:    owner,
		Mailboxes: mailbox.Options{FS: disk.OS(), Dir: d.conf.MailDir, Mailbox: d.conf.Mailbox, Folders: foldersOf(d.conf), Homes: mailbox.Homes{Required: d.conf.RequireHome}, Log: d.log},
		Users:     users,
		Bare:      !d.conf.ProgramCapabilities,
		Probe:     !d.onePass,
		Ready:     d.ready,
		Grace:     d.conf.StopTime + killSpare,
		Log:       d.log,
		Reload:    func() (privsep.Reloaded, error) { return d.reloadMaster(ctx) },
		Renew:     d.renew,
		Password:  d.passwords.Password,
	}
	d.helperOptions(ctx, &o)
	if d.certs != nil {
		o.Certificates = d.certificates
	}
	if d.control != nil { // it has no place of its own between the processes
		o.Listeners = []service.Listener{{Name: service.Control, File: d.control}}
	}
	if !d.onePass {
		if o.Listeners, err = d.listeners(ctx, owner.GID); err != nil {
			return err
		}
		defer d.runDir.Close()
		d.tellLeft(ctx)
		o.RunDir = d.runDir
		end, err := d.startCoal(&o)
		if err != nil {
			return err
		}
		defer end()
	}
	o.Settings = d.conf.Encode()
	err = privsep.RunMaster(ctx, o)
	if e := (*service.ExitError)(nil); errors.As(err, &e) && e.Code > 0 {
		return cmdline.ExitWith(e.Code, err)
	}
	return err
}

// warn says once, where the server stays, what is less safe than it could be.
func (d *daemon) warn(ctx context.Context) {
	if d.onePass {
		return
	}
	if who := SharedUser(ctx, d.conf); who != "" {
		d.log.LogAttrs(ctx, slog.LevelWarn, "default-user shared", maillog.Option("default-user"), maillog.Reason(who))
	}
	if why := Exposed(); why != "" {
		d.log.LogAttrs(ctx, slog.LevelWarn, "processes exposed", maillog.Reason(why))
	}
}

// tellLeft tells of mail in queue directories that the server had before.
func (d *daemon) tellLeft(ctx context.Context) {
	left, err := d.runDir.NoteQueueDir(d.conf.QueueDir)
	if err != nil {
		d.log.LogAttrs(ctx, slog.LevelWarn, "queue directory not noted", maillog.Err(err))
	}
	for _, dir := range left {
		d.log.LogAttrs(ctx, slog.LevelWarn, "mail left in another queue", maillog.Option("queue-dir"), maillog.Reason(leftQueue(d.conf, dir)))
	}
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
	d.reloadCerts(conf)
	d.passwords.Use(passwordOptions(conf))
	d.helpers.use(conf)
	if d.coal != nil {
		d.coal.Gate.Trust(trustedNetworks(conf))
	}
	return privsep.Reloaded{Settings: conf.Encode(), Users: users}, d.logs.reopen()
}

// reloaded reads the configuration again. What is bound to the start stays as
// it is, also for a server that is started in the place of one that died: it
// must not find another queue.
func (d *daemon) reloaded() (*config.Config, error) {
	conf, err := d.env.ReloadConfig()
	if err != nil {
		return nil, err
	}
	if err := d.servable(conf); err != nil {
		return nil, err
	}
	if err := d.here(conf); err != nil {
		return nil, err
	}
	d.tell(findings(context.Background(), conf, nil))
	wanted := conf
	conf, later := conf.Reloaded(d.conf)
	for _, name := range later {
		notChanged(d.log, name)
	}
	if slices.Contains(later, "log") { // who has changed it looks there
		if log, all, err := openLogs(d.env, wanted, d.program()); err == nil {
			notChanged(log, "log")
			all.close()
		}
	}
	return conf, nil
}

// tellMissed tells of options that were set and that nothing uses. It is no warning: the
// server does what the file says.
func (d *daemon) tellMissed() {
	for _, n := range d.conf.Missed() {
		d.env.Say(fmt.Sprintf("note: %s: %s: %s", n.Where, n.Option, n.Text))
		d.log.LogAttrs(context.Background(), slog.LevelInfo, "option not used", maillog.Option(n.Option), maillog.File(n.Where), maillog.Reason(n.Text))
	}
}

// tell writes into the log what is found, but for what ends the start.
func (d *daemon) tell(all []preflight.Finding) {
	for _, f := range all {
		level := slog.LevelWarn
		switch f.Gravity {
		case preflight.Stops:
			continue
		case preflight.Waits:
			level = slog.LevelError
		}
		d.log.LogAttrs(context.Background(), level, "configuration doubtful", maillog.Option(f.Option), maillog.Err(f.Err), maillog.Reason(f.Hint()))
	}
}

// servable refuses a configuration that this server can't serve, at its start and when it
// is read again.
func (d *daemon) servable(conf *config.Config) error {
	deaf := d.deaf || d.onePass
	return cmp.Or(checkRelay(conf, deaf), checkCoal(conf, deaf), checkGreylist(conf, deaf), checkTLS(conf))
}

// alone is everything in this process, for the user who started it: the only
// mailbox is theirs.
func (d *daemon) alone(ctx context.Context) error {
	me, err := ourselves()
	if err != nil {
		return err
	}
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, service.Signals()...)
	defer signal.Stop(signals)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if d.conf.Coal > 0 {
		d.leaveCoal("nobody is kept out: only a server of root's can", nil)
	}
	asked := otherSignals(ctx, signals, cancel)
	own := newPrivateMailer(ctx, d.conf, me, d.log)
	virtual := d.ownVirtual(me)
	g := ground{accounts: account.Only(me), mailer: own, postmaster: me.Name, passwords: d.passwords, virtual: virtual, logins: d.ownLogins(virtual)}
	if !d.onePass {
		g.state = state.New(d.conf.DBDir, d.log)
	}
	s, err := assemble(ctx, d.conf, d.log, g)
	if err != nil {
		return err
	}
	if d.onePass {
		d.offerOwn(ctx, s)
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
	d.tellLeft(ctx)
	sockets := service.NewSockets(ctx, service.SocketsOptions{Listeners: listeners, Log: d.log})
	defer sockets.Close()
	d.offerOwn(ctx, s)
	s.broken = sockets.Broken
	again := make(chan service.Listener)
	for _, l := range sockets.Serve(d.passOn(ctx, again)) {
		if err := s.listen(ctx, l); err != nil {
			return err
		}
	}
	sockets.Watch(d.runDir)
	s.deliverAll(ctx)
	d.ready()
	service.Notify("READY=1")
	d.wait(ctx, s, own, asked, again)
	service.Notify(service.Stopping(d.conf.StopTime))
	s.stop()
	return nil
}

// passOn passes on what was bound again.
func (d *daemon) passOn(ctx context.Context, again chan<- service.Listener) func(service.Listener) {
	return func(l service.Listener) {
		select {
		case again <- l:
		case <-ctx.Done():
		}
	}
}

// ServerUser returns the account that the server runs as.
func ServerUser(conf *config.Config) (service.User, error) {
	a, err := account.Machine().Lookup(context.Background(), conf.ServerUser)
	if err != nil {
		if !errors.Is(err, account.ErrNoUser) {
			return service.User{}, fmt.Errorf("look up %s: %w", conf.ServerUser, err)
		}
		return service.User{}, cmdline.ExitWith(sysexits.Config, fmt.Errorf("there is no account %q for the server to run as (option server-user)", conf.ServerUser),
			"make it: useradd --system --user-group --no-create-home --home-dir "+conf.QueueDir+" --shell /usr/sbin/nologin "+conf.ServerUser,
			"or with busybox: adduser -S -D -H "+conf.ServerUser)
	}
	if a.UID == 0 {
		return service.User{}, cmdline.ExitWith(sysexits.Config, fmt.Errorf("server-user=%s is root: the server must not be", conf.ServerUser),
			"give it an account that nothing else uses, as the default, postoffice")
	}
	return service.User{Name: a.Name, UID: a.UID, GID: a.GID}, nil
}

// Login returns the name of a user, "uid-N" for one without. An error says that
// the passwd file can't be read now: the name beside it, "uid-N" too, is good
// for a person to read and for no decision.
func Login(uid int) (string, error) {
	p, err := account.Machine().InFile(uid)
	switch {
	case err == nil:
		return p.Login, nil
	case errors.Is(err, account.ErrNoUser), errors.Is(err, fs.ErrNotExist): // a bare root may have no such file
		err = nil
	}
	return "uid-" + strconv.Itoa(uid), err
}
