package applets

import (
	"strings"

	"postoffice/deliver"
	"postoffice/internal/control"
	"postoffice/spool"
)

// sightOf is an event as clients see it: foreign text is printable from here on
// (A25).
func sightOf(id spool.ID, e deliver.Event) control.Sight {
	s := control.Sight{ID: string(id)}
	switch e := e.(type) {
	case deliver.SessionLine:
		s.Line = &control.Line{Relay: clean(e.Relay), Dir: string(rune(e.Dir)), Text: clean(e.Text)}
	case deliver.RecipientOutcome:
		o := e.Outcome
		s.Outcome = &control.Outcome{Address: clean(e.To), Original: clean(e.Original.String()), Status: e.Status,
			Relay: clean(o.Relay), DSN: o.Reply.Status, Next: e.Next}
		if !o.Reply.IsZero() {
			s.Outcome.Reply = clean(o.Reply.String())
		}
		if o.Err != nil {
			s.Outcome.Err = clean(o.Err.Error())
		}
	case deliver.AttemptEnd:
		s.End = &control.End{Pending: e.Pending, Again: e.Again}
	case waits:
		s.End = &control.End{Pending: e.recipients, Kept: true}
	}
	return s
}

// clean makes foreign text fit for a terminal: octets outside printable ASCII
// are \xNN, and more than a thousand are cut.
func clean(text string) string {
	const most, hex = 1000, "0123456789abcdef"
	fit := func(i int) bool { return text[i] >= ' ' && text[i] <= '~' }
	var b strings.Builder
	for i := range len(text) {
		switch {
		case b.Len() >= most:
			return b.String() + "..."
		case fit(i):
			b.WriteByte(text[i])
		default:
			b.WriteString(`\x`)
			b.WriteByte(hex[text[i]>>4])
			b.WriteByte(hex[text[i]&15])
		}
	}
	return b.String()
}

// sightSize is about what a sight needs, in octets.
func sightSize(s control.Sight) int {
	const fixed = 100
	switch {
	case s.Line != nil:
		return fixed + len(s.Line.Relay) + len(s.Line.Text)
	case s.Outcome != nil:
		o := s.Outcome
		return fixed + len(o.Address) + len(o.Original) + len(o.Relay) + len(o.Reply) + len(o.Err)
	}
	return fixed
}

// kept tells of a message that waits for the next run of the queue.
func (w *watchers) kept(id spool.ID, client string, recipients int) {
	if w.Watching() {
		w.Watch(id, client, waits{recipients})
	}
}

// waits is the event of a message that nobody tries now.
type waits struct{ recipients int }
