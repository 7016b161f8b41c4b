package crashfs_test

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"postoffice/internal/disk"
	"postoffice/internal/disk/crashfs"
)

// deliver hands the message out and removes it: open, lock, look again.
func deliver(d disk.FS, name string, out func(string)) (err error) {
	q, err := d.OpenDir("/q")
	if err != nil {
		return err
	}
	defer closing(&err, q)
	f, err := q.Open(name, disk.ReadWrite)
	if notExist(err) {
		return nil
	}
	if err != nil {
		return err
	}
	defer closing(&err, f)
	if got, err := f.TryLock(); err != nil || !got {
		return err
	}
	if still, err := disk.Named(q, name, f); err != nil || !still {
		return err
	}
	out(name)
	return q.Unlink(name)
}

// runners are n processes that deliver /q/m-0.
func runners(n int) func(*crashfs.FS) []crashfs.Actor {
	return func(f *crashfs.FS) (actors []crashfs.Actor) {
		for range n {
			p := f.Process()
			actors = append(actors, crashfs.Actor{FS: p, Do: func(ack func(string)) { _ = deliver(p, "m-0", ack) }})
		}
		return actors
	}
}

// once: handed out once, and once more for the one process that is killed.
func once(kills int) crashfs.Check {
	return func(t testing.TB, d disk.FS, acked []string) {
		_, err := d.(*crashfs.FS).ReadFile("/q/m-0")
		if len(acked) > 1+kills {
			t.Errorf("handed out %d times", len(acked))
		}
		if len(acked) == 0 && notExist(err) {
			t.Error("gone and never handed out")
		}
	}
}

var one = crashfs.Run{Prepare: func(f *crashfs.FS) {
	f.MkdirAll("/q", 0o700)
	f.Plant("/q/m-0", 0o600, []byte(body))
}}

// TestInterleave: schedules of two processes find what one alone never meets.
func TestInterleave(t *testing.T) {
	alive := one
	alive.KeepAlive = true
	crashfs.Mutants(t, func(t testing.TB) { alive.Interleave(t, 300, runners(2), once(0)) })
	one.Interleave(t, 300, runners(3), once(1))
}

// TestSchedule: the same seed gives the same order, and another one others.
func TestSchedule(t *testing.T) {
	orders := func(seed uint64) [][]int {
		var all [][]int
		var mu sync.Mutex
		o := one
		o.Seed = seed
		o.Interleave(t, 50, func(f *crashfs.FS) (actors []crashfs.Actor) {
			all = append(all, nil)
			for i := range 3 {
				p := f.Process()
				actors = append(actors, crashfs.Actor{FS: p, Do: func(func(string)) {
					q, err := p.OpenDir("/q")
					for range 4 {
						if err == nil {
							_, err = q.Lstat("m-0")
						}
						mu.Lock()
						all[len(all)-1] = append(all[len(all)-1], i)
						mu.Unlock()
					}
				}})
			}
			return actors
		}, func(testing.TB, disk.FS, []string) {})
		return all
	}
	a, b := orders(7), orders(7)
	if !slices.EqualFunc(a, b, slices.Equal[[]int]) {
		t.Errorf("seed 7 twice: %v\nand %v", a, b)
	}
	different := map[string]bool{}
	for _, o := range a {
		different[fmt.Sprint(o)] = true
	}
	if len(different) < 40 {
		t.Errorf("50 schedules have %d orders", len(different))
	}
}

// TestInterleaveMutex: a call made under a lock of the program's own stops
// nobody for ever, nor does waiting for another goroutine.
func TestInterleaveMutex(t *testing.T) {
	one.Interleave(t, 100, func(f *crashfs.FS) (actors []crashfs.Actor) {
		var mu sync.Mutex
		cond := sync.NewCond(&mu)
		ready := 0
		for range 3 {
			actors = append(actors, crashfs.Actor{FS: f, Do: func(func(string)) {
				mu.Lock()
				defer mu.Unlock()
				_, err := f.OpenDir("/q")
				if err != nil && !errors.Is(err, crashfs.ErrKilled) {
					t.Error(err)
				}
				for ready++; ready < 3; {
					cond.Wait()
				}
				cond.Broadcast()
			}})
		}
		return actors
	}, func(testing.TB, disk.FS, []string) {})
}
