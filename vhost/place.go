package vhost

import (
	"os"
	"sync"

	"postoffice/internal/disk"
)

const (
	largeSize = 4 << 20 // octets of a passwd file that is not read in a moment
	maxLarge  = 2       // of those that are read at once: the others take turns
)

// place is the passwd file of a domain, and what is known of where its users stand.
type place struct {
	domain string
	size   int           // of index, as it was counted; of the Store's mutex
	turn   chan struct{} // holds one: who is in is reading the file

	mu    sync.Mutex // guards what follows
	index *index     // nil: not made yet, or it can't be
	next  *reading   // the one that has not begun; nil: nobody waits for one
}

// reading is one of a passwd file, for all that ask before it begins: it is as new as
// their questions, however young the file is. The place's turn guards it.
type reading struct {
	over  bool
	info  disk.Info // of what was read
	index *index
	err   error
}

// indexOf returns the index of an open passwd file. Who asks about a domain waits for
// nobody's file but its own; large ones take turns.
func (s *Store) indexOf(f *os.File, info disk.Info, domain string) (*index, error) {
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
func (p *place) join(info disk.Info) (*index, *reading) {
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

// begin says that who asks from now on waits for another reading. It returns the index,
// if the one before has made that of the file.
func (p *place) begin(info disk.Info) *index {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.next = nil
	if p.index != nil && p.index.seen.Is(info) {
		return p.index
	}
	p.index = nil
	return nil
}

// read makes the index of an open passwd file, in its place's turn.
func (s *Store) read(p *place, r *reading, f *os.File, info disk.Info) {
	if info.Size > largeSize {
		s.large <- struct{}{}
		defer func() { <-s.large }()
	}
	r.over, r.info = true, info
	if r.index = p.begin(info); r.index != nil {
		return
	}
	r.index, r.err = newIndex(f, disk.VersionOf(info), info.Size)
	if r.err == nil {
		r.err = unchanged(f, info)
	}
	if r.err != nil {
		return
	}
	p.mu.Lock()
	p.index = r.index
	p.mu.Unlock()
	s.count(p, len(r.index.at))
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
func (s *Store) count(p *place, users int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.places[p.domain]; e == nil || e.Value != p {
		return // it was forgotten meanwhile
	}
	s.indexed += users - p.size
	p.size = users
	for (s.indexed > maxIndexed || s.recent.Len() > maxKept) && s.recent.Len() > 1 {
		last := s.recent.Back()
		old := s.recent.Remove(last).(*place)
		delete(s.places, old.domain)
		s.indexed -= old.size
		old.size = 0
	}
}
