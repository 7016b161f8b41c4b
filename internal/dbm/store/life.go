package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"postoffice/internal/maillog"
)

const (
	maxReads  = 8               // readers at once; a disk that hangs keeps no more goroutines than these
	maxScans  = 2               // of those that read much, which keep nobody else waiting
	maxRead   = 256             // records that one of them reads at a time
	stallWait = time.Second     // for a write: one that takes longer lets nobody wait behind it
	closeWait = 2 * time.Second // for what is under way when the store is closed: behind that it is cut off
)

// engine keeps records.
type engine interface {
	get(key string) (value string, there bool, err error)
	scan(prefix, from string, each func(key, value []byte) bool) error
	write(map[string]write) error // returns when they are on disk
	full() bool                   // nothing may be written for want of room
	stuck() <-chan struct{}       // closed while a write waits for room
	close() error                 // lets go of the store when nothing is under way
	abandon() error               // lets go of it whatever is under way
}

// record is one that was read.
type record struct{ key, value string }

// life is a store from its opening to its end.
type life struct {
	dir     string
	options Options
	engine  engine

	reads, scans chan struct{} // places
	changes      chan *request
	down         chan struct{}  // closed at its end
	work         sync.WaitGroup // the goroutine that makes changes
	writing      atomic.Int64   // when the write began that is under way, in milliseconds since 1970; 0: none is

	mu   sync.Mutex // guards what follows
	gone error      // why it has ended
}

// newLife opens the store in dir.
func newLife(dir string, o Options) (*life, error) {
	l := &life{
		dir: dir, options: o,
		reads: make(chan struct{}, maxReads), scans: make(chan struct{}, maxScans),
		changes: make(chan *request, maxQueue),
		down:    make(chan struct{}),
	}
	var err error
	if l.engine, err = openEngine(l); err != nil {
		return nil, err
	}
	l.work.Go(l.changeAll)
	return l, nil
}

// end makes every call return why, those that wait too. It reports whether it is the
// first one to do so.
func (l *life) end(why error) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.gone != nil {
		return false
	}
	l.gone = why
	close(l.down)
	return true
}

// lost ends it because it can't be written any more.
func (l *life) lost(err error) {
	if err = fmt.Errorf("%w: %w", ErrLost, err); l.end(err) {
		l.options.Log.LogAttrs(context.Background(), slog.LevelError, "store lost", maillog.File(l.dir), maillog.Err(err))
	}
}

// err is why it has ended, nil before.
func (l *life) err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.gone
}

// close lets go of the store. What is under way for long is cut off.
func (l *life) close() error {
	if !l.end(ErrClosed) && l.err() != ErrClosed && !errors.Is(l.err(), ErrDamaged) {
		return l.engine.abandon()
	}
	done := make(chan error, 1)
	go func() {
		l.work.Wait()
		for range maxReads { // those that are under way
			l.reads <- struct{}{}
		}
		for range maxScans {
			l.scans <- struct{}{}
		}
		done <- l.engine.close()
	}()
	timer := time.NewTimer(closeWait)
	defer timer.Stop()
	select {
	case err := <-done:
		return err
	case <-l.engine.stuck():
	case <-timer.C:
	}
	return l.engine.abandon()
}

// within bounds a call.
func within(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, maxWait)
}

// late is why a call ended by its context.
func late(ctx context.Context) error {
	if err := ctx.Err(); err == context.Canceled {
		return err
	}
	return fmt.Errorf("%w: %w", ErrLate, context.DeadlineExceeded)
}

func (l *life) get(ctx context.Context, key string) (value string, there bool, err error) {
	type got struct {
		value string
		there bool
	}
	g, err := read(ctx, l, l.reads, func() (g got, err error) {
		g.value, g.there, err = l.engine.get(key)
		return g, err
	})
	return g.value, g.there, err
}

// some are the next records whose keys begin with prefix, from one on.
func (l *life) some(ctx context.Context, prefix, from string) ([]record, error) {
	return read(ctx, l, l.scans, func() (all []record, err error) {
		err = l.engine.scan(prefix, from, func(key, value []byte) bool {
			all = append(all, record{string(key), string(value)})
			return len(all) < maxRead
		})
		return all, err
	})
}

// read does something with the engine in a place of its own. It may go on when nobody
// waits for it any more.
func read[T any](ctx context.Context, l *life, places chan struct{}, f func() (T, error)) (none T, err error) {
	if err := l.err(); err != nil {
		return none, err
	}
	select {
	case places <- struct{}{}:
	case <-ctx.Done():
		return none, late(ctx)
	case <-l.down:
		return none, l.err()
	}
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	go func() {
		defer func() { <-places }()
		var r result
		defer func() { done <- r }()
		defer l.caught(&r.err)
		r.value, r.err = f()
	}()
	select {
	case r := <-done:
		return r.value, r.err
	case <-ctx.Done():
		return none, late(ctx)
	case <-l.down:
		return none, l.err()
	}
}

// caught makes an error of a panic of the engine's: some of its checks of what it reads
// are assertions.
func (l *life) caught(err *error) {
	if r := recover(); r != nil {
		*err = l.damaged(fmt.Errorf("%v", r))
	}
}

// damaged is an error of what can't be read.
func (l *life) damaged(err error) error { return &DamageError{l.dir, l.options.Mend, err} }

// checkRecord refuses what is too long.
func checkRecord(key, value string) error {
	if len(key) > MaxKey || len(value) > MaxValue {
		return fmt.Errorf("%w: %d and %d octets, at most %d and %d fit", ErrTooLong, len(key), len(value), MaxKey, MaxValue)
	}
	return nil
}
