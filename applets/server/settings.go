package server

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/netip"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"postoffice/applets/cmdline"
	"postoffice/applets/config"
	"postoffice/applets/logins"
	"postoffice/applets/policy"
	"postoffice/applets/preflight"
	"postoffice/applets/smtpd"
	"postoffice/applets/smtpd/greykeeper"
	"postoffice/applets/smtpd/greylist"
	"postoffice/applets/smtpd/pools"
	"postoffice/applets/smtpd/rates"
	"postoffice/deliver"
	"postoffice/deliver/local"
	"postoffice/deliver/masquerade"
	"postoffice/deliver/remote"
	"postoffice/deliver/route"
	"postoffice/deliver/routes"
	"postoffice/internal/alias"
	"postoffice/internal/maillog"
	"postoffice/internal/smtp"
	"postoffice/resolver"
	"postoffice/spool"
)

// settings are what a configuration means to the other packages. They are made
// whole and never changed: a reload puts others in their place, and who has
// loaded them once works with them to the end.
type settings struct {
	conf     *config.Config
	log      *slog.Logger
	resolver *resolver.Resolver
	aliases  *alias.Aliases
	self     string // our host name
	senders  senders
	clients  *clients      // of a system alone, which makes them
	logins   logins.Source // of a system alone; nil: nobody can log in
}

// newSettings reads a configuration. It may ask DNS for our name.
func newSettings(ctx context.Context, conf *config.Config, log *slog.Logger) *settings {
	s := &settings{
		conf:     conf,
		log:      log,
		resolver: resolver.New(resolver.Options{Servers: conf.DNSServers, Log: log}),
		aliases:  Aliases(conf),
	}
	s.ours(netip.IPv6Unspecified()) // they are read now, while there are descriptors
	s.self = s.hostname(ctx)
	s.senders = newSenders(conf, s.self)
	return s
}

// Aliases are those of a configuration.
func Aliases(conf *config.Config) *alias.Aliases {
	if conf.Named("aliases") {
		return alias.OpenNamed(conf.Aliases)
	}
	return alias.Open(conf.Aliases)
}

// ours says whether an address certainly is this machine's: whoever else has it
// is no stranger.
func (s *settings) ours(a netip.Addr) bool {
	ours, err := s.resolver.IsOurs(a)
	return ours && err == nil
}

// hostname is our name in mail (option hostname).
func (s *settings) hostname(ctx context.Context) string {
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

// deliver is what the runner gets. watch may be nil.
func (s *settings) deliver(g ground, queue *spool.Queue, watch deliver.Watcher) deliver.Options {
	return deliver.Options{
		Options:  s.route(g),
		Queue:    queue,
		Local:    g.mailer,
		Escape:   escapeOf(s.conf.EscapeFrom),
		QReturn:  orNone(s.conf.QReturn),
		StopTime: s.conf.StopTime,
		Hops:     s.conf.Hops,
		Remote:   remote.Options{Hostname: s.self, Log: s.log},
		Senders:  masquerade.New(masquerade.Options{Domain: s.conf.Masquerade, File: s.conf.SenderMap, OurOwn: s.ourName, Ours: s.ours, Log: s.log}),
		Watch:    watch,
		Log:      s.log,

		OpenView: s.conf.QueueView == config.ViewAll,
	}
}

// escapeOf is what option escape-from says.
func escapeOf(option string) local.Escape {
	switch option {
	case config.InFiles:
		return local.EscapeFiles
	case "no":
		return local.EscapeNone
	}
	return local.EscapeAll
}

// route is what the router gets.
func (s *settings) route(g ground) route.Options {
	o := route.Options{
		Hostname:     s.self,
		Resolver:     s.resolver,
		RelayHost:    s.conf.RelayHost,
		Routes:       routes.New(s.conf.Routes, s.log),
		OnlyKnown:    !s.conf.ForwardAll,
		MXPool:       s.conf.MXPool,
		SMTPPort:     s.conf.SMTPPort,
		LocalDomains: s.conf.LocalDomains,
		LocalByDNS:   s.conf.LocalByDNS,
		Aliases:      s.aliases,
		Accounts:     g.accounts,
		Usermap:      s.conf.Usermap,
		Delimiter:    s.conf.Delimiter,
		DefaultUser:  cmp.Or(g.postmaster, programUser(s.conf)), // a private server has its user alone
		Postmaster:   g.postmaster,
		Mailbox:      s.conf.Mailbox,
		Mailer:       s.conf.Mailer,

		VirtualMailbox: virtualMailbox(s.conf),
		VirtualQuota:   s.conf.VHostQuota,
		VirtualFolder:  s.conf.VHostFolder,
		Users:          g.mailer,
	}
	if g.virtual != nil {
		o.Virtual = g.virtual
	}
	return o
}

// smtpd is what the SMTP server gets.
func (s *settings) smtpd(queue smtpd.Queue, checker func(*smtpd.Client) smtpd.Checker) smtpd.Options {
	return smtpd.Options{
		Hostname:          s.self,
		Size:              s.conf.Size,
		Timeout:           s.conf.Timeout,
		Clients:           orNone(s.conf.Clients),
		ClientsPerAddress: s.conf.ClientsPerAddress,
		Programs:          places(descriptors()),
		Load:              s.conf.Load,
		SoftErrors:        s.conf.SoftErrors,
		HardErrors:        orNone(s.conf.HardErrors),
		ErrorDelay:        s.conf.ErrorDelay,
		GreetDelay:        s.conf.GreetDelay,
		TagEarly:          s.conf.EarlyTalk == config.Tag,
		Rates:             rateLimits(s.conf),
		Hops:              s.conf.Hops,
		RejectBareNewline: s.conf.BareNewline == config.Reject,
		Queue:             queue,
		Checker:           checker,
		Log:               s.log,
		ClientName:        s.clientName,
		Trusted:           s.clients.of,
		Proxy:             within(s.conf.ProxyFrom),
		XClient:           within(s.conf.XClientFrom),
		Account:           accountOf,
		Nobody:            accountless,
		OwnSender:         s.senders.own,
		Logins:            s.logins,
		Mechanisms:        s.conf.AuthMechanisms,
		LoginsOnRelay:     s.conf.AuthPort25,
		ClearLogins:       within(s.conf.AuthClear),
		RefusedLogins:     s.conf.RateLogins,
		HideClient:        s.conf.HideClient,
	}
}

// GreylistRules are how long who waits.
func GreylistRules(c *config.Config) greylist.Rules {
	bits4, bits6 := c.GreylistNetworks()
	return greylist.Rules{Delay: c.Delay, From: c.GreylistFrom, NullWindow: c.GreylistNullWindow, Bits4: bits4, Bits6: bits6}
}

// greylist is what the greylist gets.
func (s *settings) greylist() greykeeper.Options {
	c := s.conf
	o := greykeeper.Options{
		Mode:    map[string]greykeeper.Mode{config.GreylistOn: greykeeper.On, config.GreylistShadow: greykeeper.Shadow}[c.Greylist],
		Rules:   GreylistRules(c),
		Age:     c.GreylistAge,
		Defer:   c.GreylistFailed == config.GreylistDefer,
		Written: c.GreylistWritten,
		After:   c.GreylistAfter,

		ExemptClients:    within(c.GreylistClients),
		ExemptSenders:    c.GreylistSenders,
		ExemptRecipients: c.GreylistRecipients,
	}
	var domains []string
	for _, name := range c.GreylistPools {
		switch name {
		case config.NoPools:
			return o
		case config.PoolsShipped:
			domains = append(domains, pools.Shipped()...)
		default:
			domains = append(domains, name)
		}
	}
	if len(domains) > 0 {
		o.Pool = pools.New(domains, spfDNS{s.resolver}).Of
	}
	return o
}

// rateLimits are how fast strangers may come.
func rateLimits(c *config.Config) rates.Limits {
	l := rates.Limits{Per: c.RateTime}
	l.Most[rates.Connections], l.Most[rates.Messages] = c.RateConnections, c.RateMessages
	l.Most[rates.Recipients], l.Most[rates.Unknown] = c.RateRecipients, c.RateUnknown
	return l
}

// maxPlaces is how many sessions programs of this machine have at most; where
// there are few descriptors, a quarter of those.
const maxPlaces = 1000

func places(descriptors uint64) int { return int(min(max(descriptors/4, 1), maxPlaces)) }

// descriptors is how many this process may have open.
func descriptors() uint64 {
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) != nil {
		return math.MaxUint64
	}
	return uint64(limit.Cur) // elsewhere it has a sign
}

// policy is what judges clients.
func (s *settings) policy(recipient func(context.Context, policy.Question) (smtp.Reply, error), place func(context.Context, string) (policy.Place, error)) policy.Options {
	return policy.Options{
		Log:        s.log,
		HostsAllow: s.conf.HostsAllow,
		HostsDeny:  s.conf.HostsDeny,
		AllowMust:  s.conf.Named("hosts-allow"),
		DenyMust:   s.conf.Named("hosts-deny"),
		Forbidden:  policy.Forbidden(s.conf.Forbidden),
		Paranoid:   s.conf.Paranoid,
		CheckHelo:  s.conf.CheckHelo,
		VerifyFrom: s.conf.VerifyFrom,
		NoDaemon:   s.conf.NoDaemon,
		SoftDeny:   s.conf.SoftDeny,
		DNSCheck:   s.conf.DNSCheck,
		LocalMX:    s.conf.LocalMX,
		Banner:     s.conf.Banner,
		Audit:      s.conf.Audit,
		OurName:    s.ourName,
		Ours:       s.ours,
		Addrs:      s.resolver.HostAddrs,
		Domain:     place,
		Recipient:  recipient,
		Unsure:     s.clients.unsure,
	}
}

// ourName says whether a host name is one by which this machine knows itself. What
// can't be known now isn't.
func (s *settings) ourName(name string) bool {
	known, _ := s.resolver.IsLocalName(name)
	return known || smtp.EqualFold(name, s.self)
}

// clientName is what DNS says of an address.
func (s *settings) clientName(ctx context.Context, a netip.Addr) (string, smtpd.Naming) {
	name, err := s.resolver.Name(ctx, a)
	switch {
	case err == nil:
		return name, smtpd.Named
	case errors.Is(err, resolver.ErrNotFound):
		return "", smtpd.Unnamed
	case errors.Is(err, resolver.ErrForged):
		return "", smtpd.Forged
	}
	return "", smtpd.Uncertain
}

// orNone is an option's value for packages whose 0 is their default: an option's
// own 0 is negative there.
func orNone[T int | time.Duration](v T) T {
	if v == 0 {
		return -1
	}
	return v
}

// logs are the places that the log goes to.
type logs []maillog.Output

// close ends them.
func (l logs) close() {
	for _, out := range l {
		out.Close() // what is lost of a log is no error of the mail's
	}
}

// reopen goes on in new files where the present ones were renamed.
func (l logs) reopen() error {
	var errs []error
	for _, out := range l {
		errs = append(errs, out.Reopen())
	}
	return errors.Join(errs...)
}

// openLogs opens every place that the log goes to. A file that root makes
// belongs to the server-user: master and server both append to it, and the
// server can make none in a directory of root's.
func openLogs(env *cmdline.Env, conf *config.Config, program string) (*slog.Logger, logs, error) {
	o := maillog.Options{Format: conf.LogFormat, Program: program, Stderr: env.Stderr}
	if os.Getuid() == 0 {
		owner, _ := ServerUser(conf) // without one no server starts
		o.UID, o.GID = owner.UID, owner.GID
	}
	var all logs
	var handlers []slog.Handler
	for _, o.Sink = range conf.Log {
		log, out, err := maillog.New(o)
		if err != nil {
			all.close()
			return nil, nil, preflight.LogError(o.Sink, err)
		}
		handlers, all = append(handlers, log.Handler()), append(all, out)
	}
	return slog.New(slog.NewMultiHandler(handlers...)), all, nil
}

// warnOfSyslog tells who starts a server that the log goes nowhere.
func warnOfSyslog(env *cmdline.Env, conf *config.Config) {
	if !slices.Contains(conf.Log, "syslog") {
		return
	}
	if err := (maillog.Options{}).CheckSyslog(); err != nil {
		env.Say("warning: " + fmt.Errorf(noSyslog, err).Error())
		env.Say("hint: " + noSyslogHint)
	}
}

// What is said where the log goes nowhere.
const (
	noSyslog     = "nobody takes the log: %w"
	noSyslogHint = "start a syslog daemon, or have a file written, by a line log=file:/var/log/postoffice.log in postoffice.cf"
)

// OpenLog opens the log for a program that never reopens its files. Without an
// error the caller ends it with closeAll.
func OpenLog(env *cmdline.Env, conf *config.Config, program string) (log *slog.Logger, closeAll func(), err error) {
	log, all, err := openLogs(env, conf, program)
	return log, all.close, err
}

// virtualMailbox is option vhost-mailbox for a router.
func virtualMailbox(conf *config.Config) string {
	switch conf.VHostMailbox {
	case config.VHostFile:
		return ""
	case config.VHostMaildir:
		return route.Maildir
	}
	return conf.VHostMailbox
}
