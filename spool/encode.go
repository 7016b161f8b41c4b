package spool

import (
	"encoding/hex"
	"fmt"
	"strings"

	"postoffice/internal/smtp"
)

// keywords are the first words of a recipient's line. A blank, the slot's
// octet and a blank follow.
var keywords = [...]string{Address: "to", Mailbox: "mailbox", Program: "program"}

// slotAt is where a recipient's line of this kind has its slot.
func slotAt(k Kind) int { return len(keywords[k]) + 1 }

// appendTarget adds a recipient's line.
func appendTarget(b []byte, t Target) []byte {
	b = append(b, keywords[t.Kind]...)
	state := t.State
	if state == 0 {
		state = Pending
	}
	b = append(b, ' ', byte(state), ' ')
	if t.Kind == Program {
		b = append(append(b, t.Agent.Source...), ' ')
		b = append(appendWord(b, t.Agent.Name), ' ')
		b = hex.AppendEncode(b, t.Agent.Hash[:])
	} else {
		b = appendPath(b, t.Path)
	}
	return append(appendParams(b, t.Params), '\n')
}

// parseTarget reads a recipient's line, without its LF.
func parseTarget(line []byte) (t Target, ok bool) {
	p := scanner{s: string(line), ok: true}
	switch p.token(" ") {
	case keywords[Address]:
		t.Kind = Address
	case keywords[Mailbox]:
		t.Kind = Mailbox
	case keywords[Program]:
		t.Kind = Program
	default:
		return t, false
	}
	p.lit(" ")
	if p.s == "" {
		return t, false
	}
	t.State, p.s = State(p.s[0]), p.s[1:]
	p.lit(" ")
	if t.Kind == Program {
		t.Agent = p.agent()
	} else {
		t.Path = p.path()
	}
	t.Params = p.params()
	return t, p.ok && validTarget(t) == nil && same(appendTarget(nil, t), line)
}

func (p *scanner) agent() *Agent {
	var a Agent
	a.Source = AgentSource(p.token(" "))
	p.lit(" ")
	a.Name = p.word()
	p.lit(" ")
	digits := p.token(" ")
	if len(digits) != hex.EncodedLen(len(a.Hash)) {
		p.ok = false
		return nil
	}
	_, err := hex.Decode(a.Hash[:], []byte(digits))
	p.ok = p.ok && err == nil
	return &a
}

// same reports whether encoded is line with an LF behind it.
func same(encoded, line []byte) bool {
	n := len(encoded) - 1
	return n == len(line) && string(encoded[:n]) == string(line)
}

// validTarget is what both the writer and the reader ask of a recipient.
func validTarget(t Target) error {
	if t.State != 0 && !t.State.Known() {
		return fmt.Errorf("%w: recipient in %v", ErrInvalid, t.State)
	}
	if int(t.Kind) >= len(keywords) || (t.Kind == Program) != (t.Agent != nil) {
		return fmt.Errorf("%w: recipient of kind %d", ErrInvalid, t.Kind)
	}
	if t.Kind == Program {
		if a := t.Agent; !a.Source.agents() || a.Name == "" || !t.Path.IsNull() {
			return fmt.Errorf("%w: program of %q %q", ErrInvalid, a.Source, a.Name)
		}
		return validParams(t.Params)
	}
	if err := CheckRecipient(t.Path); err != nil {
		return err
	}
	return validParams(t.Params)
}

// agents says whether an Agent may stand in s.
func (s AgentSource) agents() bool {
	return s == FromAlias || s == FromForward || s == FromUsermap
}

// CheckRecipient says why no message can be for p, with ErrInvalid: it names no
// mailbox, above all where it could be taken for a program, a file or a list
// (A18).
func CheckRecipient(p smtp.Path) error {
	l := p.Local
	if l == "" || l[0] == '|' || strings.HasPrefix(strings.ToLower(l), ":include:") || l[0] == '/' && p.Domain == "" {
		return fmt.Errorf("%w: recipient %q", ErrInvalid, p.String())
	}
	return nil
}

func validParams(params []smtp.Param) error {
	for _, p := range params {
		if !keyword(p.Name) {
			return fmt.Errorf("%w: parameter %q", ErrInvalid, p.Name)
		}
	}
	return nil
}

// appendEnvelope adds the envelope with its empty line, all slots pending.
func appendEnvelope(b []byte, env *Envelope) ([]byte, error) {
	if !validTime(env.Arrived) {
		return b, fmt.Errorf("%w: arrived in the year %d", ErrInvalid, env.Arrived.Year())
	}
	if err := validParams(env.Params); err != nil {
		return b, err
	}
	if n := len(env.Recipients); n == 0 || n > MaxRecipients {
		return b, fmt.Errorf("%w: %d recipients", ErrInvalid, n)
	}
	start := len(b)
	b = append(appendTime(append(b, "arrived "...), env.Arrived), '\n')
	b = append(appendWord(append(b, "client "...), env.Client), '\n')
	b = append(appendWord(append(b, "session "...), env.Session), '\n')
	b = appendPath(append(b, "from "...), env.ReversePath)
	b = append(appendParams(b, env.Params), '\n')
	if len(b)-start > maxLine { // no line of these is longer than all
		return b, fmt.Errorf("%w: envelope lines of %d octets", ErrInvalid, len(b)-start)
	}
	b, err := appendTargets(b, func(yield func(Target) bool) {
		for _, r := range env.Recipients {
			if !yield(Target{Path: r.Path, Params: r.Params}) {
				return
			}
		}
	})
	if err != nil {
		return b, err
	}
	b = append(b, '\n')
	if len(b)-start > maxEnvelope {
		return b, fmt.Errorf("%w: envelope of %d octets", ErrInvalid, len(b)-start)
	}
	return b, nil
}

// appendTargets adds a line for each.
func appendTargets(b []byte, targets func(yield func(Target) bool)) ([]byte, error) {
	for t := range targets {
		if err := validTarget(t); err != nil {
			return b, err
		}
		n := len(b)
		if b = appendTarget(b, t); len(b)-n > maxLine {
			return b, fmt.Errorf("%w: recipient's line of %d octets", ErrInvalid, len(b)-n)
		}
	}
	return b, nil
}
