package deliver

import (
	"slices"
	"time"
)

// refused is a gate that was full, and how to try it once more.
type refused struct {
	gate  *gate
	again func()
}

// waitToo makes the attempt wait for the gates that were full, beside its
// answers, and reports whether one has room already.
func (a *attempt) waitToo() (again bool) {
	if len(a.busy) == 0 {
		return false
	}
	a.r.mu.Lock()
	again = slices.ContainsFunc(a.busy, func(b refused) bool { return b.gate.open() })
	if !again {
		a.it.called = a.called
		for _, b := range a.busy {
			a.it.standAt(b.gate)
		}
	}
	a.r.mu.Unlock()
	if again {
		a.again()
	}
	return again
}

// again tries all that was refused once more.
func (a *attempt) again() {
	busy := a.busy
	a.busy = nil
	for _, b := range busy {
		b.again()
	}
}

// dropUseless drops a ticket that nothing here needs, before the end of the
// attempt, which may be far.
func (a *attempt) dropUseless() {
	a.r.mu.Lock()
	defer a.r.mu.Unlock()
	if len(a.called) == 0 {
		a.r.dropTicket(a.it)
	}
}

// parkAt ends the work on a message that found gates full. If there is room
// by now it is due at once. The caller holds mu.
func (r *Runner) parkAt(busy []refused, it *item) {
	if it.again || slices.ContainsFunc(busy, func(b refused) bool { return b.gate.open() }) {
		r.sched.putBack(it, 0)
		return
	}
	r.sched.park(it)
	for _, b := range busy {
		it.standAt(b.gate)
	}
}

// standAt puts a message into a gate's line, where it stands once.
func (it *item) standAt(g *gate) {
	if !slices.Contains(it.at, g) {
		it.at = append(it.at, g)
		g.parked = append(g.parked, it)
	}
}

// leave gives a place back and lets parked messages be looked at again. The
// caller holds mu.
func (r *Runner) leave(g *gate) {
	g.inside--
	r.admit(g)
}

// admit makes as many parked messages due as there are places; of a
// destination that is down, all. The caller holds mu.
func (r *Runner) admit(g *gate) {
	n := min(max(g.places-g.inside-g.coming, 0), len(g.parked))
	if time.Now().Before(g.downUntil) {
		n = len(g.parked)
	}
	r.call(g, n)
}

// call gives the next n messages of the line a ticket: a parked one is due, an
// attempt goes on. One that waits elsewhere too, and was called from there, is
// passed over.
func (r *Runner) call(g *gate, n int) {
	for len(g.parked) > 0 && n > 0 {
		var it *item
		it, g.parked = shift(g.parked)
		it.at = slices.DeleteFunc(it.at, func(x *gate) bool { return x == g })
		switch {
		case it.ticket != nil:
			continue
		case it.state == parked:
			r.sched.unpark(it)
			r.poke()
		case it.state == active && it.called != nil:
			select {
			case it.called <- struct{}{}:
			default:
			}
		default:
			continue
		}
		it.ticket = g
		g.coming++
		n--
	}
}

// dropTicket gives back a ticket that was not used: the message went
// elsewhere. The caller holds mu.
func (r *Runner) dropTicket(it *item) {
	if g := it.ticket; g != nil {
		it.ticket = nil
		g.coming--
		r.admit(g)
	}
}
