package hashes

import (
	"context"
	"runtime"
	"sync"

	"postoffice/internal/turns"
)

const (
	poolMemory = 128 << 20 // octets of all hashes that are compared at once
	maxWaiting = 200       // that wait for their turn: of one network as many as others leave it
)

// A Pool compares hashes: one processor is left to others, memory has a bound, and whose
// turn is next goes round the networks that wait, so that guesses from one keep nobody
// else from logging in. All may wait from one network, as a host of webmail's; one from
// another takes the place of the last that came from whichever has most. The zero Pool is
// ready.
type Pool struct {
	once sync.Once // makes line
	line turns.Line
}

// Match is Hash.Match in its turn. who is whom the question is from: an address's
// network. The error is turns.ErrBusy or the context's.
func (p *Pool) Match(ctx context.Context, who string, h Hash, password string) (bool, error) {
	p.once.Do(func() {
		p.line.Waiting = maxWaiting
		p.line.Limits = func() (int, int64) { return max(runtime.GOMAXPROCS(0)-1, 1), poolMemory }
	})
	if err := p.line.Enter(ctx, who, h.memory); err != nil {
		return false, err
	}
	defer p.line.Leave(who, h.memory)
	return h.Match(password), nil
}
