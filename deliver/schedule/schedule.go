package schedule

import (
	"container/heap"
	"sync"
	"time"

	"postoffice/spool"
)

// MaxActive is how many messages are in work at one time: more than all gates
// let through together, so that some can always be begun.
const MaxActive = 2000

// A Schedule knows every message of the queue by its ID and the time when it
// is due, and the gates before all that mail is going to or has gone to
// lately. Its methods may be called by any goroutine at any time.
type Schedule struct {
	changed chan struct{} // of one: something may be due now, or has ended

	mu       sync.Mutex
	start    time.Time // of the schedule's clock
	items    map[spool.ID]*item
	heap     dueHeap
	arrivals line
	called   []*item // from a gate's line: they go first
	turn     bool    // whether an arrival goes before what is due
	inWork   *gate   // All(InWork)
	memory   *gate   // All(Recipients)
	inLine   int
	gates    map[Gate]*gate
	sweepAt  int // so many gates: forget idle ones
	clock    clock
}

// New returns a Schedule that knows no message.
func New() *Schedule {
	s := &Schedule{
		changed: make(chan struct{}, 1),
		start:   time.Now(),
		items:   map[spool.ID]*item{},
		gates:   map[Gate]*gate{},
		sweepAt: sweepFrom,
	}
	s.inWork, s.memory = s.gate(All(InWork)), s.gate(All(Recipients))
	s.inWork.behind, s.memory.behind = 1, 1 // never forgotten
	return s
}

// Changed returns a channel that receives after what may have made a message
// due, and after the end of each Work.
func (s *Schedule) Changed() <-chan struct{} { return s.changed }

func (s *Schedule) change() {
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// now is the time of the schedule's clock, never 0.
func (s *Schedule) now() int64 { return int64(time.Since(s.start)) + 1 }

// Arrive enters a message that is to be tried at once. One that is being
// worked on will be looked at again; one set aside stays there. With reroute
// the next attempt sends what is pending where the files say then. submitter is
// who it comes from, "" if that is not known here.
func (s *Schedule) Arrive(id spool.ID, submitter string, reroute bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.arrive(id, submitter)
	it := s.items[id]
	it.reroute = it.reroute || reroute
	s.change()
}

func (s *Schedule) arrive(id spool.ID, submitter string) {
	it := s.items[id]
	if it == nil {
		it = &item{id: id, submitter: submitter}
		s.items[id] = it
	} else {
		switch it.state {
		case active:
			it.again = true
			return
		case waiting:
			heap.Remove(&s.heap, int(it.index))
		case fresh, inLine, aside:
			return
		}
	}
	it.woken = s.now() // what its notes said before it was woken does not count
	it.state = fresh
	s.arrivals.push(it)
}

// Know enters a message found in the queue, due now, and returns whether it
// was new. Its notes tell later when it is due. reroute is as for Arrive, and
// only for a new one.
func (s *Schedule) Know(id spool.ID, reroute bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.items[id] != nil {
		return false
	}
	it := &item{id: id, due: s.now(), reroute: reroute}
	s.items[id] = it
	heap.Push(&s.heap, it)
	return true
}

// SetAside keeps a message that nobody works on from ever being handed out.
func (s *Schedule) SetAside(id spool.ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.items[id] == nil {
		s.items[id] = &item{id: id, state: aside}
	}
}

// WakeAll makes every waiting message due now, whatever its notes say.
func (s *Schedule) WakeAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	for _, it := range s.items {
		switch it.state {
		case waiting:
			it.due, it.woken = min(it.due, now), now
		case active:
			it.again = true
		case fresh, inLine:
			it.woken = now
		}
	}
	heap.Init(&s.heap)
	s.change()
}

// Next hands out the message that is to be worked on now: one that was called
// from a gate's line, else by turns an arrival, which the submitters have by turns
// as well, and the message longest due. A message whose submitter has a share of
// what is in work already waits for another one of theirs to end. nil: there is
// none, or enough are in work.
func (s *Schedule) Next() *Work {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.inWork.inside < MaxActive {
		it, called := s.candidate()
		if it == nil {
			return nil
		}
		if it.reserved == s.inWork {
			s.inWork.enter(it)
		} else if !called && s.inWork.shareFull(it) {
			s.inLine++
			it.state = inLine
			s.stand(it, []Gate{All(InWork)}, nil)
			continue
		} else {
			s.inWork.inside++
			s.inWork.count(it.submitter, +1)
		}
		it.state = active
		it.work = &Work{ID: it.id, s: s, it: it, called: make(chan struct{}, 1)}
		return it.work
	}
	return nil
}

// candidate takes the message whose turn it is.
func (s *Schedule) candidate() (it *item, called bool) {
	due := len(s.heap) > 0 && s.heap[0].due <= s.now()
	s.turn = !s.turn
	switch {
	case len(s.called) > 0:
		it, s.called = shift(s.called)
		return it, true
	case s.arrivals.n > 0 && (s.turn || !due):
		return s.arrivals.pop(anyItem), false
	case due:
		return heap.Pop(&s.heap).(*item), false
	}
	return nil, false
}

// Wait returns the time until Next may have a message, at most limit, if
// nothing changes before.
func (s *Schedule) Wait(limit time.Duration) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.inWork.inside >= MaxActive {
		return limit
	}
	return s.wait(limit)
}

func (s *Schedule) wait(limit time.Duration) time.Duration {
	if s.arrivals.n+len(s.called) > 0 {
		return 0
	}
	if len(s.heap) == 0 {
		return limit
	}
	return min(max(time.Duration(s.heap[0].due-s.now()), 0), limit)
}

// Idle reports whether nothing is in work and nothing is due.
func (s *Schedule) Idle() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.inWork.inside == 0 && s.inLine == 0 && s.wait(time.Hour) > 0
}

// Count returns how many messages are in work, and how many wait at gates
// with nothing else to do.
func (s *Schedule) Count() (active, inLine int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.inWork.inside, s.inLine
}

// Active reports whether a message is being worked on.
func (s *Schedule) Active(id spool.ID) bool { return s.is(id, active) }

// Aside reports whether a message was set aside.
func (s *Schedule) Aside(id spool.ID) bool { return s.is(id, aside) }

func (s *Schedule) is(id spool.ID, st state) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	it := s.items[id]
	return it != nil && it.state == st
}

// push puts an item into the heap; it is due after d.
func (s *Schedule) push(it *item, d time.Duration) {
	it.state, it.due = waiting, s.now()+int64(d)
	heap.Push(&s.heap, it)
}
