package privsep

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"postoffice/deliver/local"
)

// What a Link has under way; the master refuses more than four times that.
const (
	linkDeliveries = 256
	linkLookups    = 16
	handOverTime   = time.Minute
)

// Link is the server's end.
type Link struct {
	conn       *conn
	settings   []byte
	onePass    bool
	detach     bool // let go of standard error when ready
	listeners  []Listener
	session    *os.File
	unrecorded []TokenResult

	deliveries chan struct{} // a place for each
	lookups    chan struct{}
	events     chan Event
	closed     chan struct{}

	mu      sync.Mutex // guards what follows
	results map[string]chan local.Result
	found   map[string]chan answer
	serial  uint64
}

// answer is what the master knows of a name.
type answer struct {
	account local.Account
	err     error
}

// TokenResult is the result of a delivery known by its token.
type TokenResult struct {
	Token  string
	Result local.Result
}

// Connect takes up the link that this process, started as ServerRole, has
// inherited, and waits for what the master hands over. From here on SIGHUP,
// SIGINT and SIGTERM are the master's affair, which tells the server to stop,
// and no process of our own user can trace this one.
func Connect() (*Link, error) {
	kind, err := unix.GetsockoptInt(linkFD, unix.SOL_SOCKET, unix.SO_TYPE)
	if err != nil || kind != unix.SOCK_SEQPACKET {
		return nil, fmt.Errorf("%s: not started by a master: descriptor %d is no link", ServerRole, linkFD)
	}
	unix.CloseOnExec(linkFD)
	if err := hide(); err != nil {
		return nil, fmt.Errorf("%s: %w", ServerRole, err)
	}
	signal.Ignore(syscall.SIGHUP, syscall.SIGINT, syscall.SIGTERM, syscall.SIGPIPE, syscall.SIGXFSZ)
	c, err := unixConn(os.NewFile(linkFD, "link"))
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
func (l *Link) Listeners() []Listener { return l.listeners }

// Session is MasterOptions.Session.
func (l *Link) Session() *os.File { return l.session }

// Unrecorded are deliveries that were made for an earlier server, which did
// not live to record them. They come first: record each, then say Recorded.
func (l *Link) Unrecorded() []TokenResult { return l.unrecorded }

// Ready tells the master that this server answers. Behind a master in the
// background it lets go of standard error first, which is its starter's.
func (l *Link) Ready() error {
	if l.detach {
		if err := detach(); err != nil {
			return err
		}
	}
	return l.conn.send(frame{op: opReady})
}

// Done tells the master that the single pass is over; the server ends next.
func (l *Link) Done() error { return l.conn.send(frame{op: opDone}) }

// Broken tells the master that the listener can't accept any more. The caller
// has closed it; a new one comes as an event when it could be bound.
func (l *Link) Broken(name string) error { return l.conn.send(frame{opBroken, []string{name}}) }

// Events are what the master has to say. They must be read: nothing else
// arrives while one waits. The channel is closed with the link.
func (l *Link) Events() <-chan Event { return l.events }

// Event is one of Stop, Reload or NewListener.
type Event any

// Stop: end the sessions, then the process.
type Stop struct{}

// Reload: new settings, already checked by the master.
type Reload struct{ Settings []byte }

// NewListener takes the place of the one with the same name that was Broken.
type NewListener struct{ Listener }

// Closed is closed when the master is gone: end at once, nobody is left who
// delivers.
func (l *Link) Closed() <-chan struct{} { return l.closed }

// Recorded tells the master that the token's result is safe with us.
func (l *Link) Recorded(token string) {
	// Without a master there is nobody left who keeps the result.
	_ = l.conn.send(frame{opRecorded, []string{token}})
}

// Deliver has the master write d into the mailbox of d.User. The token names
// the delivery: as long as its result is Delivered and not Recorded, another
// call with it, by this server or the next, gets that result and delivers
// nothing. It is up to 128 octets of printable ASCII without spaces.
func (l *Link) Deliver(ctx context.Context, token string, d local.Delivery) local.Result {
	if err := errors.Join(checkToken(token), local.CheckName(d.User)); err != nil {
		return failed("local delivery is not possible", err)
	}
	select {
	case l.deliveries <- struct{}{}:
		defer func() { <-l.deliveries }()
	case <-ctx.Done():
		return failed("local delivery was interrupted", context.Cause(ctx))
	case <-l.closed:
		return failed("local delivery is not possible now", errClosed)
	}
	result, err := l.expect(token)
	if err != nil {
		return failed("local delivery is not possible now", err)
	}
	defer l.forget(token)
	if err := l.sendDelivery(ctx, token, d); err != nil {
		return failed("local delivery is not possible now", err)
	}
	select { // not ctx: it may have been delivered
	case r := <-result:
		return r
	case <-l.closed:
		return failed("local delivery is not possible now", errClosed)
	}
}

var errClosed = errors.New("the master is gone")

func failed(text string, err error) local.Result {
	r := later(text)
	r.Err = err
	return r
}

func (l *Link) expect(token string) (<-chan local.Result, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.results[token] != nil {
		return nil, fmt.Errorf("delivery %s is under way", token)
	}
	c := make(chan local.Result, 1)
	l.results[token] = c
	return c, nil
}

func (l *Link) forget(token string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.results, token)
}

// sendDelivery asks for a delivery and sends its octets, a small message with
// the request. An error means that the master got no whole message; it may
// have refused it already.
func (l *Link) sendDelivery(ctx context.Context, token string, d local.Delivery) error {
	buf := chunks.Get().(*chunkBuffer)
	defer chunks.Put(buf)
	n, err := readChunk(d.Body, buf[:maxSmall+1])
	switch {
	case err != nil && err != io.EOF:
		return bodyError{err}
	case n <= maxSmall:
		return l.conn.send(frame{opSmall, []string{token, d.User, string(buf[:n])}})
	}
	d.Body = io.MultiReader(bytes.NewReader(buf[:n]), d.Body)
	return l.sendLarge(ctx, token, d)
}

func (l *Link) sendLarge(ctx context.Context, token string, d local.Delivery) error {
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer w.Close()
	err = l.conn.send(frame{opDeliver, []string{token, d.User}}, r)
	r.Close()
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { w.SetWriteDeadline(time.Unix(1, 0)) })
	defer stop()
	err = sendStream(w, d.Body)
	if errors.Is(err, syscall.EPIPE) { // it has made up its mind: the result comes
		return nil
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return context.Cause(ctx)
	}
	return err
}

// Lookup asks the master for an account.
func (l *Link) Lookup(ctx context.Context, name string) (local.Account, error) {
	if err := local.CheckName(name); err != nil {
		return local.Account{}, fmt.Errorf("%w: %w", local.ErrNoUser, err)
	}
	select {
	case l.lookups <- struct{}{}:
		defer func() { <-l.lookups }()
	case <-ctx.Done():
		return local.Account{}, context.Cause(ctx)
	}
	l.mu.Lock()
	l.serial++
	serial, reply := strconv.FormatUint(l.serial, 10), make(chan answer, 1)
	l.found[serial] = reply
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.found, serial)
	}()
	if err := l.conn.send(frame{opLookup, []string{serial, name}}); err != nil {
		return local.Account{}, err
	}
	select {
	case a := <-reply:
		return a.account, a.err
	case <-ctx.Done():
		return local.Account{}, context.Cause(ctx)
	case <-l.closed:
		return local.Account{}, errClosed
	}
}

// Accounts finds local users for the server: in the passwd file, and only
// where nsswitch.conf names more than files by asking the master.
func (l *Link) Accounts(n Names) local.Accounts { return n.accounts(l.Lookup) }

// parseResult reads the fields of a result.
func parseResult(f []string) (TokenResult, error) {
	t := TokenResult{Token: f[0]}
	switch f[1] {
	case local.Delivered.String():
		t.Result.Status = local.Delivered
	case local.Refused.String():
		t.Result.Status = local.Refused
	}
	code, err := strconv.Atoi(f[2])
	if err != nil {
		return t, fmt.Errorf("%w: %w", errFrame, err)
	}
	t.Result.Reply.Code, t.Result.Reply.Status, t.Result.Reply.Text = code, f[3], f[4]
	if f[5] != "" {
		t.Result.Err = errors.New(f[5])
	}
	return t, nil
}
