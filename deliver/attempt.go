package deliver

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"postoffice/deliver/schedule"
	"postoffice/internal/maillog"
	"postoffice/spool"
	"postoffice/spool/envelope"
)

// An attempt is the work on one message from its claim to its close. Its
// goroutine alone plans and records; deliveries send it their answers.
//
// It goes in rounds: what is to be started is started, answers are waited for,
// what has settled is recorded, and what follows from the rest is planned.
type attempt struct {
	*message
	tree  tree
	todo  todo
	tally tally

	turn    *schedule.Work
	forced  time.Time       // attempts before this do not count
	reroute bool            // what is pending goes where the files say now
	stop    context.Context // ended: begin nothing
	halt    func()          // ends stop
	work    context.Context // ended: break off
	answers chan []reply
	routed  chan routed
	yields  bool // begin nothing more in this attempt: others wait for the memory
}

// workOn makes one attempt at a message and puts it where it belongs then. When
// stop ends nothing more is begun, when work ends all is broken off.
func (r *Runner) workOn(w *schedule.Work, stop, work context.Context) {
	msg := r.open(w)
	if msg == nil {
		return
	}
	a := newAttempt(msg, w, stop, work)
	end := a.run()
	a.tellEnd()
	a.halt()
	msg.close()
	end()
}

func newAttempt(msg *message, w *schedule.Work, stop, work context.Context) *attempt {
	a := &attempt{
		message: msg, tree: newTree(msg), todo: newTodo(msg.env.Folder, msg.s.virtualFolder(msg.env.Folder)), turn: w,
		answers: make(chan []reply), routed: make(chan routed),
	}
	a.stop, a.halt = context.WithCancel(stop)
	a.work = work
	a.reroute = w.TakeReroute()
	if ago, ok := w.Woken(); ok {
		a.forced = a.s.Now().Add(-ago)
	}
	return a
}

const (
	maxOpening = 32               // messages that are read before it is known whether there is room for them
	yieldAfter = 30 * time.Second // so long a message with more than a few recipients has the room that others wait for
	yieldCheck = 5 * time.Second
)

// open claims a message whose turn it is; nil if that can't be, or if there is no
// room for it now: its work has ended then.
func (r *Runner) open(w *schedule.Work) *message {
	r.opening <- struct{}{}
	defer func() { <-r.opening }()
	m, err := r.queue.Claim(w.ID)
	if err != nil {
		r.unclaimed(w, err)
		return nil
	}
	msg := r.opened(m)
	full := schedule.InWork
	if w.From(Submitter(msg.env.Client, msg.env.ReversePath)) {
		if msg.inMemory = msg.pendingCount(); w.Hold(msg.inMemory) {
			return msg
		}
		full = schedule.Recipients
	}
	msg.close()
	w.PostponeTo(schedule.All(full))
	return nil
}

// close gives the message back.
func (m *message) close() {
	if err := m.m.Close(); err != nil && !errors.Is(err, spool.ErrClosed) {
		m.log(slog.LevelWarn, "message not closed", maillog.Err(err))
	}
}

// unclaimed says what follows when a message can't be worked on.
func (r *Runner) unclaimed(w *schedule.Work, err error) {
	r.tellUnopened(w.ID, errors.Is(err, spool.ErrBusy))
	switch {
	case errors.Is(err, spool.ErrGone), errors.Is(err, spool.ErrCorrupt):
		w.Forget() // what is corrupt the spool has logged and set aside
	case errors.Is(err, spool.ErrBusy):
		w.Postpone(busyWait)
	default:
		wait := schedule.RetryDelay(1)
		w.Postpone(wait)
		r.warn("message not readable", maillog.QueueID(w.ID), maillog.Err(err), maillog.Next(time.Now().Add(wait)))
	}
}

// run is the attempt; what it returns ends the work on the message.
func (a *attempt) run() (end func()) {
	due := a.due()
	if len(due) == 0 && a.pending() {
		return a.putBack()
	}
	if a.stop.Err() != nil {
		return func() { a.turn.Later(0) }
	}
	if len(due) > 0 {
		a.begin(due)
		a.goOn()
		a.tally.conclude(a.message)
	}
	switch {
	case a.tally.broken:
		return a.turn.SetAside
	case a.tally.held:
		return a.turn.Forget
	case a.pending():
		return a.putBack()
	}
	if err := a.m.Finish(); err != nil {
		a.log(slog.LevelWarn, "message not removed", maillog.Err(err))
		return func() { a.turn.Later(schedule.RetryDelay(1)) }
	}
	a.log(slog.LevelInfo, "message removed", maillog.Delay(a.delay()))
	return a.turn.Forget
}

// putBack says when the message is looked at again: when one of the busy
// destinations has room, else when its deferred recipients are due.
func (a *attempt) putBack() func() {
	if a.yields {
		return func() { a.turn.PostponeTo(schedule.All(schedule.Recipients)) }
	}
	if gates := a.todo.gates(); len(gates) > 0 {
		return func() { a.turn.Park(gates) }
	}
	wait := a.tally.next.Sub(a.s.Now())
	if a.tally.next.IsZero() { // nothing was tried: the runner is to stop
		wait = 0
		if a.stop.Err() == nil {
			wait = schedule.RetryDelay(1)
		}
	}
	wait = min(max(wait, 0), schedule.MaxDelay) // notes of a clock that was wrong (A40)
	return func() { a.turn.Later(wait) }
}

// due returns the pending recipients whose time has come, and counts the
// attempt. A note from a clock that was ahead is not believed. With reroute all
// are due, also behind a gate where the message was parked. What somebody asked
// for before its time makes the wait for the next attempt no longer.
func (a *attempt) due() []envelope.Key {
	now := a.s.Now()
	var due []envelope.Key
	for rc := range a.m.Pending() {
		n := a.noted(rc.Key)
		wait := n.next.Sub(now)
		early := wait > 0 && wait <= schedule.MaxDelay
		if early && !a.reroute && !n.at.Before(a.forced) {
			a.tally.wait(n.next)
			continue
		}
		if !early {
			n.timely++
		}
		a.number, a.timely = max(a.number, n.attempt+1), max(a.timely, n.timely)
		due = append(due, rc.Key)
	}
	return due
}

// begin hands the due recipients to the planning, or settles them all.
func (a *attempt) begin(due []envelope.Key) {
	if a.header().received > a.s.Hops {
		a.tally.settle(due, wentRound(a.s.Hops))
		return
	}
	a.tree.count()
	if a.reroute {
		a.todo.again(due...)
		return
	}
	a.todo.place(due...)
}

// goOn works in rounds until no answer is to come. What goes to one next hop
// leaves together if all routes are found soon.
func (a *attempt) goOn() {
	soon, yield := time.NewTimer(routeWait), time.NewTimer(yieldAfter)
	defer soon.Stop()
	defer yield.Stop()
	late := false
	for {
		a.record()
		if a.tally.broken { // after the first failure to record nothing more is tried or recorded (A38)
			a.halt()
		}
		if a.plan(); a.tally.open() {
			continue
		}
		if a.start(late); a.tally.open() || a.todo.planned() {
			continue
		}
		var stopped <-chan struct{}
		if a.todo.idle() {
			if !a.staysInWork() {
				return
			}
			stopped = a.stop.Done()
		}
		if a.waitToo() {
			continue
		}
		select {
		case <-stopped:
		case <-a.turn.Called():
			a.todo.retry()
		case replies := <-a.answers:
			a.take(replies)
			a.takeMore()
		case x := <-a.routed:
			a.todo.found(x)
		case <-soon.C:
			late = true
		case <-yield.C:
			a.yields = a.turn.Yield()
			yield.Reset(yieldCheck)
		}
	}
}

// staysInWork reports whether an attempt that has nothing to do before a gate has
// room waits there: one with more than a few recipients would be read again each
// time that a place is free.
func (a *attempt) staysInWork() bool {
	return len(a.todo.busy) > 0 && !a.yields && a.stop.Err() == nil && a.turn.Holds()
}

// takeMore takes the answers that are there already: they are recorded with one
// sync.
func (a *attempt) takeMore() {
	for {
		select {
		case replies := <-a.answers:
			a.take(replies)
		default:
			return
		}
	}
}
