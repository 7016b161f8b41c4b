package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"postoffice/applets/cmdline"
	"postoffice/applets/config"
	"postoffice/applets/passwords"
	"postoffice/applets/preflight"
	"postoffice/applets/privsep"
	"postoffice/applets/privsep/auth"
	"postoffice/applets/privsep/shadow"
	"postoffice/applets/privsep/signer"
	"postoffice/applets/service"
	"postoffice/applets/smtpd/greykeeper"
	"postoffice/applets/state"
	"postoffice/applets/sysexits"
	"postoffice/deliver/local/user"
	"postoffice/internal/account"
	"postoffice/internal/alias"
	"postoffice/internal/disk"
	"postoffice/internal/maillog"
	"postoffice/resolver"
	"postoffice/spool"
)

// StartError returns what a program ends with when the server that it started
// could not begin: the server has said why on standard error, if it could.
func StartError(err error) error {
	if e := (*service.ExitError)(nil); errors.As(err, &e) && e.Code > 0 {
		return cmdline.ExitWith(e.Code, cmdline.ErrAnswered)
	}
	return cmdline.ExitWith(sysexits.TempFail, fmt.Errorf("start a server: %w", err))
}

// MayServe reports whether the caller may run a server on the queue: root, and
// the user whose it is or would be if it were made. Root of a user namespace
// that the queue's owner isn't in has no right to it.
func MayServe(conf *config.Config) bool {
	for dir := conf.QueueDir; ; dir = filepath.Dir(dir) {
		st, err := os.Stat(dir)
		if errors.Is(err, os.ErrNotExist) && dir != "/" {
			continue
		}
		if err != nil {
			return os.Getuid() == 0
		}
		uid := int(st.Sys().(*syscall.Stat_t).Uid)
		return !config.Outsider(uid) && (os.Getuid() == 0 || os.Getuid() == uid)
	}
}

// StartOptions are how a server is wanted.
type StartOptions struct {
	Foreground bool // in this process, with its log on standard error too
	Deaf       bool // it listens on no port, only for programs of this machine
}

// Start is the mail server: in the foreground, or in the background, and then
// it returns when the ports are bound and the server answers. The error is
// ready for the program to end with.
func Start(ctx context.Context, env *cmdline.Env, o StartOptions) error {
	if o.Foreground && service.First() {
		service.TakeName()
		return belowError(service.Below(os.Args))
	}
	inherited, err := service.Inherited()
	if err != nil {
		return err
	}
	conf, err := env.Config()
	if err != nil {
		return err
	}
	if o.Foreground {
		service.TakeName()
		d := daemon{env: env, conf: conf, foreground: true, inherited: inherited, deaf: o.Deaf}
		return d.run(ctx)
	}
	if len(inherited) > 0 {
		return cmdline.ExitWith(sysexits.Usage, errors.New("sockets from a service manager are for a server in the foreground"), "start it as smtpd -bD")
	}
	if os.Getuid() == 0 {
		if _, err := ServerUser(conf); err != nil {
			return err
		}
	}
	args := env.ConfigFlags()
	if o.Deaf {
		args = append(args, "--deaf")
	}
	if err := (service.Background{Args: args}).Start(ctx); err != nil {
		return StartError(err)
	}
	return nil
}

// Findings are what a server of a configuration would miss on this machine, or could not
// start without, as far as that can be seen without making or binding anything. Whoever
// could not start one is told only what can be read from the configuration. Each error is
// ready to be reported.
func Findings(ctx context.Context, conf *config.Config) (all []preflight.Finding) {
	stops := func(option string, err error) {
		if err != nil {
			all = append(all, preflight.Finding{Gravity: preflight.Stops, Option: option, Err: err})
		}
	}
	if os.Getuid() == 0 || !MayServe(conf) { // else it would be a private server, which has no use for them
		_, err := ServerUser(conf)
		stops("server-user", err)
		_, err = defaultUser(ctx, conf)
		stops("default-user", err)
	}
	stops("relay", checkRelay(conf, false))
	stops("coal", checkCoal(conf, false))
	stops("greylist", checkGreylist(conf, false))
	stops("tls-cert", checkTLS(conf))
	stops("queue-dir", checkDirs(conf))
	all = append(all, preflight.Greylist(conf)...)
	if !MayServe(conf) {
		return append(all, lists(ctx, conf)...)
	}
	if err := state.Check(conf.DBDir); err != nil {
		all = append(all, preflight.Found(preflight.Odd, config.Path{Option: "db-dir", Where: conf.Settings()[config.Index("db-dir")].Origin}, err,
			"until that is done the server remembers nothing of strangers; mail goes on"))
	}
	wanted := addresses(conf)
	for _, name := range []string{"", service.MSP, service.MSPS} {
		all = append(all, preflight.Ports(ctx, wanted[name], conf.RunDir)...)
	}
	if slices.Contains(conf.Log, "syslog") {
		if err := (maillog.Options{}).CheckSyslog(); err != nil {
			all = append(all, preflight.Finding{Option: "log", Err: cmdline.ExitWith(sysexits.Config, fmt.Errorf(noSyslog, err), noSyslogHint)})
		}
	}
	names := resolver.New(resolver.Options{Servers: conf.DNSServers, Log: slog.New(slog.DiscardHandler)})
	return append(all, findings(ctx, conf, names.HostAddrs)...)
}

// findings are those that are looked for at each start and reload too, where nobody waits
// for DNS: addrs looks up the hosts of filters; nil: they are not.
func findings(ctx context.Context, conf *config.Config, addrs func(context.Context, string) ([]netip.Addr, error)) []preflight.Finding {
	who := preflight.Who{
		Server: service.User{UID: os.Getuid(), GID: os.Getgid()}, Many: os.Getuid() == 0, MinFree: conf.MinFree, CheckCommand: user.CheckMailer, CheckScanner: user.CheckScanner,
		AsServer: func(f func() error) error { return AsServer(conf, f) },
	}
	if who.Many {
		owner, err := ServerUser(conf)
		if err != nil {
			owner = service.User{Name: conf.ServerUser, UID: -1} // which is told
		}
		who.Server = owner
	}
	all := append(preflight.Paths(conf.Paths(), who), virtualDomains(ctx, conf).Findings(ctx, who)...)
	all = append(all, preflight.Filters(ctx, conf, who, addrs)...)
	if err := scanAccount(ctx, conf); err != nil && who.Many {
		all = append(all, preflight.Found(preflight.Waits, config.Path{Option: "av-user", Where: conf.Settings()[config.Index("av-user")].Origin}, err,
			"name an account without rights, as with "+makeAliasUser+"; until then mail is asked to come again, and what programs send waits"))
	}
	return append(all, lists(ctx, conf)...)
}

// lists are what is odd in lists of clients and accounts.
func lists(ctx context.Context, conf *config.Config) (all []preflight.Finding) {
	found := func(g preflight.Gravity, option, hint string, err error) {
		p := config.Path{Option: option, Where: conf.Settings()[config.Index(option)].Origin}
		all = append(all, preflight.Found(g, p, err, hint))
	}
	odd := func(option, hint, format string, args ...any) {
		found(preflight.Odd, option, hint, fmt.Errorf(format, args...))
	}
	if _, err := alias.ParseUsermap(conf.Usermap); err != nil {
		found(preflight.Waits, "usermap", "usermap(7) says how an entry looks; mail that a wrong one may be meant for waits", err)
	}
	if conf.TrustsEverybody() {
		odd("trusted", "name the clients that may, as trusted=192.0.2.0/24", "everybody may send mail to anywhere through this machine: where strangers reach it, they do")
	}
	for _, name := range conf.TrustedUsers {
		if _, err := account.Machine().Lookup(ctx, name); errors.Is(err, account.ErrNoUser) {
			odd("trusted-users", "take the name out, or make the account", "there is no account %q", name)
		}
	}
	return all
}

// checkRelay refuses to open a port to everybody's mail for everybody, which option
// relay seems to ask for and never did (B18). deaf: no port is opened.
func checkRelay(conf *config.Config, deaf bool) error {
	if deaf || conf.Relay != "yes" {
		return nil
	}
	return cmdline.ExitWith(sysexits.Config, errors.New("relay=yes would let everybody send mail through this machine, and is for sendmail -bs alone: no server listens on a port with it"),
		"take it out, or write relay=bs, and name the clients that may relay: trusted=192.0.2.7,198.51.100.0/24,mail.example.org")
}

// checkDirs refuses directories that can't be one.
func checkDirs(conf *config.Config) error {
	had := map[string]string{}
	for _, d := range []struct{ option, dir string }{
		{"queue-dir", conf.QueueDir}, {"run-dir", conf.RunDir}, {"mail-dir", conf.MailDir}, {"db-dir", conf.DBDir},
	} {
		if other := had[d.dir]; other != "" {
			return cmdline.ExitWith(sysexits.Config, fmt.Errorf("%s and %s are both %s", other, d.option, d.dir), "give each a directory of its own")
		}
		had[d.dir] = d.option
	}
	return nil
}

// makeQueueDir makes the top of the spool, which the server fills: it could not
// make a directory in one of root's. An empty one becomes the server's, whosever it
// is: whoever made it may have been killed before giving it away, or is the runtime of a
// container. In a container so does a queue of ours with another owner, see adopt.
func makeQueueDir(dir string, owner service.User) error {
	err := os.Mkdir(dir, 0o700)
	if err != nil && !errors.Is(err, os.ErrExist) {
		return preflight.QueueDirError(dir, fmt.Errorf("make the queue directory: %w", err))
	}
	if service.Fresh(dir) && !given(dir, owner) {
		if err := service.Give(dir, 0o700, owner.UID, owner.GID); err != nil {
			return fmt.Errorf("make the queue directory: %w", err)
		}
		return nil
	}
	if service.BelowFirst() {
		if err := spool.Adopt(dir, owner.UID, owner.GID); err != nil {
			return preflight.QueueDirError(dir, err)
		}
	}
	return preflight.QueueDir(dir, owner)
}

// makeStateDir makes the directory of what is known again after a restart, for the server.
// Mail goes on without it.
func (d *daemon) makeStateDir(owner service.User) {
	if d.onePass {
		return
	}
	if err := state.Make(disk.OS(), d.conf.DBDir, owner.UID, owner.GID); err != nil && wantsState(d.conf) {
		d.log.LogAttrs(context.Background(), slog.LevelError, "store not open", maillog.File(state.Dir(d.conf.DBDir)), maillog.Err(err))
	}
}

// wantsState reports whether a configuration has use for it.
func wantsState(conf *config.Config) bool {
	return conf.Coal > 0 || conf.Greylist != config.GreylistOff
}

// keepState has the scores and the limits of strangers known again after a restart, where
// there is a store.
func (s *system) keepState(conf *config.Config) {
	if s.state == nil || !wantsState(conf) {
		return
	}
	s.state.Keep(state.Rates, s.smtp.Rates())
	if conf.Coal > 0 {
		s.state.Keep(state.Scores, &s.scores)
	}
}

// useGreylist has strangers wait as the configuration says.
func (s *system) useGreylist(ctx context.Context, now *settings) {
	o := now.greylist()
	switch {
	case s.greylist != nil:
		s.greylist.Use(o)
	case s.state != nil && o.Mode != greykeeper.Off:
		s.greylist = greykeeper.New(greykeeper.Stores{
			Records: s.state.Part(state.Greylist),
			Clients: s.state.Part(state.GreylistClients),
			Written: s.state.Part(state.GreylistWritten),
			Hours:   s.state.Part(state.GreylistHours),
		}, o, s.log)
		s.work.Go(func() { s.greylist.Run(ctx) })
	}
}

// belowError is what process 1 ends with: as the server below it, which has said
// why.
func belowError(err error) error {
	if e := (*service.ExitError)(nil); errors.As(err, &e) && e.Code > 0 {
		return cmdline.ExitWith(e.Code, cmdline.ErrAnswered)
	}
	if err != nil {
		return cmdline.ExitWith(sysexits.TempFail, err)
	}
	return nil
}

// RunPass is a server in this process that tries the whole queue once.
func RunPass(ctx context.Context, env *cmdline.Env, conf *config.Config) error {
	d := daemon{env: env, conf: conf, onePass: true}
	return d.run(ctx)
}

// Roles are the processes that a server starts from /proc/self/exe.
func Roles() []cmdline.Role {
	return []cmdline.Role{
		{Argv0: privsep.ServerRole, Run: runServerRole},
		{Argv0: service.MasterRole, Run: runMasterRole},
		{Argv0: privsep.UserRole, Run: runUserRole},
		{Argv0: auth.Role, Run: func(context.Context, *cmdline.Env) error { service.TakeName(); return auth.Run() }},
		{Argv0: shadow.Role, Run: func(context.Context, *cmdline.Env) error { service.TakeName(); return shadow.Run() }},
		{Argv0: passwords.Role, Run: func(context.Context, *cmdline.Env) error { service.TakeName(); return passwords.Run() }},
		{Argv0: signer.Role, Run: func(context.Context, *cmdline.Env) error { service.TakeName(); return signer.Run() }},
	}
}

// runMasterRole is the daemon that Start, runq or sendmail started behind
// itself.
func runMasterRole(ctx context.Context, env *cmdline.Env) error {
	service.TakeName()
	starter, err := service.FromStarter()
	if err != nil {
		return err
	}
	env.Program = "smtpd" // as whom the user started it
	env.Prepare(cmdline.Applet{Name: "smtpd"}, env.Args)
	pass := env.Flags.Bool("pass", false, "try the queue once, then end")
	deaf := env.Flags.Bool("deaf", false, "listen on no port")
	if err := env.Parse(); err != nil {
		return err
	}
	conf, err := env.Config()
	if err != nil {
		return err
	}
	d := daemon{env: env, conf: conf, onePass: *pass, deaf: *deaf, session: starter.Session, control: starter.Control, answers: starter.Ready}
	return d.run(ctx)
}

// Guard makes the process independent of what it inherits (A68, A77): it
// refuses rights that its caller doesn't have, a set-id bit or file
// capabilities, since no part of this program is written to be trusted with
// them; keeps foreign descriptors from every child; and takes a time zone from TZ
// by its name alone, as a file may never answer. The Go runtime has seen to
// descriptors 0 to 2 already.
func Guard() error {
	if raised() {
		return cmdline.ExitWith(sysexits.NoPerm, errors.New("this program doesn't run with raised rights"),
			"take set-id bits and capabilities off its file (chmod ug-s, setcap -r), or let the program that calls it give its own up")
	}
	if err := service.CloseOnExecAll(); err != nil {
		return cmdline.ExitWith(sysexits.OSErr, fmt.Errorf("keep inherited descriptors from children: %w", err))
	}
	if !isZone(os.Getenv("TZ")) {
		return os.Unsetenv("TZ")
	}
	return nil
}

// isZone reports whether a TZ is a name or a rule of a time zone (POSIX.1-2024,
// section 8.3), and no path. "" is UTC.
func isZone(tz string) bool {
	tz = strings.TrimPrefix(tz, ":")
	return len(tz) <= maxZone && !strings.HasPrefix(tz, "/") && !strings.Contains(tz, "..") &&
		strings.Trim(tz, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+-_/.,:<>") == ""
}

const maxZone = 128 // octets

// atSecure is the entry of the auxiliary vector, getauxval(3), with which the
// kernel says that the program has rights its caller lacks.
const atSecure = 23

func raised() bool {
	if os.Getuid() != os.Geteuid() || os.Getgid() != os.Getegid() {
		return true
	}
	vector, err := unix.Auxv()
	if err != nil {
		return false // no such thing on this system: the ids decide
	}
	for _, entry := range vector {
		if entry[0] == atSecure {
			return entry[1] != 0
		}
	}
	return false
}
