package peer

import "sync"

// A Room counts who is inside, in all and for each key, as a uid. The zero
// Room is empty.
type Room[K comparable] struct {
	mu   sync.Mutex // guards what follows
	all  int
	each map[K]int
}

// Enter takes a place for k, if fewer than all are taken, and by k fewer than
// each. A negative limit is none.
func (r *Room[K]) Enter(k K, all, each int) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.enter(k, all, each)
}

// EnterShare takes a place for k, if fewer than all are taken, and with it k has at
// most one of part places that the others leave. So whoever comes next finds one,
// however many those before have asked for; where fewer than part are left, one is
// a share.
func (r *Room[K]) EnterShare(k K, all, part int) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.enter(k, all, max((all-r.all+r.each[k])/part, 1))
}

func (r *Room[K]) enter(k K, all, each int) bool {
	if all >= 0 && r.all >= all || each >= 0 && r.each[k] >= each {
		return false
	}
	if r.each == nil {
		r.each = map[K]int{}
	}
	r.all++
	r.each[k]++
	return true
}

// Inside returns how many places are taken.
func (r *Room[K]) Inside() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.all
}

// InsideOf returns how many of them k has.
func (r *Room[K]) InsideOf(k K) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.each[k]
}

// Leave gives a place of k's back. Keys without a place are forgotten.
func (r *Room[K]) Leave(k K) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all--
	if r.each[k]--; r.each[k] <= 0 {
		delete(r.each, k)
	}
}
