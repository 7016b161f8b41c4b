package remote

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"postoffice/deliver/outcome"
	"postoffice/internal/smtp"
)

// delivery is one message on its way through a session.
type delivery struct {
	s       *Session
	m       Message
	results []outcome.Outcome
	reused  bool  // the peer may have closed the idle session
	tried   bool  // the peer has answered to something of this message
	todo    []int // recipients without a result yet
	room    int   // recipients that the peer takes in one transaction
	limits  limits
	params  []smtp.Param
	header8 bool  // the header has octets outside ASCII
	wire    int64 // octets with CR LF: RFC 1870 section 5
}

// run works off the recipients. The error means that the session is broken;
// those still in todo have no result then. Those that the peer takes in another session
// alone have errSpent.
func (d *delivery) run() error {
	shape, err := measure(d.m.Open())
	if err != nil {
		d.all(outcome.Outcome{Err: err})
		return nil
	}
	d.wire, d.header8 = shape.wire, shape.header
	if refusal := d.unfit(); refusal != nil {
		d.all(refusal.Outcome)
		return nil
	}
	d.params = d.mailParams(shape.eight)
	d.pickRecipients()
	d.limits = d.s.limits()
	d.room = min(d.limits.rcpts, maxRcpts)
	for len(d.todo) > 0 {
		n := d.next()
		if n == 0 {
			for _, i := range d.todo {
				d.set(i, outcome.Outcome{Err: errSpent})
			}
			return nil
		}
		if err := d.transaction(n); err != nil {
			return err
		}
	}
	return nil
}

// next puts those to the front of todo who may go in the next transaction, and returns
// their number.
func (d *delivery) next() (n int) {
	if d.s.mails >= d.limits.mails {
		return 0
	}
	var now, then []int
	for _, i := range d.todo {
		domain := smtp.Fold(d.m.Recipients[i].Path.Domain)
		known := slices.Contains(d.s.domains, domain)
		if len(now) == d.room || !known && len(d.s.domains) >= d.limits.domains {
			then = append(then, i)
			continue
		}
		if now = append(now, i); !known && d.limits.domains < noLimit {
			d.s.domains = append(d.s.domains, domain)
		}
	}
	d.todo = append(now, then...)
	return len(now)
}

// limits are what a peer says that it takes (RFC 9422); noLimit where it says nothing
// that can be read.
type limits struct {
	mails   int // transactions in a session, refused ones too
	rcpts   int // recipients in a transaction
	domains int // domains of recipients in a session
}

const noLimit = math.MaxInt

func (s *Session) limits() limits {
	l := limits{noLimit, noLimit, noLimit}
	arg, _ := s.client.Has("LIMITS")
	for word := range strings.FieldsSeq(arg) {
		name, value, _ := strings.Cut(word, "=")
		n, err := strconv.Atoi(value)
		if err != nil || n <= 0 {
			continue
		}
		for _, of := range []struct {
			name string
			max  *int
		}{{"MAILMAX", &l.mails}, {"RCPTMAX", &l.rcpts}, {"RCPTDOMAINMAX", &l.domains}} {
			if smtp.EqualFold(name, of.name) {
				*of.max = n
			}
		}
	}
	return l
}

// errSpent stands for recipients that were not tried, since the peer takes no more in this
// session; in a new one it takes one at least.
var errSpent = errors.New("the server takes them in another session")

// all gives every recipient r, with the relay that it has already.
func (d *delivery) all(r outcome.Outcome) {
	for i := range d.results {
		d.set(i, r)
	}
}

func (d *delivery) set(i int, r outcome.Outcome) {
	r.Relay, r.TLS = d.s.relay, d.s.tls
	d.results[i] = r
}

// unfit says why the peer can't take the message at all (A56).
func (d *delivery) unfit() *outcome.Failure {
	if arg, ok := d.s.client.Has("SIZE"); ok {
		limit, err := strconv.ParseInt(arg, 10, 64)
		if err == nil && limit > 0 && d.wire > limit {
			return bounce(552, "5.3.4", fmt.Sprintf("message of %d octets, %s takes %d", d.wire, d.s.relay, limit), nil)
		}
	}
	_, utf8 := smtp.FindParam(d.m.Params, smtp.ParamUTF8)
	if (utf8 && d.header8 || !d.m.ReversePath.IsASCII()) && !d.offers(smtp.ParamUTF8) {
		return d.noUTF8()
	}
	return nil
}

func (d *delivery) noUTF8() *outcome.Failure {
	return bounce(553, "5.6.7", d.s.relay+" does not take addresses and headers outside ASCII", nil)
}

func (d *delivery) offers(ext string) bool {
	_, ok := d.s.client.Has(ext)
	return ok
}

// pickRecipients fills todo with those that the peer can be asked about.
func (d *delivery) pickRecipients() {
	utf8 := d.offers(smtp.ParamUTF8)
	for i, r := range d.m.Recipients {
		if !utf8 && !r.Path.IsASCII() {
			d.set(i, d.noUTF8().Outcome)
			continue
		}
		d.todo = append(d.todo, i)
	}
}

// mailParams keeps what the peer offers. SIZE is counted anew; BODY follows the
// policy of the package comment.
func (d *delivery) mailParams(eight bool) []smtp.Param {
	var out []smtp.Param
	for _, p := range d.m.Params {
		switch p.Name {
		case "BODY":
			eight = eight || smtp.EqualFold(p.Value, "8BITMIME")
		case smtp.ParamUTF8:
			if d.offers(smtp.ParamUTF8) { // else nothing needs it
				out = append(out, p)
			}
		case smtp.ParamTLS:
			if _, tls := d.s.client.TLS(); tls && d.offers(smtp.ParamTLS) { // else it is a report, or goes into a mailbox here
				out = append(out, p)
			}
		case "RET", "ENVID":
			if d.offers("DSN") {
				out = append(out, p)
			}
		}
	}
	if eight && d.offers("8BITMIME") {
		out = append(out, smtp.Param{Name: "BODY", Value: "8BITMIME"})
	}
	return out
}

// recipients returns n of todo with the parameters that the peer offers.
func (d *delivery) recipients(n int) []smtp.Recipient {
	dsn := d.offers("DSN")
	list := make([]smtp.Recipient, n)
	for i := range list {
		list[i] = d.m.Recipients[d.todo[i]]
		if !dsn {
			list[i].Params = nil
		}
	}
	return list
}

// transaction sends the message to the first n of todo and takes those with a
// result out.
func (d *delivery) transaction(n int) error {
	d.s.mails++
	res, err := d.s.client.Send(smtp.Transaction{
		ReversePath: d.m.ReversePath,
		Params:      d.params,
		Recipients:  d.recipients(n),
		Body:        d.m.Open(),
		Size:        d.wire,
		Exact:       d.s.lmtp,
	})
	d.tried = d.tried || !res.Mail.IsZero() && !(d.reused && res.Mail.Code == 421)
	var again []int
	for i, v := range judge(res, err, d.s.o.asker()) {
		if v.again {
			again = append(again, d.todo[i])
			continue
		}
		d.set(d.todo[i], v.Outcome)
	}
	if len(again) > 0 {
		d.room = max(n-len(again), 1)
	}
	d.todo = append(again, d.todo[n:]...)
	return err
}

// explain finds the true reason of a broken session.
func (d *delivery) explain(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	var source *smtp.SourceError
	err = d.s.timed(err)
	if d.reused && !d.tried && !errors.Is(err, ErrLimit) && !errors.As(err, &source) {
		return fmt.Errorf("%w: %w", ErrStale, err)
	}
	return err
}

// fail gives those without an answer of their own the reason of the breakdown.
func (d *delivery) fail(err error) []outcome.Outcome {
	for i := range d.results {
		if r := d.results[i]; r.Action == outcome.Deferred && (r.Reply.IsZero() || errors.Is(err, ErrStale)) {
			d.set(i, outcome.Outcome{Err: err})
		}
	}
	return d.results
}
