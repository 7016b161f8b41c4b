package deliver

import (
	"time"

	"postoffice/deliver/remote"
	"postoffice/internal/maillog"
	"postoffice/internal/smtp"
	"postoffice/spool"
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

// SessionLine is a line of the conversation about a message: see remote.Trace.
// The text is as the peer sent it.
type SessionLine struct {
	Relay string
	Dir   byte
	Text  string
}

// RecipientOutcome is what has become of a recipient. One that is expanded has
// none; those that it was expanded to have.
type RecipientOutcome struct {
	To       string    // an address, or whose program or file it is
	Original smtp.Path // the recipient of the envelope that led to it
	Status   string    // maillog.Sent, Deferred, Bounced or Expired
	Outcome  Outcome
	Next     time.Time // of a deferred one: when it is tried again
}

// AttemptEnd says that an attempt at a message is over.
type AttemptEnd struct {
	Pending int  // recipients that are still to get the message
	Again   bool // some had no turn, and will have one soon
}

// watched says whether somebody looks.
func (s *settings) watched() bool { return s.Watch != nil && s.Watch.Watching() }

// tell tells of an event.
func (a *attempt) tell(e Event) { a.s.Watch.Watch(a.id, a.env.Client, e) }

// tracer tells of the lines of this message's sessions; nil if nobody looks.
func (a *attempt) tracer() remote.Trace {
	if !a.s.watched() {
		return nil
	}
	id, client, w := a.id, a.env.Client, a.s.Watch // it may outlive the attempt
	return func(relay string, dir byte, line string) { w.Watch(id, client, SessionLine{relay, dir, line}) }
}

func (a *attempt) tellOutcome(rc spool.Recipient, o Outcome, status string) {
	if !a.s.watched() {
		return
	}
	e := RecipientOutcome{To: rc.Target.String(), Original: a.original(rc), Status: status, Outcome: o}
	if status == maillog.Deferred {
		e.Next = a.s.Now().Add(retryDelay(a.number))
	}
	a.tell(e)
}

// tellEnd tells that the attempt is over, if there was one.
func (a *attempt) tellEnd() {
	if !a.s.watched() {
		return
	}
	e := AttemptEnd{Again: len(a.busy) > 0 || a.stop.Err() != nil}
	for rc := range a.m.Recipients() {
		if rc.State == spool.Pending {
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
