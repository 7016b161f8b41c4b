package privsep

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"postoffice/deliver/local"
	"postoffice/internal/maillog"
)

// The roles of processes, as argv[0] has them.
const (
	MasterRole = "postoffice: master"
	ServerRole = "postoffice: server"
)

// User is who the server runs as.
type User struct {
	Name     string
	UID, GID int
}

// MasterOptions configure RunMaster.
type MasterOptions struct {
	Settings  []byte        // for the server; at most MaxSettings
	Listeners []Listener    // given to the server, bound again when they break; taken over
	RunDir    *RunDir       // where the unix sockets among them are, watched; or nil
	Session   *os.File      // one SMTP session on a unix socket, for a single pass; taken over; or nil
	OnePass   bool          // the server ends when the queue has been tried once
	Detach    bool          // the server keeps our standard error only until it is ready
	Server    User          // who the server runs as; our own uid: it is not changed
	Mailboxes local.Options // As is filled in where it is nil, and Accounts with Names
	Names     Names         // where local accounts are found
	Users     UserOptions   // for users' processes

	// Reload reads the configuration again on SIGHUP and returns what is new.
	// An error keeps the old one. nil: SIGHUP does nothing.
	Reload func() (Reloaded, error)
	// Ready is called once, when the first server answers.
	Ready func()

	Grace time.Duration // what the server has to end its sessions; 0: 20 s
	Log   *slog.Logger  // nil: nothing is logged

	firstPause, lastPause, lookPause time.Duration // shorter for tests
	idleTime, placeWait, runSpare    time.Duration // too
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

// ExitError says that a process of ours ended and with which exit code.
type ExitError struct {
	Role string
	Code int    // sysexits(3); -1: a signal
	Text string // how it ended
}

func (e *ExitError) Error() string { return e.Role + " ended: " + e.Text }

// RunMaster starts the server and works for it until ctx ends, SIGTERM or
// SIGINT comes, or, with OnePass, the server is done. It restarts a server that
// dies. If the first server ends before it is ready, that is an *ExitError. It
// sets the process's umask to 077 and takes over SIGHUP, SIGINT and SIGTERM.
func RunMaster(ctx context.Context, o MasterOptions) error {
	if err := (Reloaded{o.Settings, o.Users}).check(); err != nil {
		return err
	}
	syscall.Umask(0o077)
	signal.Ignore(syscall.SIGPIPE, syscall.SIGXFSZ)
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGHUP, syscall.SIGINT, syscall.SIGTERM)
	defer signal.Stop(signals)
	ctx, cancel := context.WithCancel(ctx)
	m := newMaster(ctx, o)
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
	accounts local.Accounts
	boxes    *local.Mailboxes
	results  results
	people   *people
	sockets  *Sockets
	running  sync.WaitGroup // deliveries and lookups, for whatever server

	mu        sync.Mutex // guards what follows
	readyOnce bool
	passDone  bool // the server said that the single pass is over
}

func newMaster(ctx context.Context, o MasterOptions) *master {
	if o.Grace == 0 {
		o.Grace = grace
	}
	if o.firstPause == 0 {
		o.firstPause, o.lastPause = firstPause, lastPause
	}
	if o.lookPause == 0 {
		o.lookPause = lookPause
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Mailboxes.As == nil {
		o.Mailboxes.As = As
	}
	m := &master{ctx: ctx, results: results{kept: map[string]*kept{}}}
	getent := newGetent(o.Names)
	m.accounts = o.Mailboxes.Accounts
	if m.accounts == nil {
		m.accounts = o.Names.accounts(getent.Lookup)
	}
	m.people = newPeople(o, getent)
	o.Mailboxes.Accounts = m.accounts
	m.boxes = local.NewMailboxes(o.Mailboxes)
	m.sockets = NewSockets(ctx, o.Listeners, o.Log)
	m.sockets.firstPause, m.sockets.lastPause, m.sockets.lookPause = o.firstPause, o.lastPause, o.lookPause
	if o.RunDir != nil {
		m.sockets.Watch(o.RunDir)
	}
	m.o = o
	return m
}

// wait lets what runs end, then lets go of the sockets. A thread that hangs in
// the kernel (a dead file server) is left behind.
func (m *master) wait() {
	m.people.stop()
	waitFor(&m.running, hangWait)
	waitFor(&m.people.watching, helperEnd+time.Second)
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

// errStopped ends the loop: it was asked to.
var errStopped = errors.New("stopped")

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
			if s != syscall.SIGHUP {
				return true
			}
			m.reload(nil)
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
	s := newSession(m, c)
	err = s.supervise(signals)
	if errors.Is(err, errStopped) {
		m.people.stop()
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
func (m *master) done() error {
	if !m.o.OnePass {
		return errors.New("done, but this is no single pass")
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.passDone = true
	return nil
}

func (m *master) notify(state string) {
	if err := Notify(state); err != nil {
		m.o.Log.LogAttrs(m.ctx, slog.LevelWarn, "service manager not told", maillog.Err(err))
	}
}

// reload reads the configuration anew and sends it to s, if there is one. A
// configuration that is refused changes nothing (A80).
func (m *master) reload(s *session) {
	if m.o.Reload == nil {
		return
	}
	if m.flag(&m.readyOnce) {
		m.notify(reloading())
		defer m.notify("READY=1")
	}
	fresh, err := m.o.Reload()
	if err == nil {
		err = fresh.check()
	}
	if err != nil {
		m.o.Log.LogAttrs(m.ctx, slog.LevelError, "configuration refused, the old one stays", maillog.Err(err))
		return
	}
	m.o.Settings = fresh.Settings
	m.people.reload(fresh.Users)
	if s == nil {
		return
	}
	if err := errors.Join(s.sendSettings(), s.send(opReload)); err != nil {
		m.o.Log.LogAttrs(m.ctx, slog.LevelError, "configuration not sent", maillog.Err(err))
		return
	}
	m.o.Log.LogAttrs(m.ctx, slog.LevelInfo, "configuration read anew")
}
