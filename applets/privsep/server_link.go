package privsep

import (
	"fmt"
	"net/netip"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"postoffice/applets/privsep/birth"
	"postoffice/applets/service"
	"postoffice/deliver/local"
	"postoffice/internal/account"
)

// What a Link has under way; the master refuses more than four times that.
const (
	linkDeliveries = 256
	linkRuns       = 256
	linkLookups    = 16
	linkHomes      = 64  // questions after a .forward
	linkLists      = 128 // as many as the messages that wait for one (schedule.List): those that hang keep nobody from asking
	perGate        = 2   // questions and lists about one user, or about one alias's list
	linkPasswords  = 4
	longLists      = 16       // that are longer than maxShort
	maxShort       = 64 << 10 // octets of a list that needs none of the places of long ones
	handOverTime   = time.Minute
)

// Link is the server's end.
type Link struct {
	conn       *conn
	settings   []byte
	onePass    bool
	again      bool
	detach     bool // let go of standard error when ready
	listeners  []service.Listener
	session    *os.File
	unrecorded []local.TokenResult

	certificates *NewCertificates

	deliveries chan struct{} // a place for each
	runs       chan struct{}
	lookups    chan struct{}
	homes      chan struct{}
	passwords  chan struct{}
	lists      chan struct{}
	long       chan struct{}
	events     chan Event
	closed     chan struct{}
	auth       helperDesk
	shadow     helperDesk

	mu      sync.Mutex // guards what follows
	results map[string]chan local.Result
	answers map[string]question  // by serial
	gates   map[string]*userGate // by user, or whose list it is
	serial  uint64
}

// Connect makes this process, started as ServerRole, the server, and waits for
// what the master hands over. From here on signals are the master's affair,
// which tells the server what to do. At no time can another process of our user
// trace this one.
func Connect() (*Link, error) {
	signal.Ignore(append(service.Signals(), syscall.SIGPIPE, syscall.SIGXFSZ)...)
	c, err := birth.Become()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", ServerRole, err)
	}
	l := newLink(c)
	if err := l.takeOver(); err != nil {
		c.Close()
		return nil, fmt.Errorf("%s: taking over from the master: %w", ServerRole, err)
	}
	go l.read()
	return l, nil
}

// Settings are the octets of MasterOptions.Settings.
func (l *Link) Settings() []byte { return l.settings }

// OnePass says that the server is to try the queue once and end.
func (l *Link) OnePass() bool { return l.onePass }

// Listeners are the sockets to accept connections on.
func (l *Link) Listeners() []service.Listener { return l.listeners }

// Session is MasterOptions.Session.
func (l *Link) Session() *os.File { return l.session }

// Certificates are those to begin with, nil for none.
func (l *Link) Certificates() *NewCertificates { return l.certificates }

// Unrecorded are deliveries that were made for an earlier server, which did
// not live to record them. They come first: record each, then say Recorded.
func (l *Link) Unrecorded() []local.TokenResult { return l.unrecorded }

// Ready tells the master that this server answers. Behind a master in the
// background it lets go of standard error first, which is its starter's.
func (l *Link) Ready() error {
	if l.detach {
		if err := service.Detach(); err != nil {
			return err
		}
	}
	return l.conn.send(frame{op: opReady})
}

// Again says that a server gave way not long ago: this one is to stay for RenewEvery.
func (l *Link) Again() bool { return l.again }

// Done tells the master that the single pass is over or, where there is none, that
// another server is to come in our place at once. The server ends next, and is killed
// where that takes longer than a stop may.
func (l *Link) Done() error { return l.conn.send(frame{op: opDone}) }

// Broken tells the master that the listener can't accept any more. The caller
// has closed it; a new one comes as an event when it could be bound.
func (l *Link) Broken(name string) error { return l.conn.send(frame{opBroken, []string{name}}) }

// Events are what the master has to say. They must be read: nothing else
// arrives while one waits. The channel is closed with the link.
func (l *Link) Events() <-chan Event { return l.events }

// Event is one of Stop, Reload, ToggleAudit, NewListener, NewCertificates or Missed.
type Event any

// Stop: end the sessions, then the process.
type Stop struct{}

// Reload: new settings, already checked by the master.
type Reload struct{ Settings []byte }

// ToggleAudit turns auditing on where it is off, and off where it is on.
type ToggleAudit struct{}

// NewListener takes the place of the one with the same name that was Broken.
type NewListener struct{ service.Listener }

// NewCertificates take the place of those before.
type NewCertificates struct {
	Chains [][]byte // DER, each with the certificate itself first
	Signer *os.File // the link of the process that has their keys, in that order; the receiver's
}

// Missed says that a listener or, where Listener is "", new certificates did not come,
// since this process may open no more files. A signer whose link was lost ends, and so
// the master sends certificates again by itself; a listener has to be said to be Broken,
// after a while.
type Missed struct {
	Listener string
	Err      error
}

// Closed is closed when the master is gone: end at once, nobody is left who
// delivers.
func (l *Link) Closed() <-chan struct{} { return l.closed }

// KeepOut asks the master to keep a client out for a while. Whether it does it says
// itself, in the log.
func (l *Link) KeepOut(a netip.Addr) {
	address := a.As16()
	// Without a master there is nobody to connect to soon.
	_ = l.conn.send(frame{opKeepOut, []string{string(address[:])}})
}

// SignerHung tells the master that the signer which came last answers nobody.
func (l *Link) SignerHung() {
	// Without a master there is nobody who starts another one.
	_ = l.conn.send(frame{op: opHung})
}

// Recorded tells the master that the token's result is safe with us.
func (l *Link) Recorded(token string) {
	// Without a master there is nobody left who keeps the result.
	_ = l.conn.send(frame{opRecorded, []string{token}})
}

// Accounts finds local users for the server: in the passwd file, and only
// where nsswitch.conf names more than files by asking the master.
func (l *Link) Accounts(n account.Names) account.Accounts { return n.Asking(l.Lookup) }
