package envelope

import "encoding/hex"

// keywords are the first words of a recipient's line. A blank, the slot's
// octet and a blank follow.
var keywords = [...]string{Address: "to", Mailbox: "mailbox", Program: "program"}

// slotAt is where a recipient's line of this kind has its slot.
func slotAt(k Kind) int { return len(keywords[k]) + 1 }

// appendTarget adds a recipient's line.
func appendTarget(b []byte, t Target, state State) []byte {
	b = append(b, keywords[t.Kind]...)
	b = append(b, ' ', byte(state), ' ')
	if t.Kind == Program {
		b = append(append(b, t.Agent.Source...), ' ')
		b = append(appendWord(b, t.Agent.Name), ' ')
		b = hex.AppendEncode(b, t.Agent.Hash[:])
	} else {
		b = AppendPath(b, t.Path)
	}
	return append(AppendParams(b, t.Params), '\n')
}

// parseTarget reads a recipient's line, without its LF.
func parseTarget(line []byte) (t Target, state State, ok bool) {
	p := scanner{s: string(line), ok: true}
	switch p.token(" ") {
	case keywords[Address]:
		t.Kind = Address
	case keywords[Mailbox]:
		t.Kind = Mailbox
	case keywords[Program]:
		t.Kind = Program
	default:
		return t, 0, false
	}
	p.lit(" ")
	if p.s == "" {
		return t, 0, false
	}
	state, p.s = State(p.s[0]), p.s[1:]
	p.lit(" ")
	if t.Kind == Program {
		t.Agent = p.agent()
	} else {
		t.Path = p.path()
	}
	t.Params = p.params()
	return t, state, p.ok && state.Known() && validTarget(t) == nil && same(appendTarget(nil, t, state), line)
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
