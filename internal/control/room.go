package control

import "sync"

// room counts who is served, in all and for each uid. Root is never turned
// away, and so not counted.
type room struct {
	most, each int

	mu     sync.Mutex // guards what follows
	all    int
	perUID map[int]int
}

func newRoom(most, each int) room {
	return room{most: most, each: each, perUID: map[int]int{}}
}

// enter takes a place, if there is one.
func (r *room) enter(uid int) bool {
	if uid == 0 {
		return true
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.all >= r.most || r.perUID[uid] >= r.each {
		return false
	}
	r.all++
	r.perUID[uid]++
	return true
}

// leave gives the place back.
func (r *room) leave(uid int) {
	if uid == 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all--
	if r.perUID[uid]--; r.perUID[uid] == 0 {
		delete(r.perUID, uid)
	}
}
