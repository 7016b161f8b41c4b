package auth

import (
	"context"
	"sync"
)

// shares are those that each domain has of the questions under way.
type shares struct {
	mu   sync.Mutex // guards what follows
	each map[string]*share
}

// share is that of a domain.
type share struct {
	under chan struct{}
	users int // that are under way or wait; of the mutex
}

// enter waits until a question about a domain may be asked; leave says that it is over.
func (s *shares) enter(ctx context.Context, domain string) (leave func(), err error) {
	s.mu.Lock()
	own := s.each[domain]
	if own == nil {
		if s.each == nil {
			s.each = map[string]*share{}
		}
		own = &share{under: make(chan struct{}, maxOne)}
		s.each[domain] = own
	}
	own.users++
	s.mu.Unlock()
	select {
	case own.under <- struct{}{}:
		return func() { <-own.under; s.leave(domain, own) }, nil
	case <-ctx.Done():
		s.leave(domain, own)
		return nil, context.Cause(ctx)
	}
}

func (s *shares) leave(domain string, own *share) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if own.users--; own.users == 0 {
		delete(s.each, domain)
	}
}
