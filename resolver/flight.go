package resolver

import (
	"context"
	"sync"
)

// flights merges equal questions asked at the same time into one.
type flights struct {
	mu     sync.Mutex
	flying map[question]*flight
}

type flight struct {
	done    chan struct{} // closed once answer and err are set
	cancel  context.CancelFunc
	waiters int // guarded by flights.mu
	answer  answer
	err     error
}

// do returns what ask returns, running it once for all who wait for q. ask's
// context ends when the last of them has lost patience.
func (f *flights) do(ctx context.Context, q question, ask func(context.Context) (answer, error)) (answer, error) {
	c := f.join(ctx, q, ask)
	select {
	case <-c.done:
		return c.answer, c.err
	case <-ctx.Done():
	}
	if f.leave(q, c) {
		<-c.done // soon: its context has ended
	}
	return answer{}, temporary(q, "gave up waiting", context.Cause(ctx))
}

func (f *flights) join(ctx context.Context, q question, ask func(context.Context) (answer, error)) *flight {
	f.mu.Lock()
	defer f.mu.Unlock()
	c := f.flying[q]
	if c == nil {
		shared, cancel := context.WithCancel(context.WithoutCancel(ctx))
		c = &flight{done: make(chan struct{}), cancel: cancel}
		if f.flying == nil {
			f.flying = map[question]*flight{}
		}
		f.flying[q] = c
		go func() {
			defer close(c.done)
			defer cancel()
			c.answer, c.err = ask(shared)
			f.land(q, c)
		}()
	}
	c.waiters++
	return c
}

// leave counts one waiter out and reports whether it was the last.
func (f *flights) leave(q question, c *flight) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	c.waiters--
	if c.waiters > 0 {
		return false
	}
	c.cancel()
	if f.flying[q] == c {
		delete(f.flying, q)
	}
	return true
}

func (f *flights) land(q question, c *flight) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.flying[q] == c {
		delete(f.flying, q)
	}
}

// So many questions are under way at a time, each with a socket: those about where
// mail goes and those about the names of clients don't wait for each other.
const (
	maxMailQuestions   = 192 // under way about where mail goes: 96 domains may ask, each for A and AAAA at a time
	maxClientQuestions = 64  // under way about the names of clients
)

// places are for questions that are under way. Whoever finds none waits, in turn.
type places chan struct{}

// ask puts q to the servers once there is a place. The wait is no part of the
// question's time.
func (p places) ask(ctx context.Context, r *Resolver, q question) (answer, error) {
	select {
	case p <- struct{}{}:
	case <-ctx.Done():
		return answer{}, temporary(q, "no place for a question in time", context.Cause(ctx))
	}
	defer func() { <-p }()
	return r.ask(ctx, q)
}
