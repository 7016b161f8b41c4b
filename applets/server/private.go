package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"sync/atomic"
	"syscall"
	"time"

	"postoffice/applets/cmdline"
	"postoffice/applets/config"
	"postoffice/applets/logins"
	"postoffice/applets/passwords"
	"postoffice/applets/privsep"
	"postoffice/applets/privsep/auth"
	"postoffice/applets/service"
	"postoffice/applets/sysexits"
	"postoffice/deliver/local"
	"postoffice/deliver/local/mailbox"
	"postoffice/deliver/local/user"
	"postoffice/internal/account"
	"postoffice/internal/disk"
	"postoffice/internal/maillog"
	"postoffice/internal/smarthost"
	"postoffice/internal/statedir"
	"postoffice/vhost"
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
		FS: disk.OS(), Dir: conf.MailDir, Mailbox: conf.Mailbox, Folders: foldersOf(conf), Virtual: virtualBoxes(conf, me, ""), Accounts: account.Only(me), Homes: mailbox.Homes{Required: conf.RequireHome}, Log: log,
	})}
	m.use(conf)
	return m
}

// use takes what the configuration says now of programs and lists. The alias
// file is the user's, or root's.
func (m *privateMailer) use(conf *config.Config) {
	scanner := scannerOf(conf)
	scanner.User = m.me.Name
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
		Scanner:     scanner,
		FS:          disk.OS(),
		Files:       m.boxes,
		Homes:       mailbox.Homes{Required: conf.RequireHome},
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

// ourselves is the account of the user who runs this process.
func ourselves() (account.Account, error) {
	uid := os.Getuid()
	name, err := Login(uid)
	if err != nil {
		return account.Account{}, err
	}
	if err := account.CheckName(name); err != nil {
		return account.Account{}, cmdline.ExitWith(sysexits.NoUser, fmt.Errorf("user %q can't have a mailbox: %w", name, err))
	}
	me := account.Account{Name: name, UID: uid, GID: os.Getgid(), Home: os.Getenv("HOME")}
	if p, err := account.Machine().InFile(uid); err == nil { // HOME may be that of whoever became this user
		me.Home = p.Home
	}
	if me.Home == "" {
		return account.Account{}, cmdline.ExitWith(sysexits.NoUser, fmt.Errorf("uid %d has no account, and no home directory", uid), "set HOME")
	}
	return me, nil
}

// accountOf is the login and full name of a user of this machine, "" of a uid
// without an account. An error means that it isn't known now.
func accountOf(uid int) (login, full string, err error) {
	p, err := account.Machine().InFile(uid)
	if errors.Is(err, account.ErrNoUser) || errors.Is(err, fs.ErrNotExist) {
		return "", "", nil
	}
	return p.Login, p.Full, err
}

// accountless says whether a uid is no account's. While that isn't known it is one's.
func accountless(uid int) bool {
	login, _, err := accountOf(uid)
	return login == "" && err == nil && account.Names{}.Unowned(uid)
}

// relayTrust is what option relay-tls says.
func relayTrust(conf *config.Config) smarthost.Trust {
	t, _ := smarthost.ParseTrust(conf.RelayTLS) // it has passed its check
	return t
}

// passwordOptions are what the passwords at smarthosts are found by.
func passwordOptions(conf *config.Config) passwords.Options {
	return passwords.Options{File: conf.RelayPasswords, Command: conf.RelayPasswordCommand}
}

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
	d.passwords.Use(passwordOptions(conf))
	s.reload(ctx, conf)
}

// here makes a configuration that of a server in the foreground, where this is one.
func (d *daemon) here(conf *config.Config) error {
	if !d.foreground {
		return nil
	}
	endSoon(conf)
	return logHere(conf)
}

// logHere makes the log go to standard error, as it does in the foreground, and
// besides to where the configuration asks. Where that is standard output, this is standard
// error too from here on, for all processes of the server.
func logHere(conf *config.Config) error {
	const here, output = "stderr", "stdout"
	if slices.Contains(conf.Log, output) {
		if err := service.Duplicate(1, 2); err != nil {
			return fmt.Errorf("log to standard output: %w", err)
		}
		conf.Log = slices.DeleteFunc(conf.Log, func(to string) bool { return to == here }) // both are one place now
		conf.Log[slices.Index(conf.Log, output)] = here
	}
	switch {
	case conf.Settings()[config.Index("log")].Origin == "default":
		conf.Log = []string{here}
	case !slices.Contains(conf.Log, here):
		conf.Log = append([]string{here}, conf.Log...)
	}
	return nil
}

// containerStop is stop-time in a container, where nobody says otherwise: its runtime kills
// it 10 s after it was told to end.
const containerStop = 5 * time.Second

func endSoon(conf *config.Config) {
	if service.BelowFirst() && conf.Settings()[config.Index("stop-time")].Origin == "default" {
		conf.StopTime = containerStop
	}
}

// notChanged tells of an option that a reload leaves as it is.
func notChanged(log *slog.Logger, option string) {
	log.LogAttrs(context.Background(), slog.LevelWarn, "option not changed", maillog.Option(option), maillog.Reason("it is read at the start alone: restart the server"))
}

// LeftQueues tells of former queue directories that hold mail.
func LeftQueues(conf *config.Config) (all []string) {
	for _, dir := range service.QueuesLeft(conf.RunDir, conf.QueueDir) {
		all = append(all, leftQueue(conf, dir))
	}
	return all
}

// leftQueue says of a former queue directory that mail is in it, and what to do.
func leftQueue(conf *config.Config, dir string) string {
	return fmt.Sprintf("%s was queue-dir before, and mail in it waits for a server: postoffice runq -v -o queue-dir=%[1]s -o run-dir=%s-old tries to deliver it", dir, conf.RunDir)
}

// given reports whether a directory is its owner's already: a server that has just been
// started may be about to fill it.
func given(dir string, owner service.User) bool {
	info, err := os.Lstat(dir)
	if err != nil {
		return false
	}
	i := disk.InfoOf(info)
	return i.UID == owner.UID && i.GID == owner.GID && i.Mode.Perm() == 0o700
}

// ownVirtual returns those that are an ordinary user's to serve: they have none where
// another is the vhost-user.
func (d *daemon) ownVirtual(me account.Account) *vhost.Directory {
	if d.conf.VHostUser != me.Name || d.conf.VHostDir == "" {
		return nil
	}
	where := d.whereFor(d.conf, me)
	store := where.Store(func(err error) { indexFailed(d.log)(err.Error()) })
	return newVirtual(d.conf, store, auth.Counted(where), account.Only(me))
}

// indexDir is the directory of indexes of large passwd files below db-dir.
const indexDir = "vhost"

// indexFailed says in the log why an index isn't kept, or that one was bad.
func indexFailed(log *slog.Logger) func(why string) {
	return func(why string) {
		log.LogAttrs(context.Background(), slog.LevelWarn, "index failed", maillog.Option("db-dir"), maillog.Err(errors.New(why)), maillog.Reason("users of large virtual domains are found all the same, by an index that is made anew, in memory where none can be kept: let the vhost-user write there, and make room"))
	}
}

// whereFor is whereVirtual for a process of the vhost-user's that keeps indexes, where it can.
func (d *daemon) whereFor(conf *config.Config, who account.Account) auth.Where {
	w := whereVirtual(conf)
	w.Secret = string(d.secret())
	if err := statedir.Make(disk.OS(), conf.DBDir, indexDir, who.UID, who.GID); err != nil {
		indexFailed(d.log)(err.Error())
		w.Index = ""
	}
	return w
}

// ownLogins are the logins of the same, in this process.
func (d *daemon) ownLogins(v *vhost.Directory) logins.Source {
	if v == nil {
		return nil
	}
	s, ok := v.Users.(*vhost.Store)
	if !ok {
		return nil
	}
	source, err := auth.Local(s, d.secret())
	if err != nil { // without random octets nothing else works either
		return nil
	}
	return source
}
