package deliver

import (
	"log/slog"
	"time"

	"postoffice/internal/maillog"
	"postoffice/spool"
)

// record writes down what is known now. After the first failure to do so
// nothing more is tried or recorded (A38).
func (a *attempt) record(answers []answer) {
	var done []spool.Key
	for i := range answers {
		x := &answers[i]
		if x.t != nil {
			x.keys, x.t.done = x.t.keys, true
		}
		if x.outcome.Action == Delivered && !x.skipped {
			done = append(done, x.keys...)
		}
	}
	if a.broken || !a.setState(done, spool.Delivered) {
		return
	}
	for _, x := range answers {
		if x.skipped {
			continue
		}
		switch x.outcome.Action {
		case Delivered:
			a.logRecipients(x, "message delivered", maillog.Sent)
		case Bounced:
			a.fail(x)
		default:
			a.postpone(x)
		}
		if x.token != "" {
			a.s.Local.Recorded(x.token)
		}
	}
}

// setState records a state and says whether that worked.
func (a *attempt) setState(keys []spool.Key, state spool.State) bool {
	if len(keys) == 0 {
		return true
	}
	if err := a.m.Record(keys, state); err != nil {
		a.setBroken(err)
		return false
	}
	for _, k := range keys {
		rc := a.rcpts[k]
		rc.State = state
		a.rcpts[k] = rc
	}
	return true
}

// setBroken ends all work on the message: what was delivered can't be
// recorded.
func (a *attempt) setBroken(err error) {
	a.broken = true
	a.dead.Store(true)
	a.log(slog.LevelError, "delivery not recorded, message set aside until the next start", maillog.Err(err))
}

// fail keeps a permanent failure for the bounce at the attempt's end.
func (a *attempt) fail(x answer) {
	for _, k := range x.keys {
		a.failed = append(a.failed, failure{rcpt: a.rcpts[k], outcome: x.outcome, tried: true})
	}
	a.note(x, time.Time{})
}

// postpone notes a deferral.
func (a *attempt) postpone(x answer) {
	next := a.s.Now().Add(retryDelay(a.number))
	a.next = latest(a.next, next)
	for _, k := range x.keys {
		tried := !x.remembered || a.notes[k].attempt > 0
		a.late = append(a.late, failure{rcpt: a.rcpts[k], outcome: x.outcome, tried: tried})
	}
	a.note(x, next)
	a.logRecipients(x, "delivery deferred", maillog.Deferred, maillog.Attempt(a.number), maillog.Next(next))
}

// note appends a hint. That it can't be written costs an early retry.
func (a *attempt) note(x answer, next time.Time) {
	n := spool.Note{Time: a.s.Now(), Keys: x.keys, Attempt: a.number, Relay: x.outcome.Relay, Reply: x.outcome.Reply, Next: next}
	if x.outcome.Err != nil {
		n.Err = printable(x.outcome.Err.Error(), 500)
	}
	if err := a.m.Note(n); err != nil {
		a.log(slog.LevelWarn, "attempt not noted", maillog.Err(err))
	}
}

// settle answers for recipients without trying anything.
func (a *attempt) settle(keys []spool.Key, o Outcome) {
	a.record([]answer{{keys: keys, outcome: o}})
}

// conclude turns what has become too old into failures, sends the bounces and
// records the failed.
func (a *attempt) conclude() {
	if a.broken {
		return
	}
	a.r.mu.Lock()
	age := a.r.clock.age(a.m.Envelope().Arrived, a.s.Now())
	a.r.mu.Unlock()
	if age > a.s.QReturn {
		for _, f := range a.late {
			if f.tried {
				f.expired = true
				a.failed = append(a.failed, f)
			}
		}
	}
	if len(a.failed) > 0 {
		a.bounce()
	}
}
