package spool

import (
	"errors"
	"sync"
	"testing"
	"testing/synctest"

	"postoffice/internal/disk"
)

// slowDir is a directory whose syncs wait to be told their result.
type slowDir struct {
	disk.Dir
	begun  chan int
	result chan error
	mu     sync.Mutex
	n      int
}

func (d *slowDir) Sync() error {
	d.mu.Lock()
	d.n++
	n := d.n
	d.mu.Unlock()
	d.begun <- n
	return <-d.result
}

// ask starts n syncs and returns their results when all are done.
func ask(s *syncer, n int) func() []error {
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() { errs[i] = s.sync() })
	}
	synctest.Wait()
	return func() []error { wg.Wait(); return errs }
}

// TestSyncerShares: who asks during a sync waits for the next one, and all who
// do share it.
func TestSyncerShares(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &slowDir{begun: make(chan int, 9), result: make(chan error)}
		s := newSyncer(d)
		one := ask(s, 1)
		many := ask(s, 20)
		d.result <- nil
		if err := one()[0]; err != nil {
			t.Error(err)
		}
		d.result <- nil
		for _, err := range many() {
			if err != nil {
				t.Error(err)
			}
		}
		if d.n != 2 {
			t.Errorf("%d syncs, want 2", d.n)
		}
	})
}

// TestA29SyncerFails: a sync that fails fails for all who shared it, and for
// those whose names it may have taken along; after them it is tried again.
func TestA29SyncerFails(t *testing.T) {
	eio := errors.New("input/output error")
	synctest.Test(t, func(t *testing.T) {
		d := &slowDir{begun: make(chan int, 9), result: make(chan error)}
		s := newSyncer(d)
		one := ask(s, 1)
		many := ask(s, 5)
		d.result <- eio
		if err := one()[0]; !errors.Is(err, eio) {
			t.Errorf("%v, want %v", err, eio)
		}
		for _, err := range many() {
			if !errors.Is(err, errLostSync) {
				t.Errorf("%v, want %v", err, errLostSync)
			}
		}
		after := ask(s, 1)
		d.result <- nil
		if err := after()[0]; err != nil || d.n != 2 {
			t.Errorf("after it: %v in sync %d", err, d.n)
		}
	})
}
