package deliver

import (
	"iter"
	"time"

	"postoffice/deliver/outcome"
	"postoffice/deliver/remote"
	"postoffice/deliver/route"
	"postoffice/internal/smtp"
	"postoffice/spool"
	"postoffice/spool/envelope"
)

// A Watcher sees what happens to messages while they are delivered. Many
// goroutines call it, and it must not wait.
type Watcher interface {
	// Watching says whether anybody looks; else no event is made.
	Watching() bool
	// Watch is told of an event. client is the envelope's, "" where a message
	// could not be opened.
	Watch(id spool.ID, client string, e Event)
}

// An Event is a SessionLine, a RecipientOutcome or an AttemptEnd.
type Event any

// SessionLine is a line of the conversation about a message: see remote.Transcript.
// The text is as the peer sent it.
type SessionLine struct {
	Relay string
	Dir   byte
	Text  string
	For   []route.Screen // before those that the message goes to in it; none: nothing is hidden
}

// Hides reports whether the viewer does not see the line: it is about somebody
// who is not shown, perhaps.
func (l SessionLine) Hides(v route.Viewer) bool {
	for _, s := range l.For {
		if _, hidden := s.Hides(v); hidden {
			return true
		}
	}
	return false
}

// RecipientOutcome is what has become of a recipient. One that is expanded has
// none; those that it was expanded to have.
type RecipientOutcome struct {
	To       string    // an address, or whose program or file it is
	Original smtp.Path // the recipient of the envelope that led to it
	Status   string    // maillog.Sent, Deferred, Bounced or Expired
	Outcome  outcome.Outcome
	Next     time.Time // of a deferred one: when it is tried again
	Screen   route.Screen
}

// For returns what the viewer is shown of it.
func (r RecipientOutcome) For(v route.Viewer) RecipientOutcome {
	if x, hidden := r.Screen.Hides(v); hidden {
		r.To, r.Outcome = x.Behind(), route.Hidden(r.Outcome)
	}
	return r
}

// AttemptEnd says that an attempt at a message is over.
type AttemptEnd struct {
	Pending int  // recipients that are still to get the message
	Again   bool // some had no turn, and will have one soon
}

// watched says whether somebody looks.
func (s *settings) watched() bool { return s.Watch != nil && s.Watch.Watching() }

// tell tells of an event.
func (m *message) tell(e Event) { m.s.Watch.Watch(m.id, m.env.Client, e) }

// transcript returns what tells of the lines of a session with recipients whom
// these screens stand before; that returns nil if nobody looks.
func (m *message) transcript(screens []route.Screen) func() remote.Transcript {
	s, id, client := m.s, m.id, m.env.Client // it may outlive the attempt
	return func() remote.Transcript {
		if !s.watched() {
			return nil
		}
		return func(relay string, dir byte, line string) {
			s.Watch.Watch(id, client, SessionLine{relay, dir, line, screens})
		}
	}
}

// screen is what hides a recipient.
func (m *message) screen(rc envelope.Recipient) route.Screen { return route.ScreenOf(rc, m.rcpt) }

// screens returns those before some recipients, one for all of an expansion.
func (m *message) screens(keys iter.Seq[envelope.Key]) []route.Screen {
	var all []route.Screen
	var seen map[envelope.Key]bool
	for k := range keys {
		rc := m.rcpt(k)
		if rc.Parent == envelope.NoKey || seen[rc.Parent] {
			continue
		}
		if seen == nil {
			seen = map[envelope.Key]bool{}
		}
		seen[rc.Parent] = true
		if s := m.screen(rc); len(s) > 0 {
			all = append(all, s)
		}
	}
	return all
}

// tellOutcome tells of what has become of a recipient; next is when a deferred
// one is tried again.
func (m *message) tellOutcome(rc envelope.Recipient, o outcome.Outcome, status string, next time.Time) {
	if m.s.watched() {
		m.tell(RecipientOutcome{To: rc.Target.String(), Original: m.original(rc), Status: status, Outcome: o, Next: next, Screen: m.screen(rc)})
	}
}

// tellEnd tells that the attempt is over, if there was one.
func (a *attempt) tellEnd() {
	if !a.s.watched() {
		return
	}
	e := AttemptEnd{Again: len(a.todo.gates()) > 0 || a.stop.Err() != nil && !a.tally.broken}
	for rc := range a.m.Recipients() {
		if rc.State == envelope.Pending {
			e.Pending++
		}
	}
	if a.number > 0 || e.Pending == 0 {
		a.tell(e)
	}
}

// tellUnopened tells that a message could not be worked on.
func (r *Runner) tellUnopened(id spool.ID, again bool) {
	if s := r.settings.Load(); s.watched() {
		s.Watch.Watch(id, "", AttemptEnd{Pending: 1, Again: again})
	}
}
