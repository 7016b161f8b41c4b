package deliver

import (
	"log/slog"
	"time"

	"postoffice/deliver/outcome"
	"postoffice/internal/maillog"
	"postoffice/spool/envelope"
)

// A tally is what has come of an attempt: first what isn't recorded yet, then
// what is.
type tally struct {
	settled   []settled
	expanded  []expanded
	cancelled []envelope.Key

	failed     []failure
	late       []failure // deferred now; too old, perhaps
	next       time.Time // when the deferred are due, by the wall clock
	unreported error     // why a report could not be queued
	broken     bool      // nothing can be recorded any more (A38)
	held       bool      // it is in hold/ now
}

// expanded is what a recipient stands for, found and not recorded yet.
type expanded struct {
	rc      envelope.Recipient
	what    envelope.Expansion
	instead bool // it stands in the recipient's place
	// list is the target of an item that is expanded; its recipients from
	// number rest on lead to the same.
	list *localTarget
	rest int
}

// A failure is a recipient that has an outcome to tell the sender.
type failure struct {
	key     envelope.Key
	outcome *outcome.Outcome
	tried   bool // by this message, now or before
	expired bool
}

// open says whether something is to be recorded.
func (t *tally) open() bool { return len(t.settled)+len(t.expanded)+len(t.cancelled) > 0 }

// add, expand and cancel leave something to be recorded.
func (t *tally) add(x settled)              { t.settled = append(t.settled, x) }
func (t *tally) expand(x expanded)          { t.expanded = append(t.expanded, x) }
func (t *tally) cancel(keys []envelope.Key) { t.cancelled = append(t.cancelled, keys...) }

// settle answers for recipients without trying anything.
func (t *tally) settle(keys []envelope.Key, o outcome.Outcome) {
	t.add(settled{keys: keys, outcome: o})
}

// wait notes when a deferred recipient is due.
func (t *tally) wait(until time.Time) {
	if until.After(t.next) {
		t.next = until
	}
}

// unrecorded returns what is to be recorded, which is forgotten here. It is
// nothing once nothing can be recorded.
func (t *tally) unrecorded() (settled []settled, expanded []expanded, cancelled []envelope.Key) {
	settled, expanded, cancelled = t.settled, t.expanded, t.cancelled
	t.settled, t.expanded, t.cancelled = nil, nil, nil
	if t.broken {
		return nil, nil, nil
	}
	return settled, expanded, cancelled
}

// setState records a state of recipients, with one sync, and says whether that
// worked.
func (t *tally) setState(m *message, keys []envelope.Key, state envelope.State) bool {
	if len(keys) == 0 {
		return true
	}
	if err := m.m.Record(keys, state); err != nil {
		t.setBroken(m, err)
		return false
	}
	return true
}

// setBroken ends all work on the message: what was delivered can't be recorded.
func (t *tally) setBroken(m *message, err error) {
	t.broken = true
	m.log(slog.LevelError, "delivery not recorded, message set aside until the next start", maillog.Err(err))
}

// fail keeps a permanent failure for the bounce at the attempt's end.
func (t *tally) fail(x settled) {
	o := shared(t.failed, x.outcome)
	for _, k := range x.keys {
		t.failed = append(t.failed, failure{key: k, outcome: o, tried: true})
	}
}

// postpone keeps a deferral, which may turn out to have lasted too long.
func (t *tally) postpone(m *message, x settled, next time.Time) {
	t.wait(next)
	o := shared(t.late, x.outcome)
	for _, k := range x.keys {
		t.late = append(t.late, failure{key: k, outcome: o, tried: !x.remembered || m.noted(k).attempt > 0})
	}
	m.logRecipients(x.keys, x.outcome, "delivery deferred", maillog.Deferred, next)
}

// shared is an outcome as the last failure has it, if that is the same: those
// of a long list fail for few reasons.
func shared(failures []failure, o outcome.Outcome) *outcome.Outcome {
	if len(failures) > 0 {
		last := failures[len(failures)-1].outcome
		if last.Action == o.Action && last.Reply == o.Reply && last.Relay == o.Relay && last.Cause().Error() == o.Cause().Error() {
			return last
		}
	}
	return &o
}
