package deliver

import (
	"container/heap"
	"math/rand/v2"
	"time"

	"postoffice/spool"
)

// delays is the wait after the first attempts; after later ones it is the
// last of them.
var delays = [...]time.Duration{5 * time.Minute, 10 * time.Minute, 20 * time.Minute, 40 * time.Minute, time.Hour}

const maxDelay = 72 * time.Minute // the last of delays and its fifth

// retryDelay is the wait after attempt number n, counted from 1, give or take
// a fifth of it, so that what failed together does not come back together.
func retryDelay(n int) time.Duration {
	d := delays[min(max(n, 1), len(delays))-1]
	return d*4/5 + rand.N(d*2/5+1)
}

// itemState says where an item is.
type itemState uint8

const (
	waiting itemState = iota // in the heap, until it is due
	fresh                    // in the list of arrivals, or ready
	active                   // a goroutine works on it
	parked                   // a busy destination has it
	aside                    // its record failed: not touched again (A38)
)

// An item is a message as the schedule knows it.
type item struct {
	id     spool.ID
	due    int64 // nanoseconds of the schedule's clock
	index  int32 // place in the heap
	state  itemState
	again  bool          // woken while active
	ticket *gate         // where it has a place
	called chan struct{} // of the attempt that is made: it waits for gates too
	at     []*gate       // where it stands in the list of parked messages
	// force: attempts before this time, of the schedule's clock, do not count.
	force   int64
	reroute bool // the next attempt is to send what is pending where the files say now
}

// schedule knows every message of the queue by its ID and the time when it is
// due. Time is a monotonic clock's: setting the wall clock moves nothing
// (hostile.md A40). The Runner's mutex guards it.
type schedule struct {
	start    time.Time // of the clock
	items    map[spool.ID]*item
	heap     dueHeap
	arrivals []*item
	ready    []*item // were parked and have a place now: they go first
	turn     bool    // whether an arrival goes before what is due
	active   int
	parked   int
}

func newSchedule() schedule {
	return schedule{start: time.Now(), items: map[spool.ID]*item{}}
}

func (s *schedule) now() int64 { return int64(time.Since(s.start)) }

// arrive enters a message that is to be tried at once. One that is being
// worked on will be looked at again; one set aside stays there.
func (s *schedule) arrive(id spool.ID) {
	it := s.items[id]
	if it == nil {
		it = &item{id: id}
		s.items[id] = it
	} else {
		switch it.state {
		case active:
			it.again = true
			return
		case waiting:
			heap.Remove(&s.heap, int(it.index))
		case fresh, parked, aside:
			return
		}
	}
	it.force = s.now() // what its notes said before it was woken does not count
	it.state = fresh
	s.arrivals = append(s.arrivals, it)
}

// know enters a message found in the queue, unless it is known, and says
// whether it was new. Its notes tell later when it is due.
func (s *schedule) know(id spool.ID) bool {
	if s.items[id] != nil {
		return false
	}
	it := &item{id: id, due: s.now()}
	s.items[id] = it
	heap.Push(&s.heap, it)
	return true
}

// next takes the message that is to be worked on now: one that waited for its
// destination, else by turns the eldest arrival and the message longest due.
// nil: there is none.
func (s *schedule) next() *item {
	due := len(s.heap) > 0 && s.heap[0].due <= s.now()
	s.turn = !s.turn
	var it *item
	switch {
	case len(s.ready) > 0:
		it, s.ready = shift(s.ready)
	case len(s.arrivals) > 0 && (s.turn || !due):
		it, s.arrivals = shift(s.arrivals)
	case due:
		it = heap.Pop(&s.heap).(*item)
	default:
		return nil
	}
	it.state = active
	s.active++
	return it
}

// wait is the time until the next message is due, at most limit.
func (s *schedule) wait(limit time.Duration) time.Duration {
	if len(s.arrivals)+len(s.ready) > 0 {
		return 0
	}
	if len(s.heap) == 0 {
		return limit
	}
	return min(max(time.Duration(s.heap[0].due-s.now()), 0), limit)
}

// idle says that nothing is in work and nothing is due.
func (s *schedule) idle() bool {
	return s.active == 0 && s.parked == 0 && s.wait(time.Hour) > 0
}

// putBack ends the work on it; it is due again after d.
func (s *schedule) putBack(it *item, d time.Duration) {
	s.active--
	it.force = 0
	if it.again {
		d, it.again, it.force = 0, false, s.now()
	}
	s.push(it, d)
}

func (s *schedule) push(it *item, d time.Duration) {
	it.state, it.due = waiting, s.now()+int64(d)
	heap.Push(&s.heap, it)
}

// forget ends the work on a message that is no longer in the queue.
func (s *schedule) forget(it *item) {
	s.active--
	if it.again { // it came back under the same name: released, say
		it.again = false
		s.push(it, 0)
		return
	}
	delete(s.items, it.id)
}

// setAside ends the work on a message for the rest of this runner's life.
func (s *schedule) setAside(it *item) {
	s.active--
	it.state, it.again = aside, false
}

// park ends the work on a message that waits for a busy destination.
func (s *schedule) park(it *item) {
	s.active--
	s.parked++
	it.state = parked
}

// unpark makes a parked message the next one.
func (s *schedule) unpark(it *item) {
	s.parked--
	it.state = fresh
	s.ready = append(s.ready, it)
}

func shift[T any](list []*T) (*T, []*T) {
	it := list[0]
	list[0] = nil
	if len(list) == 1 {
		return it, nil
	}
	return it, list[1:]
}

// all makes every waiting message due now, whatever its notes say.
func (s *schedule) all() {
	now := s.now()
	for _, it := range s.items {
		switch it.state {
		case waiting:
			it.due, it.force = min(it.due, now), now
		case active:
			it.again = true
		case fresh, parked:
			it.force = now
		}
	}
	heap.Init(&s.heap)
}

// dueHeap is a container/heap by due time.
type dueHeap []*item

func (h dueHeap) Len() int           { return len(h) }
func (h dueHeap) Less(i, j int) bool { return h[i].due < h[j].due }

func (h dueHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = int32(i), int32(j)
}

func (h *dueHeap) Push(x any) {
	it := x.(*item)
	it.index = int32(len(*h))
	*h = append(*h, it)
}

func (h *dueHeap) Pop() any {
	old := *h
	it := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return it
}
