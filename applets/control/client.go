package control

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net"
	"os"
	"syscall"
	"time"

	"postoffice/internal/peer"
)

// Limits of the client's side.
const (
	dialWait  = 10 * time.Second // for a connection
	dialPause = 50 * time.Millisecond
	lineWait  = time.Minute // for the next line of the answer
)

// Client is a connection, for one request.
type Client struct {
	conn *net.UnixConn
}

// Dial connects to the server at the socket path. A full backlog means to wait: who
// fills it has no right to that.
func Dial(ctx context.Context, path string) (*Client, error) {
	ctx, cancel := context.WithTimeout(ctx, dialWait)
	defer cancel()
	for {
		conn, err := new(net.Dialer).DialContext(ctx, "unix", path)
		if err == nil {
			return NewClient(conn.(*net.UnixConn)), nil
		}
		if !errors.Is(err, syscall.EAGAIN) {
			return nil, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(dialPause):
		}
	}
}

// NewClient is a Client of an open connection.
func NewClient(conn *net.UnixConn) *Client { return &Client{conn: conn} }

// Peer is the server, by the kernel's word.
func (c *Client) Peer() (Peer, error) { return peer.Of(c.conn) }

// Close ends the connection.
func (c *Client) Close() error { return c.conn.Close() }

// List streams the queue. What the server refuses is an *Error.
func (c *Client) List(ctx context.Context) iter.Seq2[Message, error] {
	return func(yield func(Message, error) bool) {
		_, err := c.ask(ctx, Request{Do: List}, collector{show: func(m Message) bool { return yield(m, nil) }})
		if err != nil && err != errEnough {
			yield(Message{}, err)
		}
	}
}

// Show is one message with its history, whole. Unknown to the server, it is an
// *Error with code 69.
func (c *Client) Show(ctx context.Context, id string) (m Message, err error) {
	got := 0
	_, err = c.ask(ctx, Request{Do: Show, ID: id}, collector{show: func(one Message) bool {
		m = one
		got++
		return true
	}})
	if err == nil && got != 1 {
		err = fmt.Errorf("the server sent %d messages for %s", got, id)
	}
	return m, err
}

// Run asks for an attempt at everything now; it returns when the server has
// taken the request, not when the attempt ends.
func (c *Client) Run(ctx context.Context) error {
	_, err := c.ask(ctx, Request{Do: Run}, collector{})
	return err
}

// Cat writes a message's header and body to w. With an error only part of it
// may be written. Unknown to the server, it is an *Error with code 69; not
// allowed, with 77.
func (c *Client) Cat(ctx context.Context, id string, w io.Writer) error {
	_, err := c.ask(ctx, Request{Do: Cat, ID: id}, collector{data: w})
	return err
}

// Act changes a message and returns when that is done. Of what the server
// refuses the *Error has code 69 for a message that is unknown or not fit for
// it, 75 for later, 77 for not allowed.
func (c *Client) Act(ctx context.Context, r Request) error {
	_, err := c.ask(ctx, r, collector{})
	return err
}

// Version is the running server's version.
func (c *Client) Version(ctx context.Context) (string, error) {
	return c.ask(ctx, Request{Do: Version}, collector{})
}

// errEnough ends an answer that the caller wants no more of.
var errEnough = errors.New("enough")

// ask sends the request and hands the answer to a. It returns the text with
// which the answer ends.
func (c *Client) ask(ctx context.Context, r Request, a collector) (string, error) {
	stop := context.AfterFunc(ctx, func() { c.conn.Close() })
	defer stop()
	text, err := c.exchange(r, a)
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	return text, err
}

func (c *Client) exchange(r Request, a collector) (string, error) {
	line, err := appendLine(nil, r)
	if err != nil {
		return "", err
	}
	if err := c.conn.SetDeadline(time.Now().Add(lineWait)); err != nil {
		return "", err
	}
	// A server that has no room answers and closes without reading.
	_, writeErr := c.conn.Write(line)
	in := bufio.NewReaderSize(c.conn, MaxLine)
	for {
		line, err := readLine(in)
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		if err != nil && writeErr != nil {
			err = writeErr
		}
		if err != nil {
			return "", noAnswer(err)
		}
		text, over, err := a.add(line)
		if over || err != nil {
			return text, err
		}
		limit := time.Now().Add(lineWait)
		if a.watching { // nothing may happen for long
			limit = time.Time{}
		}
		if err := c.conn.SetReadDeadline(limit); err != nil {
			return "", err
		}
	}
}

// noAnswer says that there is none, without the socket's name: the kernel knows
// it by the one that it had for a moment while it was made.
func noAnswer(err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("the mail server doesn't answer for %v: it is stopped, or too busy; its log may say more: %w", lineWait, os.ErrDeadlineExceeded)
	}
	if op, ok := errors.AsType[*net.OpError](err); ok {
		err = op.Err
	}
	return fmt.Errorf("read the mail server's answer: %w", err)
}

// collector puts the lines of an answer together.
type collector struct {
	show  func(Message) bool // nil: nothing is shown
	data  io.Writer          // for a message's octets; nil: none are expected
	event func([]Event) bool // for a watcher; nil: nobody watches
	steps func([]Step) bool  // for a route; nil: nobody asked for one
	each  func(Session) bool // for sessions; nil: nobody asked for them
	limit func(Limit) bool   // for limits; nil: nobody asked for them

	record func(Record) bool // for records; nil: nobody asked for them
	filter func(Filter) bool // for filters; nil: nobody asked for them

	build builder // of what is shown
	size  int     // of a route's lines, in octets

	watching bool // the watch has begun
}

// add takes a line; over says that it was the last.
func (a *collector) add(line []byte) (text string, over bool, err error) {
	f, err := decodeFrame(line)
	if err != nil {
		return "", true, fmt.Errorf("read the server's answer: %w", err)
	}
	switch {
	case f.Data != nil && a.data == nil, f.Watched != nil && a.event == nil, f.Steps != nil && a.steps == nil, f.Sessions != nil && a.each == nil, f.Limits != nil && a.limit == nil, f.Filters != nil && a.filter == nil, f.Records != nil && a.record == nil:
		return "", true, fmt.Errorf("the server's answer has what nobody asked for: %.40q", line)
	case f.Data != nil:
		_, err := a.data.Write(f.Data)
		return "", err != nil, err
	case f.Steps != nil:
		if a.size += len(line); a.size > maxRoute || len(f.Steps) > 0 && !a.steps(f.Steps) {
			return "", true, fmt.Errorf("the route has more than %d octets", maxRoute)
		}
		return "", false, nil
	case f.Sessions != nil:
		return shown(f.Sessions, a.each)
	case f.Limits != nil:
		return shown(f.Limits, a.limit)
	case f.Filters != nil:
		return shown(f.Filters, a.filter)
	case f.Records != nil:
		return shown(f.Records, a.record)
	case f.Watched != nil && !a.event(f.Watched):
		return "", true, errEnough
	case f.Watched != nil:
		a.watching = true
		return "", false, nil
	}
	whole, err := a.build.add(Part{f.Message, f.Recipients, f.History})
	if err != nil {
		return "", true, fmt.Errorf("%w at %.40q", err, line)
	}
	if whole != nil && a.show != nil && !a.show(*whole) {
		return "", true, errEnough
	}
	switch {
	case f.Error != nil:
		return "", true, f.Error
	case f.Done != nil:
		return f.Done.Text, true, nil
	}
	return "", false, nil
}

// shown is add for a line with a list.
func shown[T any](some []T, show func(T) bool) (text string, over bool, err error) {
	for _, one := range some {
		if !show(one) {
			return "", true, errEnough
		}
	}
	return "", false, nil
}

// builder puts messages together. Whoever is shown one has room for it, whatever it
// is: nobody else pays for that.
type builder struct {
	m *Message // that was begun last; nil: none
}

// add takes a part, and returns the message that it ends; an empty part is the end
// of all.
func (b *builder) add(p Part) (whole *Message, err error) {
	if p.Recipients != nil || p.History != nil {
		if b.m == nil {
			return nil, errors.New("the server's answer makes no sense")
		}
		b.m.Recipients = append(b.m.Recipients, p.Recipients...)
		b.m.History = append(b.m.History, p.History...)
		return nil, nil
	}
	whole, b.m = b.m, p.Message
	if b.m != nil && b.m.Recipients == nil {
		b.m.Recipients = []Recipient{} // so that it prints as a list
	}
	return whole, nil
}

// Messages puts the parts of messages together.
func Messages(parts iter.Seq2[Part, error]) iter.Seq2[Message, error] {
	return func(yield func(Message, error) bool) {
		var b builder
		for p, err := range parts {
			if err != nil {
				yield(Message{}, err)
				return
			}
			if whole, err := b.add(p); err != nil || whole != nil && !yield(*whole, nil) {
				return
			}
		}
		if whole, _ := b.add(Part{}); whole != nil {
			yield(*whole, nil)
		}
	}
}
