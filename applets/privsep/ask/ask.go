package ask

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"
)

// Options are what a Client asks by.
type Options[A any] struct {
	Size   int                               // of the longest answer, in octets
	Decode func(b []byte) (uint32, A, error) // reads a number and its answer, which holds nothing of b
	Places int                               // for questions under way; further ones wait. 0: any number
	Wait   time.Duration                     // for a place and an answer
	Gone   error                             // who answers has ended
	Mute   error                             // who answers does not do it in time
	Hung   bool                              // one that answers nobody for Wait is left
	Lives  func() bool                       // asks it for what it always knows, before it is left for that; nil: it is left
}

// Client is the end that asks.
type Client[A any] struct {
	o      Options[A]
	conn   *net.UnixConn
	places chan struct{} // nil: any number
	gone   chan struct{} // closed when no answer comes any more

	mu      sync.Mutex // guards what follows
	number  uint32
	waiting map[uint32]chan A
	heard   uint64 // answers
	hung    bool

	judging sync.Mutex // held while it is found out whether who answers lives
}

// New takes over the asking end of a link.
func New[A any](conn *net.UnixConn, o Options[A]) *Client[A] {
	c := &Client[A]{o: o, conn: conn, gone: make(chan struct{}), waiting: map[uint32]chan A{}}
	if o.Places > 0 {
		c.places = make(chan struct{}, o.Places)
	}
	go c.read()
	return c
}

// Close ends the link. What is asked then fails.
func (c *Client[A]) Close() error {
	err := c.conn.Close()
	<-c.gone
	return err
}

// Leave ends the link of who breaks its rules.
func (c *Client[A]) Leave() { c.conn.Close() }

// Gone is closed when no answer comes any more.
func (c *Client[A]) Gone() <-chan struct{} { return c.gone }

// Alive reports whether an answer may come.
func (c *Client[A]) Alive() bool {
	select {
	case <-c.gone:
		return false
	default:
		return true
	}
}

// Number is one that no other question has. It is never 0.
func (c *Client[A]) Number() uint32 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.number++; c.number == 0 {
		c.number++
	}
	return c.number
}

// Send sends a message that has no answer.
func (c *Client[A]) Send(message []byte) error {
	c.conn.SetWriteDeadline(time.Now().Add(c.o.Wait))
	if _, err := c.conn.Write(message); err != nil {
		return fmt.Errorf("%w: %w", c.o.Gone, err)
	}
	return nil
}

// Ask sends a question, which has the number, and waits for the answer of that number.
func (c *Client[A]) Ask(ctx context.Context, number uint32, question []byte) (a A, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, c.o.Wait, c.o.Mute)
	defer cancel()
	heard := c.count()
	if c.places != nil {
		select {
		case c.places <- struct{}{}:
			defer func() { <-c.places }()
		case <-c.gone:
			return a, c.o.Gone
		case <-ctx.Done():
			return a, context.Cause(ctx)
		}
	}
	to := c.expect(number)
	defer c.forget(number)
	if err := c.Send(question); err != nil {
		return a, err
	}
	select {
	case a := <-to:
		return a, nil
	case <-ctx.Done():
		err = context.Cause(ctx)
		if c.o.Hung && err == c.o.Mute {
			c.judge(heard)
		}
	case <-c.gone:
		err = c.o.Gone
	}
	select {
	case a := <-to: // it came before the end
		return a, nil
	default:
		return a, err
	}
}

// expect makes a place for an answer.
func (c *Client[A]) expect(number uint32) <-chan A {
	to := make(chan A, 1)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.waiting[number] = to
	return to
}

func (c *Client[A]) forget(number uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.waiting, number)
}

// count is how many answers have come.
func (c *Client[A]) count() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.heard
}

// judge leaves who has answered nobody since so many were heard. One who says that it lives
// can't answer what it was asked: files may be on a disk that hangs.
func (c *Client[A]) judge(heard uint64) {
	c.judging.Lock()
	defer c.judging.Unlock()
	if c.count() != heard || !c.Alive() || c.o.Lives != nil && c.o.Lives() {
		return
	}
	c.mu.Lock()
	c.hung = true
	c.mu.Unlock()
	c.Leave()
}

// HasHung reports whether that was why the link ended.
func (c *Client[A]) HasHung() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.hung
}

// read hands on answers until the link ends.
func (c *Client[A]) read() {
	defer close(c.gone)
	defer c.conn.Close()
	buf := make([]byte, c.o.Size+1)
	for {
		n, err := c.conn.Read(buf)
		if err != nil {
			return
		}
		number, a, err := c.o.Decode(buf[:n])
		if err != nil {
			return // it is no process of ours
		}
		c.mu.Lock()
		to := c.waiting[number]
		delete(c.waiting, number)
		c.heard++
		c.mu.Unlock()
		if to != nil {
			to <- a
		}
	}
}
