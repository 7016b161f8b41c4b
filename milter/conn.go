package milter

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"time"

	"postoffice/internal/smtp"
)

// Options are the settings of a Conn.
type Options struct {
	Network string // "unix" or "tcp"
	Address string // a path, host:port or [ipv6]:port
	// Dial opens the connection; nil: a net.Dialer.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Connect is the total time for connecting and agreeing on the terms; 0: 10 s.
	Connect time.Duration
	// Command is the time for a step before the message's octets; 0: 10 s. Progress
	// begins it anew.
	Command time.Duration
	// Message is all the time that is waited for the filter because of one message,
	// from AtMail to AtEnd, and the most that progress makes of a step outside of one;
	// 0: 5 minutes.
	Message time.Duration
	// MaxBody bounds a new body, in octets as SMTP counts them; 0: 100 MB.
	MaxBody int64
	// LargePackets offers the filter packets of up to 256 KiB and 1 MiB, where it has 64
	// KiB otherwise, as from Postfix. Filters on go-milter 0.10.1 say yes to that, and
	// can't send a new body then.
	LargePackets bool
	// Answered, if it isn't nil, is told of each step that the filter has answered; last
	// says that it has more to say neither of the message nor, before one, of the session.
	Answered func(s Step, last bool)
}

// Times and bounds, each where the options have none.
const (
	defaultConnect = 10 * time.Second // a filter is on this machine, or near it
	defaultCommand = 10 * time.Second // a filter looks into a list, or asks DNS
	defaultMessage = 5 * time.Minute  // half of what a client waits (RFC 5321 section 4.5.3.2.6)
	defaultMaxBody = 100 << 20        // four times what most servers take of a message
)

// quitWait bounds the farewell: nothing depends on it.
const quitWait = 2 * time.Second

// maxProgress bounds the packets of progress in one message, or one step outside of
// one: one each second of the longest time.
const maxProgress = 1000

// A Conn is a conversation with one filter. Its methods are called one after another
// from one goroutine; Close alone may be called from any, and ends what is waiting.
//
// Steps may be told in any order that an SMTP session has. A Conn leaves out by itself
// what the filter doesn't want, what its version doesn't have, and what it has said
// enough about: after Accept, or any verdict that ends a message, the rest of that
// message gives Continue; a verdict at AtConnect or AtHelo that ends the session is
// given again at each later step.
type Conn struct {
	o     Options
	conn  net.Conn
	r     *bufio.Reader
	w     *bufio.Writer
	data  bytes.Buffer // of the packet that is being read
	stop  func() bool
	ctx   context.Context
	terms Terms
	lists [lastList + 1][]string // the filter's own lists of macros; nil: the usual

	err     error    // why the connection is of no more use
	settled *Verdict // said of the whole session
	open    bool     // a message has begun, and the filter has not said its last word of it
	done    bool     // the filter has said its last word of the message
	skipped [AtUnknown + 1]bool
	cr      bool // the body's last octet was a CR
	rcpts   int  // recipients of the message that it was told of, or would have been

	at       Step      // which is the last that has begun
	heard    bool      // it is answered
	last     bool      // as Options.Answered has it
	began    time.Time // of the step
	spent    time.Duration
	progress int
}

// Dial connects to a filter and agrees with it on the terms. When ctx is done,
// whatever waits fails, during the whole conversation. An error is in plain words:
// what the system says, or what the filter did. Quit, or Close, ends it.
func Dial(ctx context.Context, o Options) (*Conn, error) {
	o.Connect = cmp.Or(o.Connect, defaultConnect)
	o.Command = cmp.Or(o.Command, defaultCommand)
	o.Message = cmp.Or(o.Message, defaultMessage)
	o.MaxBody = cmp.Or(o.MaxBody, defaultMaxBody)
	if o.Dial == nil {
		o.Dial = new(net.Dialer).DialContext
	}
	until := time.Now().Add(o.Connect)
	dialing, cancel := context.WithDeadline(ctx, until)
	defer cancel()
	conn, err := o.Dial(dialing, o.Network, o.Address)
	if err != nil {
		return nil, smtp.InWords(err)
	}
	c := &Conn{o: o, conn: conn, ctx: ctx, r: bufio.NewReaderSize(conn, 4<<10), w: bufio.NewWriterSize(conn, 8<<10)}
	c.stop = context.AfterFunc(ctx, func() { conn.Close() })
	conn.SetDeadline(until)
	if err := c.negotiate(); err != nil {
		c.fail("negotiation", o.Connect, err)
		return nil, c.err
	}
	return c, nil
}

// At is the step that was begun last.
func (c *Conn) At() Step { return c.at }

// Terms are what was agreed on.
func (c *Conn) Terms() Terms { return c.terms }

// Wants says whether the filter is to be told of this step, as far as can be known
// now. Where it isn't, telling it does nothing and gives Continue, or the verdict on
// the whole session.
func (c *Conn) Wants(s Step) bool {
	return c.err == nil && c.settled == nil && !(s.ofMessage() && c.done) &&
		!c.skipped[s] && c.terms.Protocol&table[s].not == 0
}

// Close ends the connection at once.
func (c *Conn) Close() error {
	c.stop()
	return c.conn.Close()
}

// Closed reports whether the filter has closed the connection, as far as that has come to
// this machine: a step that has no answer doesn't tell.
func (c *Conn) Closed() bool {
	if c.err != nil {
		return true
	}
	s, ok := c.conn.(syscall.Conn)
	if !ok || c.r.Buffered() > 0 {
		return false
	}
	c.conn.SetDeadline(time.Time{}) // that of the last step may be over
	raw, err := s.SyscallConn()
	if err != nil {
		return true
	}
	closed := false
	err = raw.Read(func(fd uintptr) bool {
		var one [1]byte
		n, _, err := syscall.Recvfrom(int(fd), one[:], syscall.MSG_PEEK)
		closed = n == 0 && err == nil || err == syscall.ECONNRESET
		return true // whatever it is, it doesn't wait
	})
	return closed || err != nil
}

// Quit ends the conversation: what has begun is aborted, and the connection closed.
func (c *Conn) Quit() {
	if c.err == nil {
		c.conn.SetDeadline(time.Now().Add(quitWait))
		if c.abort() == nil && c.write('Q', nil) == nil {
			c.w.Flush()
		}
		c.err = errors.New("the conversation is over")
	}
	c.Close()
}

// QuitNew ends the conversation about one client, so that another can be told of over
// the same connection, and says whether it can: filters of version 6 allow it. If not,
// the connection is closed.
func (c *Conn) QuitNew() bool {
	if c.err != nil || c.terms.Version < 6 || c.idle() != nil {
		c.Quit()
		return false
	}
	c.conn.SetDeadline(time.Now().Add(quitWait))
	err := c.abort()
	if err == nil {
		err = c.write('K', nil)
	}
	if err == nil {
		err = c.w.Flush()
	}
	if err != nil {
		c.fail("quit", quitWait, err)
		return false
	}
	c.settled, c.done = nil, false
	return true
}

// Abort ends a message that has begun: none of it counts. It does nothing where the
// filter knows of none, or has said its last word of it, so that each message that is
// broken off has one abort.
func (c *Conn) Abort() error {
	if c.err != nil || !c.open {
		return c.err
	}
	c.conn.SetDeadline(time.Now().Add(quitWait))
	err := c.abort()
	if err == nil {
		err = c.w.Flush()
	}
	if err != nil {
		c.fail("abort", quitWait, err)
	}
	return c.err
}

func (c *Conn) abort() error {
	if !c.open {
		return nil
	}
	c.open = false
	c.done = true
	return c.write('A', nil)
}

// begin starts the time of a step.
func (c *Conn) begin(s Step) {
	c.at, c.heard, c.began = s, false, time.Now()
	if !c.open {
		c.spent, c.progress = 0, 0
	}
	c.conn.SetDeadline(c.began.Add(min(c.wait(s), c.o.Message-c.spent)))
}

// wait is the time of a step, as long as the message has so much left.
func (c *Conn) wait(s Step) time.Duration {
	if s.ofContent() {
		return c.o.Message
	}
	return c.o.Command
}

// prolong begins a step's time anew, because the filter says that it works on it.
func (c *Conn) prolong(s Step) error {
	if c.progress++; c.progress > maxProgress {
		return fmt.Errorf("the filter said more than %d times that it makes progress", maxProgress)
	}
	end := c.began.Add(c.o.Message - c.spent)
	if until := time.Now().Add(c.wait(s)); until.Before(end) {
		end = until
	}
	return c.conn.SetDeadline(end)
}

// finish ends a step, with an error or without.
func (c *Conn) finish(s Step, err error) error {
	c.spent += time.Since(c.began)
	switch {
	case err != nil:
		c.fail(s.String(), c.wait(s), err)
	case c.heard && c.o.Answered != nil:
		c.o.Answered(s, c.last)
	}
	return c.err
}

// ErrNoAnswer is that a filter's time was over.
var ErrNoAnswer = errors.New("no answer")

// fail closes the connection for an error at what was being done.
func (c *Conn) fail(what string, wait time.Duration, err error) {
	switch {
	case c.ctx.Err() != nil:
		err = context.Cause(c.ctx)
	case errors.Is(err, os.ErrDeadlineExceeded) && c.spent >= c.o.Message:
		err = fmt.Errorf("%w within the %v that one message may take", ErrNoAnswer, c.o.Message)
	case errors.Is(err, os.ErrDeadlineExceeded):
		err = fmt.Errorf("%w within %v", ErrNoAnswer, wait)
	default:
		err = smtp.InWords(err)
	}
	c.err = fmt.Errorf("%s: %w", what, err)
	c.Close()
}

// idle is an error where the filter has said something without being asked, such as
// a second answer. Progress that comes late doesn't count.
func (c *Conn) idle() error {
	for c.r.Buffered() > 0 {
		ahead, _ := c.r.Peek(min(c.r.Buffered(), 5))
		if !bytes.Equal(ahead, []byte{0, 0, 0, 1, 'p'}) {
			return errors.New("the filter answered twice, or without being asked")
		}
		c.r.Discard(len(ahead))
	}
	return nil
}
