package deliver

import (
	"cmp"
	"log/slog"
	"slices"
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
	next := a.s.Now().Add(retryDelay(a.number))
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
			a.postpone(x, next)
		}
		if x.token != "" {
			a.s.Local.Recorded(x.token)
		}
	}
	a.note(answers, next)
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
}

// postpone keeps a deferral, which may turn out to have lasted too long.
func (a *attempt) postpone(x answer, next time.Time) {
	a.next = latest(a.next, next)
	for _, k := range x.keys {
		tried := !x.remembered || a.notes[k].attempt > 0
		a.late = append(a.late, failure{rcpt: a.rcpts[k], outcome: x.outcome, tried: tried})
	}
	a.logRecipients(x, "delivery deferred", maillog.Deferred, maillog.Attempt(a.number), maillog.Next(next))
}

// note appends hints, one for all recipients with the same story. That one
// can't be written costs an early retry.
func (a *attempt) note(answers []answer, next time.Time) {
	var notes []spool.Note
	for _, x := range answers {
		if x.skipped || x.outcome.Action == Delivered {
			continue
		}
		n := spool.Note{Time: a.s.Now(), Attempt: a.number, Relay: x.outcome.Relay, Reply: x.outcome.Reply}
		if x.outcome.Err != nil {
			n.Err = printable(x.outcome.Err.Error(), 500)
		}
		if x.outcome.Action == Deferred {
			n.Next = next
		}
		i := slices.IndexFunc(notes, func(o spool.Note) bool {
			return o.Relay == n.Relay && o.Reply == n.Reply && o.Err == n.Err && o.Next.Equal(n.Next)
		})
		if i < 0 {
			i, notes = len(notes), append(notes, n)
		}
		notes[i].Keys = append(notes[i].Keys, x.keys...)
	}
	for _, n := range notes {
		slices.SortFunc(n.Keys, func(a, b spool.Key) int { return cmp.Or(a.Block-b.Block, a.Index-b.Index) })
		if err := a.m.Note(n); err != nil {
			a.log(slog.LevelWarn, "attempt not noted", maillog.Err(err))
		}
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
