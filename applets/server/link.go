package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"postoffice/applets/cmdline"
	"postoffice/applets/config"
	"postoffice/applets/logins"
	"postoffice/applets/preflight"
	"postoffice/applets/privsep"
	"postoffice/applets/privsep/auth"
	"postoffice/applets/privsep/shadow"
	"postoffice/applets/service"
	"postoffice/applets/state"
	"postoffice/deliver/local/mailbox"
	"postoffice/internal/account"
	"postoffice/internal/disk"
	"postoffice/internal/maillog"
	"postoffice/vhost"
)

// runServerRole is the server of the root tree: no rights, all the work. The
// master behind the link gave it its configuration and its sockets, and ends it.
func runServerRole(ctx context.Context, env *cmdline.Env) error {
	service.TakeName() // before it hides from its user's other processes
	link, err := privsep.Connect()
	if err != nil {
		return err
	}
	conf, err := config.Decode(link.Settings())
	if err != nil {
		return err
	}
	program := "smtpd"
	if link.OnePass() {
		program = "runq"
	}
	log, closeLog, err := OpenLog(env, conf, program)
	if err != nil {
		return err
	}
	defer closeLog()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() { // nobody is left who delivers: what is under way is worth nothing
		<-link.Closed()
		cancel()
	}()
	g := ground{accounts: link.Accounts(account.Names{}), mailer: link, maildrop: true, keepOut: link.KeepOut, passwords: link}
	if !link.OnePass() {
		g.state = state.New(conf.DBDir, log)
	}
	users := &auth.OnDemand{Note: indexFailed(log), Start: func(ctx context.Context) (auth.Links, error) {
		links, err := link.Auth(ctx)
		if err != nil {
			return auth.Links{}, err
		}
		return auth.Links{Questions: links[0], Logins: links[1]}, nil
	}}
	g.virtual, g.logins = newVirtual(conf, users, users, g.accounts), users.Logins()
	g.system = shadow.OnDemand(func(ctx context.Context) (*os.File, error) {
		links, err := link.Shadow(ctx)
		if err != nil {
			return nil, err
		}
		return links[0], nil
	})
	s, err := assemble(ctx, conf, log, g)
	if err != nil {
		// In the background nobody sees the standard error of a second server.
		log.LogAttrs(ctx, slog.LevelError, "server not started", maillog.Err(err))
		return err
	}
	s.runner.ApplyResults(ctx, link.Unrecorded()) // what an earlier server had delivered and could not say
	if link.OnePass() {
		return s.serveOnce(ctx, cancel, link)
	}
	return s.serveLink(ctx, cancel, link)
}

// serveOnce is one pass for the master.
func (s *system) serveOnce(ctx context.Context, cancel func(), link *privsep.Link) error {
	if c := link.Certificates(); c != nil {
		s.takeCertificates(ctx, *c, link.SignerHung)
	}
	if err := link.Ready(); err != nil {
		return err
	}
	go func() {
		for event := range link.Events() {
			switch e := event.(type) {
			case privsep.Stop:
				cancel()
			case privsep.NewCertificates: // the signer died
				s.takeCertificates(ctx, e, link.SignerHung)
			}
		}
	}()
	var asked *os.File
	for _, l := range link.Listeners() {
		asked = l.File
	}
	err := s.pass(ctx, link.Session(), asked)
	cancel()
	s.stop()
	if err != nil {
		return err
	}
	return link.Done()
}

// serveLink serves until the master says stop, or another server is to take this one's
// place.
func (s *system) serveLink(ctx context.Context, cancel func(), link *privsep.Link) error {
	began := time.Now()
	s.broken = link.Broken
	if c := link.Certificates(); c != nil {
		s.takeCertificates(ctx, *c, link.SignerHung)
	}
	// Before anybody is greeted: the master starts another server only after one that was ready.
	if err := link.Ready(); err != nil {
		return err
	}
	for _, l := range link.Listeners() {
		if err := s.listen(ctx, l); err != nil {
			return err
		}
	}
	s.deliverAll(ctx)
	look := time.NewTicker(spentLook)
	defer look.Stop()
	rests := 0 // looks in a row
	for {
		select {
		case event, ok := <-link.Events():
			if _, stop := event.(privsep.Stop); stop || !ok {
				cancel()
				s.stop()
				return nil
			}
			s.heed(ctx, link, event)
		case now := <-look.C:
			if rests++; !s.spent() || link.Again() && now.Sub(began) < privsep.RenewEvery {
				rests = 0
			}
			if rests == spentLooks {
				return s.giveWay(ctx, cancel, link)
			}
		}
	}
}

// heed does what the master says, but for Stop.
func (s *system) heed(ctx context.Context, link *privsep.Link, event privsep.Event) {
	switch e := event.(type) {
	case privsep.Reload:
		conf, err := config.Decode(e.Settings)
		if err != nil {
			s.log.LogAttrs(ctx, slog.LevelError, "configuration refused", maillog.Err(err))
			return
		}
		s.reload(ctx, conf)
	case privsep.NewCertificates:
		s.takeCertificates(ctx, e, link.SignerHung)
	case privsep.ToggleAudit:
		s.policy.ToggleAudit()
	case privsep.NewListener:
		if err := s.listen(ctx, e.Listener); err != nil {
			s.listenLater(ctx, e.Name, err)
		}
	case privsep.Missed:
		s.missed(ctx, e)
	}
}

const (
	spentLook   = 5 * time.Second  // between two looks
	spentLooks  = 3                // that must find nothing to do before a server gives way
	lastClients = 10 * time.Second // for who came in the moment in which it began to
)

// spent reports whether what a crowd of clients left is all that there is of this server:
// Go keeps memory of as many sessions as there were, and only its process's end gives it
// back. Nobody is connected, looks on, or is being worked for.
func (s *system) spent() bool {
	return s.smtp.Spent() && s.watchers.n.Load() == 0 && s.runner.Resting() && s.waiting.Resting()
}

// giveWay ends a server whom the master follows with another one at once. Nobody is turned
// away for it: the master has the sockets too, and who comes meanwhile waits there.
func (s *system) giveWay(ctx context.Context, cancel func(), link *privsep.Link) error {
	s.log.LogAttrs(ctx, slog.LevelInfo, "server renewed", maillog.Reason("memory that many sessions at one time left is given back"))
	settle, end := context.WithTimeout(ctx, lastClients)
	defer end()
	go func() {
		for event := range link.Events() { // the next server hears of all but a stop
			if _, stop := event.(privsep.Stop); stop {
				end()
			}
		}
	}()
	for _, l := range s.listening {
		l.end()
	}
	await := func(over <-chan struct{}) {
		select {
		case <-over:
		case <-settle.Done():
		}
	}
	for name, l := range s.listening {
		if name != service.Control {
			await(l.over)
		}
	}
	s.smtp.Settle(settle)
	s.watchers.close() // of a session with the next server there is nothing to see here
	await(s.listening[service.Control].over)
	err := link.Done()
	cancel()
	s.stop()
	return err
}

// missed goes on without what the master could not give us.
func (s *system) missed(ctx context.Context, m privsep.Missed) {
	if m.Listener != "" {
		s.listenLater(ctx, m.Listener, m.Err)
		return
	}
	s.log.LogAttrs(ctx, slog.LevelError, "no certificate", maillog.Err(m.Err), maillog.Reason("those of before are used as long as there are any; the new ones are asked for again until they come"))
}

// listenAgainWait is how long a listener rests that could not be taken over.
const listenAgainWait = 5 * time.Second

// listenLater has a listener bound again that could not be taken over, as where no
// descriptor is free.
func (s *system) listenLater(ctx context.Context, name string, why error) {
	s.work.Go(func() {
		select {
		case <-ctx.Done():
		case <-time.After(listenAgainWait):
			s.rebind(ctx, name, why)
		}
	})
}

// helpers are what the daemon knows of the processes that the server asks it for.
type helpers struct {
	system atomic.Bool // option auth names the machine's accounts
	once   sync.Once   // reads what follows
	secret []byte      // of logins
}

// use takes over a configuration.
func (h *helpers) use(conf *config.Config) {
	h.system.Store(slices.Contains(conf.Auth, logins.System))
}

// helperOptions are what a master has to know of the processes for logins, and of virtual
// domains besides.
func (d *daemon) helperOptions(ctx context.Context, o *privsep.MasterOptions) {
	d.systemOptions(o)
	conf := d.conf
	who, missing := virtualUser(ctx, conf)
	o.Mailboxes.Virtual = virtualBoxes(conf, who, missing)
	if conf.VHostDir == "" {
		missing = "there are no virtual domains: option vhost-dir is empty"
	}
	o.Auth = privsep.Helper{
		Waits:   "mail for virtual domains waits until it is",
		Missing: func() string { return missing },
		Start: func(ctx context.Context) (h privsep.Helping, err error) {
			groups, err := account.Machine().Groups(ctx, who)
			if err != nil {
				return h, err
			}
			p, err := auth.Start(d.whereFor(conf, who), who, groups)
			if err != nil {
				return h, err
			}
			return privsep.Helping{Links: []*os.File{p.Questions, p.Logins}, PID: p.PID(), Ended: p.Ended, Kill: p.Kill}, nil
		},
	}
}

// secret is that of logins, for all processes that the daemon starts.
func (d *daemon) secret() []byte {
	d.helpers.once.Do(func() {
		var err error
		if d.helpers.secret, err = logins.Secret(disk.OS(), d.conf.DBDir); err != nil {
			d.log.LogAttrs(context.Background(), slog.LevelWarn, "secret of logins not kept", maillog.Option("db-dir"), maillog.Err(err), maillog.Reason("who tries names by SCRAM before and after a start can tell which there are: let the server write the directory"))
		}
	})
	return d.helpers.secret
}

// systemOptions are what a master has to know of logins to the machine's accounts.
func (d *daemon) systemOptions(o *privsep.MasterOptions) {
	d.helpers.use(d.conf)
	o.Shadow = privsep.Helper{
		Waits: "who has an account of the machine can't log in until it is",
		Missing: func() string {
			if !d.helpers.system.Load() {
				return "option auth doesn't name the accounts of the machine"
			}
			return ""
		},
		Start: func(context.Context) (h privsep.Helping, err error) {
			p, err := shadow.Start(shadow.Options{
				Passwd: shadow.PasswdFile, Shadow: shadow.ShadowFile, UID: account.Shadow,
				Open: func() (*os.File, error) { return shadow.Open(shadow.ShadowFile) },
			})
			if err != nil {
				return h, err
			}
			return privsep.Helping{Links: []*os.File{p.Link}, PID: p.PID(), Ended: p.Ended, Kill: p.Kill}, nil
		},
	}
}

// virtualUser is the account of virtual domains, or why there is none.
func virtualUser(ctx context.Context, conf *config.Config) (a account.Account, missing string) {
	a, err := account.Machine().Lookup(ctx, conf.VHostUser)
	switch {
	case errors.Is(err, account.ErrNoUser):
		return account.Account{}, vhost.NoOwner(conf.VHostUser).Error()
	case err != nil:
		return account.Account{}, fmt.Sprintf("look up the vhost-user: %v", err)
	case a.UID == 0:
		return account.Account{}, fmt.Sprintf("vhost-user=%s is root, which it must not be: name another account", conf.VHostUser)
	}
	return a, ""
}

// virtualDomains are those that are to be looked at: an ordinary user's server has none
// where another account is the vhost-user.
func virtualDomains(ctx context.Context, conf *config.Config) (v preflight.Virtual) {
	option := func(name, value string) config.Path {
		return config.Path{Option: name, Where: conf.Settings()[config.Index(name)].Origin, Name: value, Named: conf.Named(name)}
	}
	who, missing := virtualUser(ctx, conf)
	if os.Getuid() != 0 && who.UID != os.Getuid() {
		return v
	}
	v = preflight.Virtual{
		Dir: option("vhost-dir", conf.VHostDir), User: option("vhost-user", conf.VHostUser), Mailbox: option("vhost-mailbox", conf.VHostMailbox), Quota: option("vhost-quota", ""),
		Domains: vhost.OpenDomains(conf.VHostDir), Store: vhost.New(conf.VHostDir, account.Machine()), Boxes: virtualBoxes(conf, who, missing), Bounded: conf.VHostQuota > 0,
	}
	if missing == "" {
		v.AsUser = func(f func() error) error { return asUser(who, f) }
	}
	return v
}

// virtualBoxes are the mailboxes of virtual domains, all of one account.
func virtualBoxes(conf *config.Config, a account.Account, missing string) mailbox.Virtual {
	return mailbox.Virtual{Dir: conf.VHostSpool, User: a, Missing: missing, Maildir: conf.VHostMailbox == config.VHostMaildir, Folder: conf.VHostFolder}
}

// whereVirtual is what the process of virtual domains is told. Where an LMTP server has
// the mailboxes it counts none.
func whereVirtual(conf *config.Config) auth.Where {
	w := auth.Where{Dir: conf.VHostDir, Maildir: conf.VHostMailbox == config.VHostMaildir, Index: filepath.Join(conf.DBDir, indexDir)}
	if w.Maildir || conf.VHostMailbox == config.VHostFile {
		w.Spool = conf.VHostSpool
	}
	return w
}

// newVirtual returns the virtual domains of a configuration, nil where there can be
// none.
func newVirtual(conf *config.Config, users vhost.Users, boxes vhost.Mailboxes, accounts account.Accounts) *vhost.Directory {
	if conf.VHostDir == "" {
		return nil
	}
	d := &vhost.Directory{Dir: conf.VHostDir, Domains: vhost.OpenDomains(conf.VHostDir), Users: users, Owner: conf.VHostUser, Accounts: accounts}
	if whereVirtual(conf).Spool != "" {
		d.Boxes = boxes
	}
	return d
}

// virtualUsers are those of virtual domains, for logins.
func (g ground) virtualUsers() logins.Users {
	if g.virtual == nil || g.logins == nil {
		return logins.Users{}
	}
	return logins.Users{Source: g.logins, Any: g.virtual.Domains.Any}
}
