package privsep

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"postoffice/applets/privsep/creds"
	"postoffice/applets/service"
	"postoffice/deliver/local/mailbox"
	"postoffice/internal/account"
	"postoffice/internal/maillog"
)

// ServerRole is the argv[0] of the server.
const ServerRole = "postoffice: server"

// MasterOptions configure RunMaster.
type MasterOptions struct {
	Settings  []byte             // for the server; at most MaxSettings
	Listeners []service.Listener // given to the server, bound again when they break; taken over
	RunDir    *service.RunDir    // where the unix sockets among them are, watched; or nil
	Session   *os.File           // one SMTP session on a unix socket, for a single pass; taken over; or nil
	OnePass   bool               // the server ends when the queue has been tried once
	Detach    bool               // the server keeps our standard error only until it is ready
	Server    service.User       // who the server runs as; our own uid: it is not changed
	Mailboxes mailbox.Options    // As is filled in where it is nil, and Accounts with Names
	Names     account.Names      // where local accounts are found
	Users     UserOptions        // for users' processes
	ByUsers   bool               // users' processes write mailboxes, as everywhere but on Linux
	Bare      bool               // these and what they start never have a capability, by set-id programs neither
	Probe     bool               // begin with looking whether users' processes can be started
	Auth      Helper             // the process of virtual domains, with a link for questions and one for logins
	Shadow    Helper             // the process of the machine's accounts, with a link for logins
	KeepOut   func(netip.Addr)   // keeps out a client that the server names, if it may; nil: no server of ours asks for it
	// Password returns the password of a user at a smarthost, anew if the last one was
	// refused; nil: no server of ours asks for one.
	Password func(ctx context.Context, host, user string, again bool) (string, error)

	// Reload reads the configuration again on SIGHUP and returns what is new.
	// An error keeps the old one. nil: SIGHUP does nothing.
	Reload       func() (Reloaded, error)
	Certificates func() Certificates // those that the server is to have now; none changes nothing; nil: it has none
	Renew        <-chan struct{}     // says that Certificates returns others than before
	// Ready is called once, when the first server answers.
	Ready func()

	Grace time.Duration // what the server has to end its sessions; 0: 20 s
	Log   *slog.Logger  // nil: nothing is logged

	firstPause, lastPause, lookPause time.Duration // shorter for tests
	idleTime, placeWait, runSpare    time.Duration // too
	programWait, slowRun             time.Duration // too
	listWait                         time.Duration // longer for tests
}

// Helper is a process that the server has the master start, when it needs it, and of which
// the master knows nothing else: it makes the links and gives their ends away.
type Helper struct {
	Start   func(context.Context) (Helping, error)
	Missing func() string // why there is none, "" if there may be one; nil: no server of ours asks for it
	Waits   string        // what waits where it can't be started, for the log
}

// Helping is a Helper's process that runs.
type Helping struct {
	Links []*os.File // for the server
	PID   int
	Ended <-chan error
	Kill  func() // ends it at once, if it has not ended
}

// Reloaded is what a reload changes: MasterOptions.Settings and Users.
type Reloaded struct {
	Settings []byte
	Users    UserOptions
}

// MaxSettings bounds the settings, in octets.
const MaxSettings = 1 << 20

func (r Reloaded) check() error {
	if n := max(len(r.Settings), len(r.Users.Settings)); n > MaxSettings {
		return fmt.Errorf("settings of %d octets, limit %d", n, MaxSettings)
	}
	return nil
}

const (
	grace       = 20 * time.Second
	firstPause  = time.Second // between a server's end and the next one
	lastPause   = time.Minute
	steadyAfter = time.Minute      // a server that lived so long starts the pauses anew
	orphanWait  = 2 * time.Second  // for deliveries whose server died
	hangWait    = 10 * time.Second // for the same when we end too
	passTries   = 3                // servers of a single pass, if results wait to be recorded
)

// RenewEvery is what lies between two servers that give way, at least: what a server
// knows of failures goes with it.
const RenewEvery = time.Hour

// Rights are what a master's process may keep.
type Rights struct {
	Bare   bool // as MasterOptions.Bare
	Filter bool // the packet filter, for MasterOptions.KeepOut
}

// Prepare makes this process fit to be a master: all its threads keep the
// capabilities that a master uses and no others. Where a switch to a user would
// keep root's, it is an error. It comes before RunMaster, and before a thread is
// switched; for whoever isn't root it does nothing.
func Prepare(r Rights, log *slog.Logger) error {
	if os.Geteuid() != 0 {
		return nil
	}
	if err := creds.CheckSwitch(account.Unused); err != nil {
		return fmt.Errorf("switch to a user: %w", err)
	}
	err := creds.Reduce(r.Bare, r.Filter)
	if errors.Is(err, errors.ErrUnsupported) {
		log.LogAttrs(context.Background(), slog.LevelWarn, "capabilities kept", maillog.Proc("master"), maillog.Err(err))
		return nil
	}
	return err
}

// RunMaster starts the server and works for it until ctx ends, SIGTERM or
// SIGINT comes, or, with OnePass, the server is done. It restarts a server that
// dies. If the first server ends before it is ready, that is an *ExitError. It
// sets the process's umask to 077 and takes over service.Signals.
func RunMaster(ctx context.Context, o MasterOptions) error {
	if err := (Reloaded{o.Settings, o.Users}).check(); err != nil {
		return err
	}
	syscall.Umask(0o077)
	signal.Ignore(syscall.SIGPIPE, syscall.SIGXFSZ)
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, service.Signals()...)
	defer signal.Stop(signals)
	ctx, cancel := context.WithCancel(ctx)
	m := newMaster(ctx, o)
	if o.Probe {
		m.running.Go(m.users.probe)
	}
	err := m.run(signals)
	cancel()
	m.wait()
	if err == nil {
		m.o.Log.LogAttrs(context.Background(), slog.LevelInfo, "server stopped", maillog.Proc("master"))
	}
	return err
}

// master is the process that RunMaster makes of ours.
type master struct {
	o        MasterOptions
	ctx      context.Context
	accounts account.Accounts
	boxes    *mailbox.Mailboxes
	mailing  *mailing
	results  results
	users    *users
	sockets  *service.Sockets
	running  sync.WaitGroup // deliveries and lookups, for whatever server
	gaveWay  time.Time      // when a server did last
	audit    bool           // SIGUSR1 came, and again: servers have it the other way round than their settings

	mu        sync.Mutex // guards what follows
	readyOnce bool
	passDone  bool // the server said that the single pass is over
}

func newMaster(ctx context.Context, o MasterOptions) *master {
	if o.Grace == 0 {
		o.Grace = grace
	}
	if o.programWait == 0 {
		o.programWait = ProgramWait
	}
	if o.firstPause == 0 {
		o.firstPause, o.lastPause = firstPause, lastPause
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Mailboxes.As == nil {
		o.Mailboxes.As = creds.As
	}
	o.ByUsers = o.ByUsers || !creds.Threads && os.Geteuid() == 0
	m := &master{ctx: ctx, results: results{kept: map[string]*kept{}}}
	system := account.NewSystem(o.Names)
	m.accounts = o.Mailboxes.Accounts
	if m.accounts == nil {
		m.accounts = system
	}
	m.users = newUsers(o, system)
	o.Mailboxes.Accounts = m.accounts
	m.boxes = mailbox.New(o.Mailboxes)
	m.mailing = newMailing(m.users, m.boxes, o.Mailboxes.Mounts)
	m.sockets = service.NewSockets(ctx, service.SocketsOptions{
		Listeners: o.Listeners, Log: o.Log,
		FirstPause: o.firstPause, LastPause: o.lastPause, LookPause: o.lookPause,
	})
	if o.RunDir != nil {
		m.sockets.Watch(o.RunDir)
	}
	m.o = o
	return m
}

// wait lets what runs end, then lets go of the sockets. A thread that hangs in
// the kernel (a dead file server) is left behind.
func (m *master) wait() {
	m.users.stop()
	waitFor(&m.running, hangWait)
	waitFor(&m.users.watching, userEnd+time.Second)
	m.sockets.Close()
	if m.o.Session != nil {
		m.o.Session.Close() // the server that was to have it never came
	}
}

// waitFor waits for the group, but not longer than d; false: it still runs.
func waitFor(g *sync.WaitGroup, d time.Duration) bool {
	ended := make(chan struct{})
	go func() {
		g.Wait()
		close(ended)
	}()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ended:
		return true
	case <-timer.C:
		return false
	}
}

// How a server ends, but for faults: it was asked to, which ends the loop, or another one
// is to come in its place.
var errStopped, errGaveWay = errors.New("stopped"), errors.New("gave way to another server")

// renewable reports whether a server may give way.
func (m *master) renewable() bool { return time.Since(m.gaveWay) > RenewEvery }

// run keeps one server running.
func (m *master) run(signals <-chan os.Signal) error {
	pause := m.o.firstPause
	for try := 1; ; try++ {
		began := time.Now()
		err := m.serve(signals)
		switch {
		case errors.Is(err, errStopped):
			return nil
		case m.flag(&m.passDone):
			return nil
		case !m.flag(&m.readyOnce):
			return err
		case m.o.OnePass && (try >= passTries || len(m.results.unrecorded()) == 0):
			return err
		case errors.Is(err, errGaveWay) && m.renewable():
			m.gaveWay = time.Now()
			continue
		}
		if time.Since(began) > steadyAfter {
			pause = m.o.firstPause
		}
		m.o.Log.LogAttrs(m.ctx, slog.LevelError, "server ended", maillog.Proc("server"), maillog.Err(err), slog.Duration("pause", pause))
		if m.pause(signals, pause) {
			return nil
		}
		pause = min(2*pause, m.o.lastPause)
	}
}

// pause waits before the next server is started; true: stop instead.
func (m *master) pause(signals <-chan os.Signal, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
			return false
		case <-m.ctx.Done():
			return true
		case s := <-signals:
			if service.Ends(s) {
				return true
			}
			m.signal(s, nil)
		}
	}
}

// serve starts a server and works for it until it ends. The error says how it
// ended, or is errStopped.
func (m *master) serve(signals <-chan os.Signal) error {
	c, err := startServer(m.o.Server)
	if err != nil {
		return err
	}
	s := newServerLife(m, c)
	err = s.supervise(signals)
	if errors.Is(err, errStopped) {
		m.users.stop()
	}
	m.sockets.Serve(nil)
	s.abandon()
	return err
}

func (m *master) flag(f *bool) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return *f
}

// ready is called when a server answers.
func (m *master) ready() {
	m.mu.Lock()
	first := !m.readyOnce
	m.readyOnce = true
	m.mu.Unlock()
	if !first {
		return
	}
	m.notify("READY=1")
	if m.o.Ready != nil {
		m.o.Ready()
	}
}

// done is called when the server says that the single pass is over.
func (m *master) done() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.passDone = true
}

func (m *master) notify(state string) {
	if err := service.Notify(state); err != nil {
		m.o.Log.LogAttrs(m.ctx, slog.LevelWarn, "service manager not told", maillog.Err(err))
	}
}

// signal does what a signal asks for that doesn't end us. s may be nil.
func (m *master) signal(sig os.Signal, s *serverLife) {
	switch sig {
	case syscall.SIGHUP:
		m.reload(s)
	case syscall.SIGUSR1:
		m.audit = !m.audit
		if s != nil {
			s.tell(opAudit)
		}
	}
}

// reload reads the configuration anew and sends it to s, if there is one. A
// configuration that is refused changes nothing (A80).
func (m *master) reload(s *serverLife) {
	if m.o.Reload == nil {
		return
	}
	if m.flag(&m.readyOnce) {
		m.notify(service.Reloading())
		defer m.notify("READY=1")
	}
	fresh, err := m.o.Reload()
	if err == nil {
		err = fresh.check()
	}
	if err != nil {
		for _, one := range maillog.Lines(err) {
			m.o.Log.LogAttrs(m.ctx, slog.LevelError, "configuration refused, the old one stays", maillog.Err(one))
		}
		return
	}
	m.o.Settings = fresh.Settings
	m.audit = false
	m.users.reload(fresh.Users)
	if s == nil {
		return
	}
	if err := errors.Join(s.sendSettings(), s.send(opReload)); err != nil {
		m.o.Log.LogAttrs(m.ctx, slog.LevelError, "configuration not sent", maillog.Err(err))
		return
	}
	m.o.Log.LogAttrs(m.ctx, slog.LevelInfo, "configuration read anew")
}
