package login

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"

	"postoffice/internal/smtp"
)

const (
	// MaxLine is how many octets a line of an exchange may have with its end (RFC 4954
	// section 4).
	MaxLine = 12288 + 2

	// MaxChallenge is how many octets of a challenge one line of a reply has room for in
	// base64; RFC 4954 has no challenge of several.
	MaxChallenge = 360

	maxUser = 255 // octets of an account's name
)

// Dialogue is one AUTH command, up to its last reply.
type Dialogue struct {
	mechanism string
	exchange  Exchange
	prompts   *prompts // of LOGIN
	result    Result
}

// Offer is a Source, and what of it is offered.
type Offer struct {
	Source
	Only  []string // of its mechanisms, and LOGIN; nil: all that each account can use
	Bound bool     // there is a channel that a mechanism can be bound to
}

// plus ends the names of mechanisms that are bound to a channel.
const plus = "-PLUS"

// Names are the names for EHLO's reply: LOGIN is made of PLAIN, for programs that know
// nothing else.
func (o Offer) Names() []string {
	var names []string
	offer := func(m Mechanism) {
		if o.Only == nil && !m.Some || slices.Contains(o.Only, m.Name) {
			names = append(names, m.Name)
		}
	}
	all := o.Mechanisms()
	for _, m := range all {
		if m.Name != Login && (o.Bound || !strings.HasSuffix(m.Name, plus)) {
			offer(m)
		}
	}
	if i := slices.IndexFunc(all, func(m Mechanism) bool { return m.Name == Plain }); i >= 0 {
		offer(Mechanism{Login, all[i].Some})
	}
	return names
}

// Begin takes the argument of an AUTH command. The reply is 334 where the exchange goes
// on with Line; after any other one the Dialogue is over.
func Begin(ctx context.Context, o Offer, c Client, arg string) (*Dialogue, smtp.Reply) {
	name, initial, given := strings.Cut(arg, " ")
	initial = strings.TrimLeft(initial, " ") // Windows Mail sends two blanks
	d := &Dialogue{}
	names := o.Names()
	for _, m := range names {
		if smtp.EqualFold(m, name) {
			d.mechanism = m
		}
	}
	if d.mechanism == "" {
		return d, smtp.Reply{Code: 504, Status: "5.5.4", Text: "no login by that mechanism, take one of " + strings.Join(names, " ")} // AUTH by a mechanism that there isn't
	}
	var response []byte
	if given && initial != "=" {
		var r smtp.Reply
		if response, r = decode([]byte(initial)); !r.IsZero() {
			return d, r
		}
	} else if given {
		response = []byte{}
	}
	if !slices.ContainsFunc(names, func(m string) bool { return strings.HasSuffix(m, plus) }) {
		c.Bindings = nil // else who says that we lack it is taken for somebody between us (RFC 5802 section 6)
	}
	inner := d.mechanism
	if inner == Login {
		inner, d.prompts = Plain, &prompts{}
	}
	d.exchange = o.Begin(c, inner)
	if response == nil && ClientFirst(d.mechanism) {
		return d, ask(nil)
	}
	return d, d.step(ctx, response)
}

// Mechanism is the one that the client has chosen, "" if there is none of that name.
func (d *Dialogue) Mechanism() string { return d.mechanism }

// Result is how the exchange stands; of an exchange that the client broke off or that
// wasn't understood it is Asks.
func (d *Dialogue) Result() Result { return d.result }

// Line takes what the client answers to a 334.
func (d *Dialogue) Line(ctx context.Context, line []byte) smtp.Reply {
	if string(line) == "*" {
		return smtp.Reply{Code: 501, Status: "5.7.0", Text: "no login then, as you wish"} // a client breaks its login off
	}
	response, r := decode(line)
	if !r.IsZero() {
		return r
	}
	return d.step(ctx, response)
}

// Close ends the exchange.
func (d *Dialogue) Close() {
	if d.exchange != nil {
		d.exchange.Close()
	}
}

// decode reads base64, to the letter (RFC 4648 section 3): blanks, line ends and other
// spellings of the same octets are none.
func decode(line []byte) ([]byte, smtp.Reply) {
	b := make([]byte, base64.StdEncoding.DecodedLen(len(line)))
	n, err := base64.StdEncoding.Strict().Decode(b, line)
	if err != nil || bytes.ContainsAny(line, "\r\n") {
		return nil, smtp.Reply{Code: 501, Status: "5.5.2", Text: "that is no base64, send the login again"} // what a client says for a login can't be read
	}
	return b[:n], smtp.Reply{}
}

// step hands on what the client said.
func (d *Dialogue) step(ctx context.Context, response []byte) smtp.Reply {
	var challenge []byte
	if p := d.prompts; p != nil {
		whole, prompt, ok := p.take(response)
		switch {
		case !ok:
			return smtp.Reply{Code: 501, Status: "5.5.2", Text: "neither a name nor a password has an octet of value 0, send the login again"} // AUTH LOGIN
		case whole == nil:
			return ask([]byte(prompt))
		}
		response = whole
	}
	sound := false
	defer func() {
		if !sound { // a fault of the source, which ends the session
			d.Close()
		}
	}()
	challenge, d.result = d.exchange.Step(ctx, response)
	sound = true
	if len(challenge) > MaxChallenge {
		d.result = Result{Answer: No, Err: fmt.Errorf("a challenge of %d octets, with the client's nonce or the account's salt in it: a reply has room for %d", len(challenge), MaxChallenge)}
	}
	switch d.result.Answer {
	case Asks:
		return ask(challenge)
	case Yes:
		if u := d.result.User; u == "" || len(u) > maxUser || !smtp.Shown(u) {
			d.result = Result{Answer: No, Err: fmt.Errorf("the account is called %s, and a name has 1 to %d octets here, in UTF-8 without characters that show nothing", smtp.Printable(fmt.Sprintf("%q", u), maxUser), maxUser)}
			break
		}
		return smtp.Reply{Code: 235, Status: "2.7.0", Text: "logged in"} // AUTH
	case Later:
		return smtp.Reply{Code: 454, Status: "4.7.0", Text: "logins can't be checked now, try again later"} // whoever knows the accounts can't be asked; the log says why
	}
	return smtp.Reply{Code: 535, Status: "5.7.8", Text: "name or password is wrong, or that account may not send; mend it in your program's settings"} // the same for each kind of no
}

func ask(challenge []byte) smtp.Reply {
	return smtp.Reply{Code: 334, Text: base64.StdEncoding.EncodeToString(challenge)} // what the client is asked in an exchange, in base64
}

// prompts are the two questions of LOGIN. Clients know them by these very words.
type prompts struct {
	user  []byte
	named bool
}

// take takes an answer, nil if there is none yet, and returns the next question, or
// both answers as PLAIN has them.
func (p *prompts) take(answer []byte) (whole []byte, prompt string, ok bool) {
	switch {
	case bytes.IndexByte(answer, 0) >= 0:
		return nil, "", false
	case p.named:
		return slices.Concat([]byte{0}, p.user, []byte{0}, answer), "", true
	case answer == nil:
		return nil, "Username:", true
	}
	p.user, p.named = answer, true
	return nil, "Password:", true
}
