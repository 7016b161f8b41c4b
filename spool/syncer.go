package spool

import (
	"sync"

	"postoffice/internal/disk"
)

// syncer makes one directory sync serve all who asked before it began. The
// first to ask leads: it waits for the sync that is running, if any, and what
// others have asked by then it does for them.
type syncer struct {
	dir  disk.Dir
	turn chan struct{} // holds one while a leader syncs

	mu   sync.Mutex
	next *round // has not begun; nil: nobody waits
}

func newSyncer(d disk.Dir) *syncer {
	return &syncer{dir: d, turn: make(chan struct{}, 1)}
}

// round is one directory sync.
type round struct {
	done chan struct{}
	err  error // valid when done is closed
	lost bool  // the sync before it failed when its members had changed names already
}

// sync returns when the directory's names, as they are now, are durable.
func (s *syncer) sync() error {
	s.mu.Lock()
	r := s.next
	if r != nil {
		s.mu.Unlock()
		<-r.done
		return r.err
	}
	r = &round{done: make(chan struct{})}
	s.next = r
	s.mu.Unlock()

	s.turn <- struct{}{}
	defer func() { <-s.turn }()
	s.mu.Lock()
	s.next = nil
	lost := r.lost
	s.mu.Unlock()
	if lost {
		r.err = errLostSync
	} else if r.err = s.dir.Sync(); r.err != nil {
		// What the next round's members changed may have been dropped with
		// this one's: their sync would find nothing to do, and succeed (A29).
		s.mu.Lock()
		if s.next != nil {
			s.next.lost = true
		}
		s.mu.Unlock()
	}
	close(r.done)
	return r.err
}
