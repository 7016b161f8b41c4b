package vhost

import (
	"os"
	"sync"

	"postoffice/internal/disk"
	"postoffice/vhost/index"
)

const (
	largeSize = 4 << 20 // octets of a passwd file that is not read in a moment: its index is kept
	maxLarge  = 2       // of those that are read at once: the others take turns
)

// place is the passwd file of a domain, and what is known of where its users stand.
type place struct {
	domain string
	size   int           // of index, as it was counted; of the Store's mutex
	turn   chan struct{} // holds one: who is in is reading the file

	mu     sync.Mutex // guards what follows
	index  *userIndex // nil: not made yet, or it can't be
	next   *reading   // the one that has not begun; nil: nobody waits for one
	spoilt int        // indexes in files that were found damaged while they were used
}

// reading is one of a passwd file, for all that ask before it begins: it is as new as
// their questions, however young the file is. The place's turn guards it.
type reading struct {
	over  bool
	info  disk.Info // of what was read
	index *userIndex
	err   error
}

// indexOf returns the index of an open passwd file. Who asks about a domain waits for
// nobody's file but its own; large ones take turns.
func (s *Store) indexOf(f *os.File, info disk.Info, domain string) (*userIndex, error) {
	p := s.place(domain)
	x, r := p.join(info)
	if x != nil {
		return x, nil
	}
	p.turn <- struct{}{}
	defer func() { <-p.turn }()
	if !r.over {
		s.read(p, r, f, info)
	}
	if r.err == nil && !r.info.Unchanged(info) {
		return nil, errChanged
	}
	return r.index, r.err
}

// join returns the index, if it is that of a file, else the reading to wait for.
func (p *place) join(info disk.Info) (*userIndex, *reading) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.index != nil && p.index.seen.Is(info) {
		return p.index, nil
	}
	if p.next == nil {
		p.next = &reading{}
	}
	return nil, p.next
}

// begin says that who asks from now on waits for another reading, and that this is the
// index; nil: it isn't known yet.
func (p *place) begin(x *userIndex) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.next = nil
	p.use(x)
}

// set puts an index in the place of the one that there was.
func (p *place) set(x *userIndex) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.use(x)
}

// use is set for whoever holds mu. Who is still searching in the one before goes on.
func (p *place) use(x *userIndex) {
	if p.index != nil && p.index != x {
		p.index.at.Close()
	}
	p.index = x
}

// read makes the index of an open passwd file, in its place's turn, or opens the one that
// was kept.
func (s *Store) read(p *place, r *reading, f *os.File, info disk.Info) {
	x := p.current(info)
	if x == nil && info.Size > largeSize {
		if x = s.openKept(p, info); x == nil {
			s.large <- struct{}{}
			defer func() { <-s.large }()
		}
	}
	r.over, r.info = true, info
	p.begin(x)
	if r.index = x; x == nil {
		if r.index, r.err = s.makeIndex(p, f, info); r.err != nil {
			return
		}
		p.set(r.index)
	}
	s.count(p, r.index.at)
}

// current returns the index, if it is that of a file.
func (p *place) current(info disk.Info) *userIndex {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.index != nil && p.index.seen.Is(info) {
		return p.index
	}
	return nil
}

// makeIndex reads an open passwd file. The index of a large one that isn't too young to
// tell a change is kept.
func (s *Store) makeIndex(p *place, f *os.File, info disk.Info) (*userIndex, error) {
	x, err := newIndex(f, disk.VersionOf(info), info.Size, s.key)
	if err == nil {
		err = unchanged(f, info)
	}
	if err != nil {
		return nil, err
	}
	if info.Size > largeSize && x.seen.Is(info) {
		s.keep(p, x, info)
	}
	return x, nil
}

// place returns that of a domain, in front of the others.
func (s *Store) place(domain string) *place {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.places[domain]
	if e == nil {
		e = s.recent.PushFront(&place{domain: domain, turn: make(chan struct{}, 1)})
		s.places[domain] = e
	}
	s.recent.MoveToFront(e)
	return e.Value.(*place)
}

// count counts a new index, and forgets those that were not asked for longest where
// they are too many.
func (s *Store) count(p *place, at *index.Table) {
	weight := at.Len()
	if at.InFile() {
		weight = fileWeight
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.places[p.domain]; e == nil || e.Value != p {
		p.set(nil) // it was forgotten meanwhile
		return
	}
	s.indexed += weight - p.size
	p.size = weight
	for (s.indexed > maxIndexed || s.recent.Len() > maxKept) && s.recent.Len() > 1 {
		last := s.recent.Back()
		old := s.recent.Remove(last).(*place)
		delete(s.places, old.domain)
		s.indexed -= old.size
		old.size = 0
		old.set(nil)
	}
}
