package smtp

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"
)

// A Recipient is one RCPT.
type Recipient struct {
	Path   Path
	Params []Param
}

// A Transaction is one message for one server. Where a path is outside ASCII it needs
// one that offers SMTPUTF8, and MAIL says so; any other is never asked.
type Transaction struct {
	ReversePath Path
	Params      []Param // of MAIL
	Recipients  []Recipient
	Body        io.Reader // header and body in the form of the spool
	Size        int64     // if not 0: told as SIZE where that is offered and Params has none
	Exact       bool      // no folding of long lines: for our own server and LMTP
	Whole       bool      // no message is sent where a recipient is refused, but for those that are Reported
}

// A TransactionResult holds the server's replies word for word. A zero Reply
// means that the question was not asked, or that the answer says nothing since
// what came before it was refused.
type TransactionResult struct {
	Mail  Reply
	Rcpt  []Reply // one for each recipient
	Data  Reply
	Final Reply   // to the end of the message; in LMTP only to what breaks it off
	Each  []Reply // LMTP's replies to the end of the message, one for each recipient
}

// Accepted reports whether the server took the message for recipient i.
func (r TransactionResult) Accepted(i int) bool {
	return r.FinalFor(i).Class() == 2 && r.Rcpt[i].Class() == 2
}

// FinalFor is the reply to the end of the message that concerns recipient i.
func (r TransactionResult) FinalFor(i int) Reply {
	if i < len(r.Each) && !r.Each[i].IsZero() {
		return r.Each[i]
	}
	return r.Final
}

// maxBatch bounds the octets of commands that go ahead of their replies, and
// so the memory for them; longer lists of recipients take more rounds.
const maxBatch = 4 << 10

// Send does one transaction. Where PIPELINING is offered, commands go together
// up to DATA; without a good recipient no message is sent. The error says that
// the connection is of no further use; the replies up to then stand in the
// result, and a refusal that came in the middle of the message stands as Final.
// A message that can't be read is a *SourceError.
func (c *Client) Send(t Transaction) (TransactionResult, error) {
	x := exchange{c: c, t: &t, res: TransactionResult{Rcpt: make([]Reply, len(t.Recipients))}}
	if c.open {
		if err := c.Reset(); err != nil {
			return x.res, err
		}
	}
	err := x.commands()
	if err == nil && x.res.Data.Code == 354 {
		err = x.data()
	}
	x.tidy()
	return x.res, err
}

// An exchange is a transaction under way. Its commands are numbered: MAIL is
// 0, then the recipients, then DATA.
type exchange struct {
	c    *Client
	t    *Transaction
	res  TransactionResult
	good int // recipients accepted
	lost int // recipients refused, and not Reported
}

// commands goes from MAIL to DATA, or to where nothing further makes sense.
func (x *exchange) commands() error {
	size := 1 // any command passes it
	if _, ok := x.c.Has("PIPELINING"); ok {
		size = maxBatch
	}
	data := len(x.t.Recipients) + 1
	for next := 0; next <= data; {
		if next > 0 && x.res.Mail.Class() != 2 || next == data && x.unwanted() {
			return nil
		}
		first, batch := next, x.c.out[:0]
		for next <= data && len(batch) < size && !(x.t.Whole && next == data && first < data) {
			var err error
			if batch, err = x.c.appendCommand(batch, x.line(next)); err != nil {
				return err
			}
			next++
		}
		x.c.out = batch[:0]
		if err := x.round(batch, first, next); err != nil {
			return err
		}
	}
	return nil
}

// unwanted says that the replies to RCPT leave no sense in DATA.
func (x *exchange) unwanted() bool { return x.good == 0 || x.t.Whole && x.lost > 0 }

// reported says whether a recipient who got this reply will be Reported.
func (x *exchange) reported(r Reply) bool {
	_, reports := FindParam(x.t.Params, ParamReport)
	return reports && Reported(r)
}

// line returns command i.
func (x *exchange) line(i int) string {
	switch {
	case i == 0:
		line := appendParams("MAIL FROM:<"+x.t.ReversePath.String()+">", x.t.Params)
		_, offered := x.c.Has("SIZE")
		if _, given := FindParam(x.t.Params, "SIZE"); offered && !given && x.t.Size > 0 {
			line += " SIZE=" + strconv.FormatInt(x.t.Size, 10)
		}
		if _, given := FindParam(x.t.Params, ParamUTF8); !given && !x.t.isASCII() {
			line += " " + ParamUTF8
		}
		return line
	case i <= len(x.t.Recipients):
		r := &x.t.Recipients[i-1]
		return appendParams("RCPT TO:<"+r.Path.String()+">", r.Params)
	}
	return "DATA"
}

// isASCII reports whether all paths can be said without SMTPUTF8.
func (t *Transaction) isASCII() bool {
	for i := range t.Recipients {
		if !t.Recipients[i].Path.IsASCII() {
			return false
		}
	}
	return t.ReversePath.IsASCII()
}

func appendParams(line string, params []Param) string {
	for _, p := range params {
		line += " " + p.String()
	}
	return line
}

// round sends commands first to next-1 and reads their replies, each with a
// step of its own. Several commands are written while replies are read, since
// two sides that both only write could wait for each other for ever (RFC 2920
// section 3.1).
func (x *exchange) round(batch []byte, first, next int) error {
	c := x.c
	if err := c.quiet(); err != nil {
		return err
	}
	if err := c.conn.SetDeadline(c.until(c.o.Step)); err != nil {
		return err
	}
	wrote := make(chan error, 1)
	write := func() {
		_, err := c.conn.Write(batch)
		wrote <- err
	}
	if next-first == 1 {
		write()
	} else {
		go write()
	}
	for i := first; i < next; i++ {
		if err := x.answer(i); err != nil {
			return c.abandon(wrote, err)
		}
		c.conn.SetDeadline(c.until(c.o.Step)) // an error here comes again from what follows
	}
	return <-wrote
}

// abandon ends a write that may be under way and returns the better reason of
// the two: a 421 says more than a broken pipe, which says more than the end of
// what could be read.
func (c *Client) abandon(wrote <-chan error, err error) error {
	select {
	case werr := <-wrote:
		if werr != nil && !errors.Is(err, ErrClosing) {
			return werr
		}
	default:
		c.conn.SetWriteDeadline(past())
		<-wrote
	}
	return err
}

// past is a deadline that ends what is waiting.
func past() time.Time { return time.Unix(1, 0) }

// answer reads the reply to command i and puts it in its place.
func (x *exchange) answer(i int) error {
	reply, err := x.c.reply()
	if err != nil {
		return err
	}
	class := reply.Class()
	ok := class == 2
	switch {
	case i == 0:
		x.res.Mail = reply
		x.c.open = true
	case i <= len(x.t.Recipients):
		if i > 1 && reply == x.res.Rcpt[i-2] {
			reply = x.res.Rcpt[i-2] // whose text is held once, for all of a long list
		}
		x.res.Rcpt[i-1] = reply
		if ok {
			x.good++
		}
		if !ok && !x.reported(reply) {
			x.lost++
		}
	default:
		x.res.Data = reply
		ok = reply.Code == 354
	}
	switch {
	case reply.Code == 421:
		return closing(reply)
	case !ok && class != 4 && class != 5:
		return fmt.Errorf("%w: %s", ErrOutOfStep, reply)
	}
	return nil
}

// tidy takes out replies that only follow from an earlier refusal, so that
// nobody takes the 503 behind a refused MAIL for a word about a recipient.
func (x *exchange) tidy() {
	if x.res.Mail.Class() != 2 {
		clear(x.res.Rcpt)
		x.good = 0
	}
	if x.good == 0 {
		x.res.Data = Reply{}
		x.res.Final = Reply{}
		x.res.Each = nil
	}
}
