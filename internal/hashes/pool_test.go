package hashes

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"postoffice/internal/turns"
)

// slow is a hash that takes a second, and notes how many run.
type slow struct {
	mu           sync.Mutex
	running, top int
	order        []string
}

func (s *slow) hash(who string, memory int64) Hash {
	return Hash{memory: memory, match: func(string) bool {
		s.mu.Lock()
		s.running++
		s.top = max(s.top, s.running)
		s.order = append(s.order, who)
		s.mu.Unlock()
		time.Sleep(time.Second)
		s.mu.Lock()
		s.running--
		s.mu.Unlock()
		return true
	}}
}

// TestPool: no more run at once than processors less one, and networks take turns.
func TestPool(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(2))
	synctest.Test(t, func(t *testing.T) {
		var p Pool
		var s slow
		var wg sync.WaitGroup
		var mu sync.Mutex
		busy := map[string]int{}
		ask := func(who string) {
			wg.Go(func() {
				ok, err := p.Match(t.Context(), who, s.hash(who, 1<<20), "x")
				if errors.Is(err, turns.ErrBusy) {
					mu.Lock()
					busy[who]++
					mu.Unlock()
				} else if !ok || err != nil {
					t.Errorf("%s: %v, %v", who, ok, err)
				}
			})
			synctest.Wait()
		}
		for range 30 {
			ask("mallory")
		}
		begin := time.Now()
		ask("alice")
		ask("bob")
		wg.Wait()
		if s.top != 1 || len(busy) > 0 {
			t.Errorf("%d at once, refused %v", s.top, busy)
		}
		if fmt.Sprint(s.order[:3]) != "[mallory alice bob]" {
			t.Errorf("order %v after %v: the others don't take turns", s.order, time.Since(begin))
		}
	})
}

// TestPoolMemory: hashes that take much don't run beside others, and who has gone gives
// their turn on.
func TestPoolMemory(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(8))
	synctest.Test(t, func(t *testing.T) {
		var p Pool
		var s slow
		var wg sync.WaitGroup
		for i := range 7 {
			wg.Go(func() { p.Match(t.Context(), fmt.Sprint(i), s.hash("x", MaxMemory), "x") })
		}
		synctest.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		gone := make(chan error)
		go func() {
			_, err := p.Match(ctx, "gone", s.hash("gone", 1), "x")
			gone <- err
		}()
		synctest.Wait()
		cancel()
		if err := <-gone; !errors.Is(err, context.Canceled) {
			t.Errorf("who has gone: %v", err)
		}
		wg.Wait()
		if s.top != 2 || p.line.Inside() != 0 || p.line.Outside() != 0 {
			t.Errorf("%d at once, %d and %d behind them", s.top, p.line.Inside(), p.line.Outside())
		}
	})
}

// TestPoolFull: no more wait than there is room for.
func TestPoolFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p Pool
		var s slow
		var wg sync.WaitGroup
		refused := 0
		for i := range maxWaiting + 50 {
			wg.Go(func() {
				if _, err := p.Match(t.Context(), fmt.Sprint(i), s.hash("x", 1), "x"); err != nil {
					refused++
				}
			})
			synctest.Wait()
		}
		wg.Wait()
		if want := 50 - max(runtime.GOMAXPROCS(0)-1, 1); refused != want {
			t.Errorf("%d are refused, want %d", refused, want)
		}
	})
}

// TestPoolOneNetwork: one network takes all the places that nobody else wants, and half of
// them goes to another one that comes, the last of the first one's being sent away.
func TestPoolOneNetwork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p Pool
		var s slow
		var wg sync.WaitGroup
		var mu sync.Mutex
		refused := map[string]int{}
		ask := func(who string, times int) {
			for range times {
				wg.Go(func() {
					if _, err := p.Match(t.Context(), who, s.hash("x", 1), "x"); err != nil {
						mu.Lock()
						refused[who]++
						mu.Unlock()
					}
				})
				synctest.Wait()
			}
		}
		want := func(wantWaiting int, wantRefused map[string]int) {
			t.Helper()
			mu.Lock()
			defer mu.Unlock()
			if p.line.Outside() != wantWaiting || !maps.Equal(refused, wantRefused) {
				t.Errorf("%d wait, %v are refused, want %d and %v", p.line.Outside(), refused, wantWaiting, wantRefused)
			}
		}
		ask("webmail", max(runtime.GOMAXPROCS(0)-1, 1)+maxWaiting)
		want(maxWaiting, map[string]int{})
		ask("webmail", 1)
		ask("other", maxWaiting)
		half := map[string]int{"webmail": 1 + maxWaiting/2, "other": maxWaiting / 2}
		want(maxWaiting, half)
		ask("third", 1)
		half["webmail"]++ // of two with as many, whose came first
		want(maxWaiting, half)
		wg.Wait()
	})
}
