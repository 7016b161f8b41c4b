package wire

import (
	"bufio"
	"crypto/x509"
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"postoffice/internal/smtp"
)

const (
	inSize     = 16 << 10        // of a borrowed input buffer
	outSize    = 4 << 10         // replies that wait to be written
	refuseWait = 5 * time.Second // for a reply instead of a greeting
	replyGrace = 2 * time.Second // for what is said at the end

	IdleWait     = 10 * time.Second // for a command or a write of a program's, while few places are left
	StrangerWait = 4 * time.Second  // the same of who may be anybody: two rounds of it are not long for who waits
)

// buffers are what a wire borrows while octets wait in either direction.
type buffers struct {
	in  *bufio.Reader
	src source
	out []byte
}

var bufferPool = sync.Pool{New: func() any {
	b := &buffers{out: make([]byte, 0, outSize)}
	b.in = bufio.NewReaderSize(&b.src, inSize)
	return b
}}

// Conn is the connection of a session: command lines and data in, replies out.
// All but Stop, Raw, Close and Received belongs to the session's goroutine.
type Conn struct {
	Timeout time.Duration // of a pause in the data, or a write
	Crowded func() bool   // whether somebody may wait for our place soon; nil: never
	Paced   bool          // it is who may be anybody: a message may be in the way too, and there is less time

	sock     net.Conn // what was accepted: deadlines and the end are its own
	conn     net.Conn // what is read and written: sock, or TLS over it
	*buffers          // nil while nothing waits

	shown *x509.Certificate // ours, that a client under TLS has seen; nil: it resumed a session without it

	try    func(fd uintptr) bool // reads without waiting, see tryRead
	raw    syscall.RawConn       // of sock; nil: it is no descriptor
	tryErr error
	first  [1]byte // what wait read when raw is nil

	lineEnd   time.Time // when the line being read must be whole
	idle      time.Time // since when nothing has come of it, or of a message
	dataStart time.Time // when 354 was sent; zero outside the data
	dataRead  int64     // octets since then
	heldSince time.Time // when the last whole heldStep had come; zero before the first
	lost      bool      // the message will be refused for want of room
	writeErr  error
	received  atomic.Int64 // octets
	stopBy    atomic.Int64 // Unix nanoseconds; 0 until Stop
}

// Init makes w the connection conn. It comes once, before anything else, and w stays
// where it is from then on. timeout is Timeout.
func (w *Conn) Init(conn net.Conn, timeout time.Duration) {
	w.sock, w.conn, w.Timeout = conn, conn, timeout
	if c, ok := conn.(syscall.Conn); ok {
		if raw, err := c.SyscallConn(); err == nil {
			w.raw = raw
			w.try = w.tryRead
		}
	}
}

// Raw is what Init was given: who is at the other end.
func (w *Conn) Raw() net.Conn { return w.sock }

// Received is how many octets have come.
func (w *Conn) Received() int64 { return w.received.Load() }

// Cut ends the connection at once, whoever reads or writes.
func (w *Conn) Cut() { w.sock.Close() }

// Stop ends the session from another goroutine: a read that waits for a
// command returns at once, data have until by, and a reply a little longer.
func (w *Conn) Stop(by time.Time) {
	if w.stopBy.CompareAndSwap(0, by.UnixNano()) {
		w.sock.SetReadDeadline(time.Unix(1, 0))
		w.sock.SetWriteDeadline(by.Add(replyGrace))
	}
}

// stopped returns when all must be over, if Stop was called.
func (w *Conn) stopped() (by time.Time, ok bool) {
	ns := w.stopBy.Load()
	return time.Unix(0, ns), ns != 0
}

// ReadBy sets the deadline of what its caller reads from Raw. ErrStopped says that the
// end has come.
func (w *Conn) ReadBy(until time.Time) error {
	w.sock.SetReadDeadline(until)
	if _, ok := w.stopped(); ok { // in this order: see armRead
		return ErrStopped
	}
	return nil
}

// armRead sets the deadline of the next read. The order matters: Stop first
// says so and then wakes the reader, here the deadline comes first. A session that
// may be in the way of others looks whether it is, every idleWait.
func (w *Conn) armRead() error {
	if _, ok := w.stopped(); !ok && w.inTheWay() { // it may come octet by octet
		return ErrTimeout
	}
	until := w.readUntil()
	data := !w.dataStart.IsZero()
	if look := time.Now().Add(w.idleWait()); w.Crowded != nil && (!data || w.Paced) && look.Before(until) {
		until = look
	}
	w.sock.SetReadDeadline(until)
	by, ok := w.stopped()
	switch {
	case ok && data && by.Before(until):
		w.sock.SetReadDeadline(by)
	case ok && !data:
		return ErrStopped
	}
	return nil
}

// readUntil is when the next octets must come, where nobody waits for the place.
func (w *Conn) readUntil() time.Time {
	if w.dataStart.IsZero() {
		return w.lineEnd
	}
	return w.dataUntil(w.idle)
}

// inTheWay says that others may want the place of a client that has been silent, or slow
// with a message, for long enough. This machine's programs may be slow in one: what it is
// made from may need the time.
func (w *Conn) inTheWay() bool {
	switch {
	case w.Crowded == nil:
		return false
	case w.dataStart.IsZero():
		return !time.Now().Before(w.idle.Add(w.idleWait())) && w.Crowded()
	}
	return w.Paced && w.behind() && w.Crowded()
}

// readErr says what a read's error means; nil is to try again.
func (w *Conn) readErr(err error) error {
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	by, ok := w.stopped()
	switch {
	case !ok && (w.inTheWay() || !time.Now().Before(w.readUntil())):
		return ErrTimeout
	case !ok: // it was only to look
		return nil
	case w.dataStart.IsZero() || !time.Now().Before(by):
		return ErrStopped
	}
	return nil
}

// source is what a borrowed bufio.Reader reads.
type source struct {
	w     *Conn
	fd    int  // for the first read: without waiting, from here; else -1
	first bool // the first read gives w.first
}

func (s *source) Read(p []byte) (int, error) {
	switch {
	case s.fd >= 0 && s.w.conn == s.w.sock:
		return readNow(s.fd, p)
	case s.fd >= 0: // TLS, which reads by way of looking
		return s.w.conn.Read(p)
	case s.first:
		s.first = false
		return copy(p, s.w.first[:]), nil
	}
	return s.w.read(p)
}

// read waits for octets with a buffer held: a line or a message has begun.
func (w *Conn) read(p []byte) (int, error) {
	w.await()
	for {
		if err := w.armRead(); err != nil {
			return 0, err
		}
		n, err := w.conn.Read(p)
		w.countData(n)
		if n > 0 || err == nil {
			return n, nil
		}
		if err = w.readErr(err); err != nil {
			return 0, err
		}
	}
}

// wait returns when at least one octet is in w.in; until then it holds no
// buffer.
func (w *Conn) wait() error {
	w.release()
	w.await()
	for {
		if err := w.armRead(); err != nil {
			return err
		}
		err := w.waitOnce()
		if err == nil {
			w.countData(w.in.Buffered())
			return nil
		}
		if err = w.readErr(err); err != nil {
			return err
		}
	}
}

// await notes since when nothing comes. A line is one wait, however many pieces it
// comes in.
func (w *Conn) await() {
	if !w.dataStart.IsZero() {
		w.idle = time.Now()
	}
}

func (w *Conn) waitOnce() error {
	if w.raw != nil {
		if err := w.raw.Read(w.try); err != nil {
			return err
		}
		return w.tryErr
	}
	for {
		n, err := w.conn.Read(w.first[:])
		if n == 1 {
			w.borrow()
			w.src.first = true
			_, err = w.in.Peek(1)
			return err
		}
		if err != nil {
			return err
		}
	}
}

// tryRead is called by the runtime's poller, at once and whenever fd may be
// readable. It reads what there is into a borrowed buffer; with nothing there
// the buffer goes back before the goroutine sleeps.
func (w *Conn) tryRead(fd uintptr) bool {
	w.borrow()
	w.src.fd = int(fd)
	_, w.tryErr = w.in.Peek(1)
	w.src.fd = -1
	if w.tryErr == nil {
		return true
	}
	w.release()
	return w.tryErr != errNothingYet
}

func (w *Conn) borrow() {
	if w.buffers != nil {
		return
	}
	w.buffers = bufferPool.Get().(*buffers)
	w.src = source{w: w, fd: -1}
}

// release gives the buffers back. Both must be empty.
func (w *Conn) release() {
	if w.buffers == nil {
		return
	}
	b := w.buffers
	w.buffers = nil
	b.src = source{}
	b.in.Reset(&b.src)
	b.out = b.out[:0]
	bufferPool.Put(b)
}

// More gets further input, after writing the replies that are ready: the
// client may wait for them (RFC 2920 section 3.2).
func (w *Conn) More() error {
	n := w.Waiting()
	if n == 0 {
		return w.Some()
	}
	if err := w.Flush(); err != nil {
		return err
	}
	_, err := w.in.Peek(n + 1)
	return err
}

// Some is more, but only if nothing is waiting.
func (w *Conn) Some() error {
	if err := w.Flush(); err != nil || w.Waiting() > 0 {
		return err
	}
	return w.wait()
}

// Waiting is how many octets have been read and not yet used.
func (w *Conn) Waiting() int {
	if w.buffers == nil {
		return 0
	}
	return w.in.Buffered()
}

// peek returns the octets that are waiting.
func (w *Conn) peek() []byte {
	if w.buffers == nil {
		return nil
	}
	b, _ := w.in.Peek(w.in.Buffered()) // these are there
	return b
}

// Put adds r to what will be written.
func (w *Conn) Put(r smtp.Reply) {
	w.borrow()
	w.out = r.Append(w.out)
	if len(w.out) >= outSize {
		w.Flush()
	}
}

// Flush writes the replies that wait. An error is final.
func (w *Conn) Flush() error {
	if w.buffers == nil || len(w.out) == 0 || w.writeErr != nil {
		return w.writeErr
	}
	limit := w.Timeout
	if w.Crowded != nil && w.Crowded() {
		limit = min(limit, w.idleWait())
	}
	w.sock.SetWriteDeadline(time.Now().Add(limit))
	if by, ok := w.stopped(); ok {
		w.sock.SetWriteDeadline(by.Add(replyGrace))
	}
	_, w.writeErr = w.conn.Write(w.out)
	if cap(w.out) > 4*outSize {
		w.out = make([]byte, 0, outSize)
	}
	w.out = w.out[:0]
	return w.writeErr
}

// SendAway answers a client that has not been greeted, and closes. Its place
// is wanted: there is no lingering.
func (w *Conn) SendAway(r smtp.Reply) {
	w.Timeout = refuseWait
	w.Put(r)
	w.Flush()
	w.Close(false)
}

// Close ends the connection. With linger the client gets the time to read our
// last reply: octets of its that we left unread would make the kernel reset
// the connection and throw the reply away.
func (w *Conn) Close(linger bool) {
	defer w.sock.Close()
	defer w.release()
	if t, ok := w.conn.(closeWriter); ok && w.conn != w.sock && w.writeErr == nil {
		t.CloseWrite() // TLS says that this was all
	}
	half, ok := w.sock.(closeWriter)
	if !linger || !ok || w.writeErr != nil || half.CloseWrite() != nil {
		return
	}
	w.drop()
}

// closeWriter is what can end one direction and keep the other.
type closeWriter interface{ CloseWrite() error }
