package smtp

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"time"
)

// lastWordsTime is how long a server that no longer takes a message is heard.
const lastWordsTime = 2 * time.Second

// earlyError is why a message was not written to its end; what the server said
// takes its place.
type earlyError struct{}

func (earlyError) Error() string { return ErrOutOfStep.Error() + ": in the middle of the message" }

func (earlyError) Unwrap() error { return ErrOutOfStep }

var errEarly error = earlyError{}

// data follows a 354. Behind pipelined commands it can come although nobody is
// to get the message: then a dot alone ends it (RFC 2920 section 3.1).
func (x *exchange) data() error {
	if x.good > 0 && x.res.Mail.Class() == 2 {
		return x.message()
	}
	if x.good > 0 { // recipients without a sender: a dot might send them an empty message
		return fmt.Errorf("%w: recipients taken although MAIL was refused", ErrOutOfStep)
	}
	if x.c.o.LMTP { // it should have said 503, and need not answer to a dot: RFC 2033 section 4.2
		return fmt.Errorf("%w: DATA taken without a recipient", ErrOutOfStep)
	}
	reply, err := x.c.command(".")
	if err == nil && reply.Class() == 3 {
		err = fmt.Errorf("%w: %s to an empty message", ErrOutOfStep, reply)
	}
	return err
}

// message sends the message and reads the reply to it.
func (x *exchange) message() error {
	c := x.c
	if err := c.quiet(); err != nil {
		return err
	}
	w := bodyWriter{c: c}
	if err := writeData(&w, x.t.Body, !x.t.Exact); err != nil {
		return x.broken(&w, err)
	}
	c.transcribe('>', ".")
	c.conn.SetReadDeadline(c.until(c.o.Final)) // an error here comes again from the read
	w.wait()
	if c.o.LMTP {
		return x.each()
	}
	reply, err := x.final()
	if err == nil || errors.Is(err, ErrClosing) {
		x.res.Final = reply
		c.open = false
	}
	return err
}

// final reads a reply to the end of the message.
func (x *exchange) final() (Reply, error) {
	reply, err := x.c.reply()
	switch {
	case err != nil:
		return reply, err
	case reply.Class() == 3:
		return reply, fmt.Errorf("%w: %s to the message", ErrOutOfStep, reply)
	case reply.Code == 421:
		return reply, closing(reply)
	}
	return reply, nil
}

// each reads LMTP's replies to the end of the message: one for each recipient
// that was accepted, in their order (RFC 2033 section 4.2). After 421 those that
// are missing stay so.
func (x *exchange) each() error {
	x.res.Each = make([]Reply, len(x.res.Rcpt))
	for i, rcpt := range x.res.Rcpt {
		if rcpt.Class() != 2 {
			continue
		}
		reply, err := x.final()
		if err == nil || errors.Is(err, ErrClosing) {
			x.res.Each[i] = reply
		}
		if err != nil {
			return err
		}
		x.c.conn.SetReadDeadline(x.c.until(x.c.o.Final)) // an error here comes again from the read
	}
	x.c.open = false
	return nil
}

// broken ends the connection in the middle of a message and keeps what the
// server says to that, if it is a refusal.
func (x *exchange) broken(w *bodyWriter, err error) error {
	c := x.c
	defer w.wait()
	defer c.Close()
	if source := (*SourceError)(nil); errors.As(err, &source) {
		return err
	}
	end := c.until(lastWordsTime)
	if errors.Is(err, os.ErrDeadlineExceeded) { // it had its time
		end = past()
	}
	c.conn.SetReadDeadline(end) // an error here comes again from the read
	w.wait()
	reply, rerr := c.reply()
	switch {
	case rerr != nil && errors.Is(err, errEarly):
		return rerr // the connection broke, or what came was no reply
	case rerr != nil:
		return err
	case reply.Temporary() || reply.Permanent():
		x.res.Final = reply
	}
	if reply.Code == 421 {
		return closing(reply)
	}
	return fmt.Errorf("%w: %s", err, reply)
}

// A bodyWriter writes the blocks of a message, each under a deadline of its
// own. With more than a small message it listens at the same time: a server
// that speaks now, or is gone, ends the writing.
type bodyWriter struct {
	c    *Client
	done chan struct{} // closed by the listener at its end; nil: there is none

	mu    sync.Mutex // orders the two sides' write deadlines
	spoke bool       // an octet, or an error, waits in c.r
}

func (w *bodyWriter) Write(p []byte) (int, error) {
	if w.done == nil && len(p) > blockSize/2 {
		if err := w.listen(); err != nil {
			return 0, err
		}
	}
	if err := w.ready(); err != nil {
		return 0, err
	}
	n, err := w.c.conn.Write(p)
	if err != nil && w.ready() == errEarly {
		err = errEarly
	}
	return n, err
}

// ready sets the deadline of a write, unless the server has spoken.
func (w *bodyWriter) ready() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.spoke {
		return errEarly
	}
	return w.c.conn.SetWriteDeadline(w.c.until(w.c.o.Step))
}

// listen starts the one goroutine that reads while the message is written; it
// ends with the first octet, with the read deadline, or with the connection.
func (w *bodyWriter) listen() error {
	c := w.c
	if err := c.conn.SetReadDeadline(c.o.Deadline); err != nil {
		return err
	}
	w.done = make(chan struct{})
	go func() {
		defer close(w.done)
		c.r.Peek(1)
		w.mu.Lock()
		defer w.mu.Unlock()
		w.spoke = true
		c.conn.SetWriteDeadline(past())
	}()
	return nil
}

// wait returns when c.r may be read from again.
func (w *bodyWriter) wait() {
	if w.done != nil {
		<-w.done
	}
}

// blockSize is how much of a message is read or written at a time: a message
// of usual size goes in one system call, and a session holds two blocks at
// most, only while a message passes.
const blockSize = 32 << 10

// blocks are the buffers of ReadData and WriteData, []byte of blockSize.
var blocks = sync.Pool{New: func() any { return new([blockSize]byte) }}

const crlf = "\r\n"
