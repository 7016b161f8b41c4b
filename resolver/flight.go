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

// leave counts one waiter out and reports whether he was the last.
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
