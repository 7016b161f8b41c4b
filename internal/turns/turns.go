package turns

import (
	"context"
	"errors"
	"slices"
	"sync"
)

// ErrBusy: too many wait already.
var ErrBusy = errors.New("too many wait for this already")

// A Line lets some in at once, and whose turn is next goes round those from whom others
// wait, so that one who comes often keeps nobody else out. All may wait from one; another
// takes the place of the last that came from whoever has most.
type Line struct {
	// Limits are how many are inside at once, and what they may weigh together.
	Limits func() (places int, weight int64)
	// Waiting is how many wait at most: from one as many as others leave.
	Waiting int
	// Each is how many of one are inside at once; 0: as many as there are places.
	Each int

	mu      sync.Mutex // guards what follows
	running int
	weight  int64          // of them
	inside  map[string]int // of them, by whom they are from, if Each says so
	waiting []*waiter      // in the order in which they came
	served  []string       // the one who was served last behind the others
}

// waiter is one that has to wait.
type waiter struct {
	who    string
	weight int64
	turn   chan struct{} // closed when it may go in
	gone   chan struct{} // closed when its place is another's
}

// Enter waits for a place. who is from whom the question is. The error is ErrBusy or the
// context's; after nil Leave gives the place back.
func (l *Line) Enter(ctx context.Context, who string, weight int64) error {
	w := &waiter{who, weight, make(chan struct{}), make(chan struct{})}
	l.mu.Lock()
	if l.fits(w) && !slices.ContainsFunc(l.waiting, func(o *waiter) bool { return !l.full(o.who) }) {
		l.begin(w)
		l.mu.Unlock()
		return nil
	}
	if len(l.waiting) >= l.Waiting && !l.makeRoom(who) {
		l.mu.Unlock()
		return ErrBusy
	}
	l.waiting = append(l.waiting, w)
	l.mu.Unlock()
	select {
	case <-w.turn:
		return nil
	case <-w.gone:
		return ErrBusy
	case <-ctx.Done():
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-w.turn:
		l.end(w.who, w.weight)
	default:
		l.waiting = slices.DeleteFunc(l.waiting, func(o *waiter) bool { return o == w })
	}
	return ctx.Err()
}

// makeRoom sends the last of those away from whom most wait, where those are at
// least two more than from who.
func (l *Line) makeRoom(who string) bool {
	n := map[string]int{}
	most := who
	for _, w := range l.waiting {
		if n[w.who]++; n[w.who] > n[most] {
			most = w.who
		}
	}
	if n[most] < n[who]+2 {
		return false
	}
	for i := len(l.waiting) - 1; ; i-- {
		if w := l.waiting[i]; w.who == most {
			l.waiting = slices.Delete(l.waiting, i, i+1)
			close(w.gone)
			return true
		}
	}
}

// Leave gives a place back, with what Enter was told.
func (l *Line) Leave(who string, weight int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.end(who, weight)
}

// Inside is how many have a place, and Outside how many wait for one.
func (l *Line) Inside() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.running
}

func (l *Line) Outside() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.waiting)
}

// fits reports whether there is a place: the first may have any weight.
func (l *Line) fits(w *waiter) bool {
	places, most := l.Limits()
	return l.running < places && (l.running == 0 || l.weight+w.weight <= most) && !l.full(w.who)
}

// full reports whether one has all places inside that one may have.
func (l *Line) full(who string) bool { return l.Each > 0 && l.inside[who] >= l.Each }

func (l *Line) begin(w *waiter) {
	l.running++
	l.weight += w.weight
	if l.Each > 0 {
		if l.inside == nil {
			l.inside = map[string]int{}
		}
		l.inside[w.who]++
	}
	if i := slices.Index(l.served, w.who); i >= 0 {
		l.served = slices.Delete(l.served, i, i+1)
	}
	l.served = append(l.served, w.who)
	if len(l.served) > l.Waiting {
		l.served = slices.Delete(l.served, 0, 1)
	}
}

// end takes one away, and begins whoever can: of those that wait, but for whom all
// places of one are taken, the one who was served longest ago. Others don't pass one
// that is too heavy, whose turn would never come.
func (l *Line) end(who string, weight int64) {
	l.running--
	l.weight -= weight
	if l.inside[who] > 1 {
		l.inside[who]--
	} else {
		delete(l.inside, who)
	}
	for {
		next := -1
		for i, w := range l.waiting {
			if l.full(w.who) {
				continue
			}
			if next < 0 || slices.Index(l.served, w.who) < slices.Index(l.served, l.waiting[next].who) {
				next = i
			}
		}
		if next < 0 || !l.fits(l.waiting[next]) {
			return
		}
		w := l.waiting[next]
		l.waiting = slices.Delete(l.waiting, next, next+1)
		l.begin(w)
		close(w.turn)
	}
}
