package deliver

import (
	"cmp"
	"slices"
	"sort"
	"time"

	"postoffice/deliver/outcome"
	"postoffice/internal/maillog"
	"postoffice/internal/smtp"
	"postoffice/spool/envelope"
)

// lastNote is what a message's notes say of a recipient.
type lastNote struct {
	attempt  int
	timely   int // of the attempts those whose time had come: only they make the wait longer
	at, next time.Time
}

// noted returns what the message's notes say of a recipient; they are read once.
func (m *message) noted(k envelope.Key) lastNote {
	if m.notes == nil {
		m.readNotes()
	}
	if n := m.notes[k]; n != nil {
		return *n
	}
	return lastNote{}
}

func (m *message) readNotes() {
	m.notes = map[envelope.Key]*lastNote{}
	for n, err := range m.m.Notes() {
		if err != nil { // hints: an early attempt
			m.warn("notes not readable", maillog.Err(err))
			return
		}
		if n.Event != "" {
			continue
		}
		after := map[*lastNote]*lastNote{} // those with one story share what is kept of it
		for _, k := range n.Keys {
			before := m.notes[k]
			if after[before] == nil {
				after[before] = before.with(n)
			}
			m.notes[k] = after[before]
		}
	}
}

// with returns what is kept when one more note is read; nil is no note before.
func (l *lastNote) with(n envelope.Note) *lastNote {
	last := &lastNote{n.Attempt, 1, n.Time, n.Next}
	switch {
	case l == nil:
	case n.Time.Before(l.next):
		last.timely = l.timely
	default:
		last.timely = l.timely + 1
	}
	return last
}

// note appends hints, one for all recipients with the same story. That one
// can't be written costs an early retry.
func (m *message) note(all []settled, next time.Time) {
	var notes []envelope.Note
	for _, x := range all {
		if x.outcome.Action == outcome.Delivered {
			continue
		}
		n := envelope.Note{Time: m.s.Now(), Attempt: m.number, Relay: x.outcome.Relay, TLS: x.outcome.TLS, Reply: x.outcome.Reply}
		if x.outcome.Err != nil {
			n.Err = smtp.Printable(x.outcome.Err.Error(), 500)
		}
		if x.outcome.Action == outcome.Deferred {
			n.Next = next
		}
		i := slices.IndexFunc(notes, func(o envelope.Note) bool {
			return o.Relay == n.Relay && o.TLS == n.TLS && o.Reply == n.Reply && o.Err == n.Err && o.Next.Equal(n.Next)
		})
		if i < 0 {
			i, notes = len(notes), append(notes, n)
		}
		notes[i].Keys = append(notes[i].Keys, x.keys...)
	}
	for _, n := range notes {
		sort.Slice(n.Keys, func(i, j int) bool {
			return cmp.Or(n.Keys[i].Block-n.Keys[j].Block, n.Keys[i].Index-n.Keys[j].Index) < 0
		})
		if err := m.m.Note(n); err != nil {
			m.warn("attempt not noted", maillog.Err(err))
		}
	}
}
