package store

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// stalling is an engine whose calls wait until it is told to go on.
type stalling struct {
	reads, writes chan struct{} // closed: they go on
	noRoom        chan struct{} // closed: a write waits for room
	abandoned     bool
}

func newStalling() *stalling {
	return &stalling{make(chan struct{}), make(chan struct{}), make(chan struct{}), false}
}

func (e *stalling) get(string) (string, bool, error) { <-e.reads; return "", false, nil }
func (e *stalling) scan(_, _ string, _ func(key, value []byte) bool) error {
	<-e.reads
	return nil
}
func (e *stalling) write(map[string]write) error { <-e.writes; return nil }
func (e *stalling) full() bool                   { return false }
func (e *stalling) stuck() <-chan struct{}       { return e.noRoom }
func (e *stalling) close() error                 { return nil }
func (e *stalling) abandon() error               { e.abandoned = true; return nil }

// opened is a store on an engine.
func opened(e engine) *Store {
	s := newStore("/dir", Options{})
	l := &life{dir: s.dir, options: s.options, engine: e,
		reads: make(chan struct{}, maxReads), scans: make(chan struct{}, maxScans),
		changes: make(chan *request, maxQueue), down: make(chan struct{})}
	l.work.Go(l.changeAll)
	s.live(l)
	close(s.tried)
	return s
}

// TestHang: with a disk that never answers each call ends with its context, or at the
// longest wait; those behind a write that hangs don't wait at all; and no more goroutines
// are left than there are places.
func TestHang(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newStalling()
		s := opened(e)
		p := s.Part("")
		calls := map[string]func(context.Context) error{
			"Get":    func(ctx context.Context) error { _, _, err := p.Get(ctx, "k"); return err },
			"Scan":   func(ctx context.Context) error { return p.Scan(ctx, "", func(string, string) bool { return true }) },
			"Update": func(ctx context.Context) error { return p.Update(ctx, "k", to("v")) },
		}
		for name, call := range calls {
			for _, wait := range []time.Duration{time.Second / 2, time.Hour} {
				ctx, cancel := context.WithTimeout(t.Context(), wait)
				began := time.Now()
				err := call(ctx)
				cancel()
				want := min(wait, maxWait)
				if name == "Update" && wait == time.Hour {
					want = 0 // it isn't let in
				}
				if took := time.Since(began); !errors.Is(err, ErrLate) || took > want {
					t.Errorf("%s with %v: %v after %v", name, wait, err, took)
				}
				time.Sleep(stallWait)
			}
		}
		for range 3 * maxReads {
			ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
			if _, _, err := p.Get(ctx, "k"); !errors.Is(err, ErrLate) {
				t.Error(err)
			}
			cancel()
		}
		if n := len(s.life.reads); n != maxReads {
			t.Errorf("%d readers, want %d", n, maxReads)
		}
		close(e.reads)
		close(e.writes)
		synctest.Wait()
		if err := p.Update(t.Context(), "k", to("v")); err != nil {
			t.Errorf("when the disk answers again: %v", err)
		}
		if err := s.Close(); err != nil || e.abandoned {
			t.Errorf("%v, abandoned %v", err, e.abandoned)
		}
	})
}

// TestCloseUnderWay: whoever waits is let go at once, what hangs is cut off, and nothing
// is answered any more.
func TestCloseUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newStalling()
		s := opened(e)
		p := s.Part("")
		got := make(chan error, 3)
		go func() { _, _, err := p.Get(t.Context(), "k"); got <- err }()
		go func() { got <- p.Update(t.Context(), "k", to("v")) }()
		go func() { got <- p.Update(t.Context(), "l", to("v")) }()
		synctest.Wait()
		began := time.Now()
		go s.Close()
		for range 3 {
			if err := <-got; !errors.Is(err, ErrClosed) {
				t.Error(err)
			}
		}
		if took := time.Since(began); took != 0 {
			t.Errorf("they waited %v", took)
		}
		time.Sleep(closeWait)
		synctest.Wait()
		if !e.abandoned {
			t.Error("what hangs is waited for")
		}
		if err := p.Update(t.Context(), "k", to("v")); !errors.Is(err, ErrClosed) {
			t.Error(err)
		}
		close(e.reads)
		close(e.writes)
	})
}

// TestStuck: a write that waits for room keeps nobody waiting.
func TestStuck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newStalling()
		close(e.reads)
		s := opened(e)
		p := s.Part("")
		got := make(chan error)
		go func() { got <- p.Update(t.Context(), "k", to("v")) }()
		synctest.Wait()
		close(e.noRoom)
		if err := <-got; !errors.Is(err, ErrFull) {
			t.Error(err)
		}
		close(e.writes)
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
}

// TestPanic: a change that panics does so for who wanted it, and for nobody else.
func TestPanic(t *testing.T) {
	p := open(t, t.TempDir()).Part("")
	func() {
		defer func() {
			if r := recover(); r != "mine" {
				t.Errorf("recovered %v", r)
			}
		}()
		_ = p.Update(t.Context(), "k", func(string, bool) (string, bool) { panic("mine") })
	}()
	set(t, p, "k", "v")
}

// TestTooLong: what doesn't fit is refused, and nothing else with it.
func TestTooLong(t *testing.T) {
	p := open(t, t.TempDir()).Part("p/")
	long := string(make([]byte, MaxValue+1))
	if err := p.Update(t.Context(), "k", to(long)); !errors.Is(err, ErrTooLong) {
		t.Error(err)
	}
	if err := p.Update(t.Context(), long, to("v")); !errors.Is(err, ErrTooLong) {
		t.Error(err)
	}
	set(t, p, "k", long[:MaxValue])
}
