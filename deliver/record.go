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
			a.over(x)
		}
		if x.outcome.Action == Delivered && !x.skipped {
			done = append(done, x.keys...)
		}
	}
	if a.broken || !a.setState(done, spool.Delivered) {
		return
	}
	next := a.s.Now().Add(retryDelay(a.number))
	for i := range answers {
		x := &answers[i]
		if x.skipped {
			continue
		}
		switch {
		case x.asked != nil:
			a.proceed(x)
			if a.broken {
				return
			}
		case x.changed:
			a.renew(x.keys)
			if a.broken {
				return
			}
		case x.outcome.Action == Delivered:
			a.logRecipients(*x, "message delivered", maillog.Sent)
		case x.outcome.Action == Bounced:
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
	return true
}

// setBroken ends all work on the message: what was delivered can't be
// recorded.
func (a *attempt) setBroken(err error) {
	a.broken = true
	a.dead.Store(true)
	a.log(slog.LevelError, "delivery not recorded, message set aside until the next start", maillog.Err(err))
}

// shared is an outcome as the last failure has it, if that is the same: those
// of a long list fail for few reasons.
func shared(failures []failure, o Outcome) *Outcome {
	if len(failures) > 0 {
		last := failures[len(failures)-1].outcome
		if last.Action == o.Action && last.Reply == o.Reply && last.Relay == o.Relay && last.err().Error() == o.err().Error() {
			return last
		}
	}
	return &o
}

// fail keeps a permanent failure for the bounce at the attempt's end.
func (a *attempt) fail(x *answer) {
	o := shared(a.failed, x.outcome)
	for _, k := range x.keys {
		a.failed = append(a.failed, failure{key: k, outcome: o, tried: true})
	}
}

// postpone keeps a deferral, which may turn out to have lasted too long.
func (a *attempt) postpone(x *answer, next time.Time) {
	a.next = latest(a.next, next)
	o := shared(a.late, x.outcome)
	for _, k := range x.keys {
		tried := !x.remembered || a.notes[k] != nil && a.notes[k].attempt > 0
		a.late = append(a.late, failure{key: k, outcome: o, tried: tried})
	}
	a.logRecipients(*x, "delivery deferred", maillog.Deferred, maillog.Attempt(a.number), maillog.Next(next))
}

// note appends hints, one for all recipients with the same story. That one
// can't be written costs an early retry.
func (a *attempt) note(answers []answer, next time.Time) {
	var notes []spool.Note
	for _, x := range answers {
		if x.skipped || x.asked != nil || x.changed || x.outcome.Action == Delivered {
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
	age := a.r.clock.age(a.env.Arrived, a.s.Now())
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
