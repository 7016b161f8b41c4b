package milter

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"postoffice/internal/smtp"
)

// Bounds of what a filter may want of one message. Beyond them it has failed: a part
// of its edits is none. For each recipient there is one edit more, of perRcpt octets, so
// that a filter may take all of them away.
const (
	maxEdits      = 1000    // refused ones counted, and empty pieces of a new body
	maxEditOctets = 1 << 19 // of all of them together, without the body
	perRcpt       = 320     // an address has 64 octets, an @ and 255 (RFC 5321 section 4.5.3.1)
)

// End tells that the message is complete, and returns the verdict with the edits. A new
// body goes to body as it comes, in the form of the spool: each line ended by LF.
func (c *Conn) End(m []Macro, body io.Writer) (Result, error) {
	if c.err != nil || c.settled != nil || c.done {
		v, err := c.unasked()
		return Result{Verdict: v}, err
	}
	e := ending{c: c, body: smtp.NewChunkReader(body, smtp.DataOptions{Limit: c.o.MaxBody}), replaced: -1}
	c.begin(AtEnd)
	err := c.idle()
	if err == nil {
		err = c.writeMacros(AtEnd, m)
	}
	if err == nil {
		err = c.write('E', nil)
	}
	if err == nil {
		err = c.w.Flush()
	}
	if err == nil {
		err = e.read()
	}
	if err == nil {
		err = c.idle()
	}
	if c.finish(AtEnd, err) != nil {
		return Result{}, c.err
	}
	c.settle(AtEnd, e.Verdict)
	c.open, c.done = false, true
	c.data = bytes.Buffer{} // edits are large, answers are not
	return e.Result, nil
}

// An ending collects what a filter says at the end of a message.
type ending struct {
	Result
	c        *Conn
	body     *smtp.ChunkReader
	replaced int // where the new body is among the edits; -1: nowhere
	unwanted bool
	edits    int
	octets   int
}

// read reads edits up to the verdict.
func (e *ending) read() error {
	for {
		p, err := e.c.next()
		switch {
		case err != nil:
			return err
		case p.code == 'p':
			if err = p.empty(); err == nil {
				err = e.c.prolong(AtEnd)
			}
		case p.code == 'b':
			err = e.newBody(p)
		case needs(p.code) != 0:
			err = e.edit(p)
		default:
			if e.Verdict, err = e.c.verdict(AtEnd, p); err == nil {
				e.c.hear(AtEnd, e.Verdict)
				e.close()
			}
			return err
		}
		if err != nil {
			return err
		}
	}
}

// count is an error where there is too much.
func (e *ending) count(octets int) error {
	e.edits++
	e.octets += octets
	switch {
	case e.edits > maxEdits+e.c.rcpts:
		return fmt.Errorf("the filter wants more than %d edits of one message", maxEdits+e.c.rcpts)
	case e.octets > maxEditOctets+perRcpt*e.c.rcpts:
		return fmt.Errorf("the filter's edits of one message have more than %d octets", maxEditOctets+perRcpt*e.c.rcpts)
	}
	return nil
}

// edit takes an edit that isn't a piece of a body, or refuses it.
func (e *ending) edit(p packet) error {
	data, err := e.c.text(p)
	if err != nil && !errors.Is(err, errTooLong) {
		return err
	}
	if over := e.count(len(data)); over != nil {
		return over
	}
	var edit Edit
	if err == nil {
		edit, err = readEdit(e.c.terms, p.code, data)
	} else {
		err = fmt.Errorf("it has %d octets, which is over %d", p.size, maxText)
	}
	if err != nil {
		e.refuse(p, err)
		return nil
	}
	e.Edits = append(e.Edits, edit)
	return nil
}

// refuse notes why an edit isn't made.
func (e *ending) refuse(p packet, err error) {
	e.Refused = append(e.Refused, fmt.Sprintf("%s: %v", packetName(p.code), err))
}

// newBody takes a piece of a new body.
func (e *ending) newBody(p packet) error {
	if e.c.terms.Actions&mayReplaceBody == 0 {
		if !e.unwanted {
			e.unwanted = true
			e.refuse(p, errors.New("the filter didn't say at the start that it would"))
		}
		if err := e.count(0); err != nil {
			return err
		}
		_, err := e.c.r.Discard(p.size)
		return unexpected(err)
	}
	if e.replaced < 0 {
		e.replaced = len(e.Edits)
		e.Edits = append(e.Edits, Edit{Kind: ReplaceBody})
	}
	if p.size == 0 {
		return e.count(0)
	}
	info, err := e.body.Read(e.c.r, int64(p.size))
	if err == nil && info.TooBig {
		return fmt.Errorf("the filter's new body has more than %d octets", e.c.o.MaxBody)
	}
	return err
}

// close ends the new body, if there is one.
func (e *ending) close() {
	if e.replaced < 0 {
		return
	}
	if e.BodyErr = e.body.End().WriteErr; e.BodyErr != nil {
		e.Edits = append(e.Edits[:e.replaced], e.Edits[e.replaced+1:]...)
	}
}
