package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	osuser "os/user"
	"slices"
	"strings"
	"time"

	"postoffice/applets/cmdline"
	"postoffice/applets/coal"
	"postoffice/applets/coal/nft"
	"postoffice/applets/config"
	"postoffice/applets/privsep"
	"postoffice/applets/privsep/creds"
	"postoffice/applets/service"
	"postoffice/applets/sysexits"
	"postoffice/deliver/local/mailbox"
	"postoffice/deliver/local/user"
	"postoffice/internal/account"
	"postoffice/internal/dbm/store"
	"postoffice/internal/disk"
	"postoffice/internal/maillog"
	"postoffice/internal/smtp"
)

// userSettings is what a user's process is told of the configuration. Its user
// can read it: no secret may be in it.
type userSettings struct {
	Aliases     string
	Usermap     []string
	Mailer      string
	EscapeFrom  string
	DefaultUser string
	ProgramDir  string
	ProgramTime time.Duration
	RequireHome bool
	MailDir     string
	Mailbox     string
	Folders     []string
	Virtual     mailbox.Virtual // but for its User
	Scanner     user.Scanner
}

// userOptions is what the master needs for users' processes.
func userOptions(ctx context.Context, conf *config.Config) (privsep.UserOptions, error) {
	runner, err := defaultUser(ctx, conf)
	if err != nil {
		return privsep.UserOptions{}, err
	}
	conf.DefaultUser = runner.Name // the server is to ask for the same
	scanner := scannerOf(conf)
	data, err := json.Marshal(userSettings{
		Aliases:     conf.Aliases,
		Usermap:     conf.Usermap,
		Mailer:      conf.Mailer,
		EscapeFrom:  conf.EscapeFrom,
		DefaultUser: runner.Name,
		ProgramDir:  conf.ProgramDir,
		ProgramTime: conf.ProgramTime,
		RequireHome: conf.RequireHome,
		MailDir:     conf.MailDir,
		Mailbox:     conf.Mailbox,
		Folders:     foldersOf(conf),
		Virtual:     virtualBoxes(conf, account.Account{}, ""),
		Scanner:     scanner,
	})
	return privsep.UserOptions{Settings: data, DefaultUser: runner.Name, ScanUser: scanner.User, RunTime: max(conf.ProgramTime, scanner.Time)}, err
}

// scannerOf is what the options say of av.
func scannerOf(conf *config.Config) user.Scanner {
	return user.Scanner{Command: conf.AV, User: scanUser(conf), Time: conf.AVTime, Infected: conf.AVInfected}
}

// aliasUser is the account for the programs of aliases that packages make.
const (
	aliasUser     = "postoffice-alias"
	makeAliasUser = "useradd --system --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin " + aliasUser
)

// programUser is the name of the account that runs what aliases name.
func programUser(conf *config.Config) string {
	if conf.DefaultUser != config.Auto {
		return conf.DefaultUser
	}
	if _, err := osuser.Lookup(aliasUser); err == nil {
		return aliasUser
	}
	return "nobody"
}

// AsServer runs f, which opens files and starts nothing, with the rights that the
// server has: those of the account that root's server runs as, or the caller's. Where
// that account is missing or can't be become, f has the caller's.
func AsServer(conf *config.Config, f func() error) error {
	owner, err := ServerUser(conf)
	if err != nil {
		return f()
	}
	return asUser(account.Account{Name: owner.Name, UID: owner.UID, GID: owner.GID}, f)
}

// asUser is AsServer for another account.
func asUser(a account.Account, f func() error) error {
	if os.Getuid() != 0 {
		return f()
	}
	ran := false
	err := creds.As(a, -1, func() error { ran = true; return f() })
	if !ran {
		return f()
	}
	return err
}

// SharedUser says who else has the account that runs what aliases name, and could
// get at its files and processes; "" nobody, or it is not known.
func SharedUser(ctx context.Context, conf *config.Config) string {
	a, err := defaultUser(ctx, conf)
	if err != nil {
		return ""
	}
	first := account.Machine().NameOf(a.UID)
	who := ""
	switch owner, err := ServerUser(conf); {
	case err == nil && owner.UID == a.UID:
		who = "the server runs as it too, so that a program of an alias may change the queue"
	case a.Name == "nobody":
		who = "other programs of this machine run as it too"
	case first != "" && first != a.Name:
		who = "it has the uid of " + first
	case account.CheckShell(a, "/etc/shells") == nil:
		who = "somebody may log in as it"
	default:
		return ""
	}
	return "programs of aliases run as " + a.Name + ", but " + who + ": give them an account of their own (option default-user), as with " + makeAliasUser
}

// Exposed says why processes with others' rights are less closed here than they
// should be, "" if they aren't.
func Exposed() string { return exposedBy("/proc/sys/fs/suid_dumpable") }

func exposedBy(path string) string {
	b, err := os.ReadFile(path)
	if err != nil || strings.TrimSpace(string(b)) != "1" {
		return ""
	}
	return "fs.suid_dumpable is 1: users may trace programs that run with others' rights; ours keep a capability that they lack while they become a user, which a binary built with cgo can't, so that nothing is run for users there: sysctl -w fs.suid_dumpable=2"
}

// defaultUser is the account that runs what aliases name.
func defaultUser(ctx context.Context, conf *config.Config) (account.Account, error) {
	const hint = "option default-user names an account without rights for the programs of aliases: " + makeAliasUser
	a, err := account.Machine().Lookup(ctx, programUser(conf))
	switch {
	case errors.Is(err, account.ErrNoUser):
		return a, cmdline.ExitWith(sysexits.Config, fmt.Errorf("there is no account %q for the programs of aliases to run as (option default-user)", conf.DefaultUser), hint)
	case err != nil:
		return a, fmt.Errorf("look up %s (option default-user): %w", conf.DefaultUser, err)
	case a.UID == 0:
		return a, cmdline.ExitWith(sysexits.Config, fmt.Errorf("default-user=%s has uid 0: programs of aliases must not be root's", conf.DefaultUser), hint)
	}
	return a, nil
}

// scanAccount says what is wrong with the account that av is to run as, but for that of
// default-user, which is looked at for itself.
func scanAccount(ctx context.Context, conf *config.Config) error {
	if conf.AV == "" || conf.AVUser == config.Auto {
		return nil
	}
	switch a, err := account.Machine().Lookup(ctx, conf.AVUser); {
	case errors.Is(err, account.ErrNoUser):
		return fmt.Errorf("there is no account %q for the program of av to run as", conf.AVUser)
	case err != nil:
		return fmt.Errorf("look up %s: %w", conf.AVUser, err)
	case a.UID == 0:
		return fmt.Errorf("%s has uid 0: a program that reads what strangers send must not be root's", conf.AVUser)
	}
	return nil
}

// prepareMaster gives up what the master doesn't use of root's rights.
func prepareMaster(conf *config.Config, log *slog.Logger) error {
	err := privsep.Prepare(privsep.Rights{Bare: !conf.ProgramCapabilities, Filter: conf.Coal > 0}, log)
	if err == nil {
		return nil
	}
	return cmdline.ExitWith(sysexits.OSErr, fmt.Errorf("make the master safe: %w", err),
		"start it without securebits (SecureBits= of a unit, setpriv --securebits), capabilities(7)",
		"program-capabilities=no needs CAP_SETPCAP, which a unit's CapabilityBoundingSet= may lack")
}

// checkCoal refuses a configuration that this build can't serve. deaf: no port is opened.
func checkCoal(conf *config.Config, deaf bool) error {
	if deaf || conf.Coal == 0 {
		return nil
	}
	if err := nft.Supported(); err != nil {
		return cmdline.ExitWith(sysexits.Config, err, "take the option coal out, or install the full postoffice for Linux")
	}
	return nil
}

// checkGreylist is checkCoal for what needs the store.
func checkGreylist(conf *config.Config, deaf bool) error {
	if deaf || conf.Greylist == config.GreylistOff {
		return nil
	}
	if err := store.Supported(); err != nil {
		return cmdline.ExitWith(sysexits.Config, fmt.Errorf("option greylist: %w", err), "or take the option greylist out")
	}
	return nil
}

// startCoal makes what keeps clients out of the ports of o's listeners (option coal).
// Where the kernel lacks what that needs, or we do, the log says so and mail goes on
// without. end lets everybody in again.
func (d *daemon) startCoal(o *privsep.MasterOptions) (end func(), err error) {
	if d.conf.Coal == 0 {
		return func() {}, nil
	}
	table, err := nft.Open(portsOf(o.Listeners))
	if err != nil {
		d.leaveCoal("nobody is kept out: that needs nftables in the kernel, and CAP_NET_ADMIN", err)
		return func() {}, prepareMaster(d.conf, d.log) // without the capability
	}
	d.coal = &coal.Keeper{Gate: coal.Gate{Ours: interfaceAddrs}, Add: table.Add, For: d.conf.Coal, Log: d.log}
	d.coal.Gate.Trust(trustedNetworks(d.conf))
	o.KeepOut = d.coal.KeepOut
	return func() {
		if err := table.Close(); err != nil {
			d.log.LogAttrs(context.Background(), slog.LevelWarn, "clients still kept out", maillog.Reason("for as long as the option coal says; nft delete table inet postoffice lets them in"), maillog.Err(err))
		}
	}, nil
}

// leaveCoal turns the option off, until the next start, and says so in the log.
func (d *daemon) leaveCoal(reason string, err error) {
	d.conf.Coal = 0
	attrs := []slog.Attr{maillog.Reason(reason)}
	if err != nil {
		attrs = append(attrs, maillog.Err(err))
	}
	d.log.LogAttrs(context.Background(), slog.LevelWarn, "coal not on", attrs...)
}

// portsOf are the ports of TCP among the listeners, each once.
func portsOf(listeners []service.Listener) []uint16 {
	var ports []uint16
	for _, l := range listeners {
		a, err := netip.ParseAddrPort(l.Address)
		if err == nil && !slices.Contains(ports, a.Port()) {
			ports = append(ports, a.Port())
		}
	}
	return ports
}

// trustedNetworks are the addresses and networks of option trusted, and of proxies, behind
// which all clients are. Of trusted names the server knows the addresses: the master asks
// no DNS.
func trustedNetworks(conf *config.Config) []netip.Prefix {
	var all []netip.Prefix
	for _, text := range slices.Concat(conf.Trusted, conf.ProxyFrom, conf.XClientFrom) {
		if p, ok := smtp.ParseNetwork(text); ok {
			all = append(all, p)
		}
	}
	return all
}

// interfaceAddrs are this machine's addresses now.
func interfaceAddrs() ([]netip.Addr, error) {
	addrs, err := net.InterfaceAddrs()
	var all []netip.Addr
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			all = append(all, p.Addr())
		}
	}
	return all, err
}

// runUserRole is a user's process of the root tree: it reads their .forward and
// lists, runs their programs and writes their files, each when the master asks.
func runUserRole(ctx context.Context, _ *cmdline.Env) error {
	service.TakeName() // before it hides from its user's other processes
	link, err := privsep.ConnectUser()
	if err != nil {
		return err
	}
	var s userSettings
	if err := json.Unmarshal(link.Settings(), &s); err != nil {
		return fmt.Errorf("settings: %w", err)
	}
	system := account.Machine()
	s.Virtual.User = link.Account()
	homes := mailbox.Homes{Required: s.RequireHome}
	boxes := mailbox.New(mailbox.Options{
		FS: disk.OS(), Dir: s.MailDir, Mailbox: s.Mailbox, Folders: s.Folders, Virtual: s.Virtual, Homes: homes, Accounts: account.Only(link.Account()),
	})
	link.Serve(ctx, userWorker{boxes, user.New(user.Options{
		Account:     link.Account(),
		DefaultUser: s.DefaultUser,
		Accounts:    system,
		NameOf:      system.NameOf,
		Alone:       system.Alone,
		Aliases:     s.Aliases,
		Usermap:     s.Usermap,
		Mailer:      s.Mailer,
		Escape:      escapeOf(s.EscapeFrom),
		ProgramDir:  s.ProgramDir,
		ProgramTime: s.ProgramTime,
		Scanner:     s.Scanner,
		Homes:       homes,
		FS:          disk.OS(),
		Files:       boxes,
	})})
	return nil
}

// userWorker is what a user's process does.
type userWorker struct {
	*mailbox.Mailboxes
	*user.User
}
