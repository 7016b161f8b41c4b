package shares

import (
	"context"
	"fmt"
	"sync"
	"time"
	"unique"

	"postoffice/internal/peer"
)

const (
	// countWait is how long whoever brings mail waits at the start until it is known
	// what is in the queue; of a long queue the rest is found meanwhile.
	countWait = 5 * time.Second

	// block is what a file takes of most disks at least, in octets, and what it is a
	// multiple of.
	block = 4 << 10
)

// A Ledger is a spool.Tally. Its methods may be called by any goroutine.
type Ledger struct {
	held  peer.Held
	who   *Who
	known chan struct{} // closed when Count is through, or has taken long

	mu       sync.Mutex // guards what follows
	messages map[key]entry
	gone     map[key]struct{} // while Count reads: what went meanwhile
}

// key is a queue ID without a pointer: there may be millions.
type key [len("0123456789ABCD")]byte

func keyOf(id string) (k key) {
	copy(k[:], id)
	return k
}

// entry is a message that counts for somebody.
type entry struct {
	holder unique.Handle[peer.Holder]
	octets int64 // in whole blocks
}

// New returns a Ledger that knows no message. Count is to be called for what is in
// the queue already.
func New(who *Who) *Ledger {
	return &Ledger{who: who, known: make(chan struct{}), messages: map[key]entry{}, gone: map[key]struct{}{}}
}

// blocks are the octets that a file takes.
func blocks(octets int64) int64 { return (octets + block - 1) &^ (block - 1) }

// Came counts a message.
func (l *Ledger) Came(id, client string, octets int64) {
	l.count(id, l.who.Holder(client), octets, false)
}

func (l *Ledger) count(id string, h peer.Holder, octets int64, found bool) {
	if !h.Counted() {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	k := keyOf(id)
	if found {
		_, gone := l.gone[k]
		if _, counted := l.messages[k]; gone || counted {
			return
		}
	}
	l.drop(k)
	e := entry{unique.Make(h), blocks(octets)}
	l.messages[k] = e
	l.held.Add(h, peer.Amount{Octets: e.octets, Files: 1})
}

// Grew counts what was added to a message.
func (l *Ledger) Grew(id string, octets int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e, counted := l.messages[keyOf(id)]
	if more := blocks(octets) - e.octets; counted && more != 0 {
		e.octets += more
		l.messages[keyOf(id)] = e
		l.held.Add(e.holder.Value(), peer.Amount{Octets: more})
	}
}

// Went takes a message back, if it was counted.
func (l *Ledger) Went(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.drop(keyOf(id))
	if l.gone != nil {
		l.gone[keyOf(id)] = struct{}{}
	}
}

// drop takes back what was counted. The caller holds mu.
func (l *Ledger) drop(k key) {
	if e, counted := l.messages[k]; counted {
		delete(l.messages, k)
		l.held.Add(e.holder.Value(), peer.Amount{Octets: -e.octets, Files: -1})
	}
}

// Count counts the messages that were there before, once, until ctx ends. each goes
// through them, as spool.Queue.EachHead does; an error says what could not be read.
func (l *Ledger) Count(ctx context.Context, each func(yield func(id, client string, octets int64) bool) error) error {
	var once sync.Once
	open := func() { once.Do(func() { close(l.known) }) }
	defer func() {
		open()
		l.mu.Lock()
		l.gone = nil
		l.mu.Unlock()
	}()
	defer time.AfterFunc(countWait, open).Stop()
	err := each(func(id, client string, octets int64) bool {
		l.count(id, l.who.Holder(client), octets, true)
		return ctx.Err() == nil
	})
	if err != nil {
		return fmt.Errorf("count the queue: %w", err)
	}
	return ctx.Err()
}

// Held returns what everybody has. It waits until Count is through, but not longer
// than 5 seconds from its begin, or until ctx ends.
func (l *Ledger) Held(ctx context.Context) *peer.Held {
	select {
	case <-l.known:
	case <-ctx.Done():
	}
	return &l.held
}
