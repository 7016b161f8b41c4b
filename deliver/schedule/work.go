package schedule

import (
	"time"

	"postoffice/deliver/outcome"
	"postoffice/spool"
)

// A Work is one message in work, from Next to one of Later, Postpone, PostponeTo,
// Forget, SetAside and Park, each of which ends it.
type Work struct {
	ID spool.ID

	s         *Schedule
	it        *item
	called    chan struct{}
	listening bool // Await was asked: the lines call
	refused   []refusal
	held      int // places at All(Recipients)
}

// From says who submitted the message. ok is false if they have as many messages
// in work as one submitter may have: this one has to wait, see PostponeTo.
func (w *Work) From(submitter string) (ok bool) {
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	if w.it.submitter == submitter {
		return true
	}
	g := w.s.inWork
	g.count(w.it.submitter, -1)
	w.it.submitter = submitter
	ok = !g.shareFull(w.it)
	g.count(submitter, +1)
	return ok
}

// Woken returns how long ago somebody asked for this attempt: what was noted
// before that does not put it off. ok is false if its own time has come.
func (w *Work) Woken() (ago time.Duration, ok bool) {
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	return time.Duration(w.s.now() - w.it.woken), w.it.woken != 0
}

// TakeReroute reports whether somebody asked that what is pending goes where
// the files say now. It is true once for each time that it was asked for.
func (w *Work) TakeReroute() bool {
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	asked := w.it.reroute
	w.it.reroute = false
	return asked
}

// Enter takes a place at g, and one of those of its kind, or none; a place
// reserved for this message is used. Whoever is in has to Leave. down is the
// outcome where one of the two is known to be down.
func (w *Work) Enter(g Gate) (ok bool, down *outcome.Outcome) {
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	w.s.sweep()
	passed := w.s.passage(g)
	for i, x := range passed {
		if ok, down := x.enter(w.it); !ok {
			w.s.leave(w.it, passed[:i])
			if down == nil {
				w.refuse(g, x)
			}
			return false, down
		}
	}
	return true, nil
}

// A refusal is the gate on the passage of a Gate that refused a message.
type refusal struct {
	name Gate
	by   *gate
}

func (w *Work) refuse(name Gate, by *gate) {
	for i := range w.refused {
		if w.refused[i].name == name {
			w.refused[i].by = by
			return
		}
	}
	w.refused = append(w.refused, refusal{name, by})
}

// AllFull reports whether Enter is refused at every gate of a kind, since all of
// them together are full.
func (w *Work) AllFull(k Kind) bool {
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	if kinds[k].all == 0 {
		return false
	}
	g := w.s.gate(All(k))
	return g.full(w.it) && w.it.reserved != g
}

// Await stands in the lines of all of these gates and returns false, or true
// if Enter would not be refused at one of them. Whoever stands in a line is
// told by Called; a place that is reserved at another gate is given up, since
// the message waits here.
func (w *Work) Await(gates []Gate) (open bool) {
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	select {
	case <-w.called:
		return true
	default:
	}
	if w.s.anyOpen(w.it, gates) {
		return true
	}
	w.s.giveUp(w.it)
	w.listening = true
	w.s.stand(w.it, gates, w.refused)
	return false
}

// Called returns a channel that receives when a gate at which Await stood has
// a place. The place is reserved for this message.
func (w *Work) Called() <-chan struct{} { return w.called }

// GiveUp gives back a place that is reserved for this message, unless Called
// is about to tell of it: nothing here needs it.
func (w *Work) GiveUp() {
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	if len(w.called) == 0 {
		w.s.giveUp(w.it)
	}
}

// GiveUpAt gives back a place reserved at g: what is behind it is known.
func (w *Work) GiveUpAt(g Gate) {
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	if w.it.reserved != nil && w.it.reserved == w.s.gates[g] {
		w.s.giveUp(w.it)
	}
}

// Later ends the work; the message is due again after d, or now if it was
// woken meanwhile.
func (w *Work) Later(d time.Duration) { w.end(func() { w.s.putBack(w.it, d) }) }

// Postpone ends work that could not be begun. The message is due again after d,
// and what it was woken for still holds.
func (w *Work) Postpone(d time.Duration) {
	w.end(func() {
		woken := w.it.woken
		if w.s.putBack(w.it, d); w.it.woken == 0 {
			w.it.woken = woken
		}
	})
}

// Forget ends the work on a message that is no longer in the queue. One that
// was woken meanwhile came back under the same name: it is due now.
func (w *Work) Forget() {
	w.end(func() {
		if w.it.again {
			w.it.again = false
			w.s.push(w.it, 0)
			return
		}
		delete(w.s.items, w.it.id)
	})
}

// SetAside ends the work on a message for the rest of this Schedule's life.
func (w *Work) SetAside() { w.end(func() { w.it.state, w.it.again = aside, false }) }

// Park ends the work on a message that has nothing to do before one of these
// gates has a place. If one has by now, the message is due at once.
func (w *Work) Park(gates []Gate) {
	w.end(func() {
		if w.it.again || w.s.anyOpen(w.it, gates) {
			w.s.putBack(w.it, 0)
			return
		}
		w.s.inLine++
		w.it.state = inLine
		w.s.stand(w.it, gates, w.refused)
	})
}

// PostponeTo ends work that could not be begun since g is full. The message is due
// when g has a place, and what it was woken for still holds.
func (w *Work) PostponeTo(g Gate) {
	w.end(func() {
		if gates := []Gate{g}; !w.it.again && !w.s.anyOpen(w.it, gates) {
			w.s.inLine++
			w.it.state = inLine
			w.s.stand(w.it, gates, w.refused)
			return
		}
		woken := w.it.woken
		if w.s.putBack(w.it, 0); w.it.woken == 0 {
			w.it.woken = woken
		}
	})
}

// end ends the work; then says how, and is called with the mutex held.
func (w *Work) end(then func()) {
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	w.it.work = nil
	w.s.giveUp(w.it)
	w.s.leave(w.it, []*gate{w.s.inWork})
	w.s.hold(w, -w.held)
	then()
	w.s.change()
}

func (s *Schedule) putBack(it *item, d time.Duration) {
	it.woken = 0
	if it.again {
		d, it.again, it.woken = 0, false, s.now()
	}
	s.push(it, d)
}
