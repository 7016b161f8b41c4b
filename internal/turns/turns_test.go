package turns

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// stay has one inside for a while.
type stay struct {
	line  Line
	wg    sync.WaitGroup
	mu    sync.Mutex // guards what follows
	order []string
	busy  map[string]int
}

func (s *stay) come(t *testing.T, who string, weight int64) {
	s.wg.Go(func() {
		err := s.line.Enter(t.Context(), who, weight)
		s.mu.Lock()
		if s.order = append(s.order, who); err != nil {
			s.order = s.order[:len(s.order)-1]
			s.busy[who]++
		}
		span := time.Second + time.Duration(len(s.order))*time.Millisecond // no two leave at once, so that who goes in for them does so in order
		s.mu.Unlock()
		if err == nil {
			time.Sleep(span)
			s.line.Leave(who, weight)
		} else if !errors.Is(err, ErrBusy) {
			t.Errorf("%s: %v", who, err)
		}
	})
	synctest.Wait()
}

func newStay(places, each, waiting int) *stay {
	s := &stay{busy: map[string]int{}}
	s.line.Limits = func() (int, int64) { return places, 100 }
	s.line.Each, s.line.Waiting = each, waiting
	return s
}

// TestShares: one who comes often leaves places to others, who go in at once, and others
// take turns with them.
func TestShares(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStay(4, 3, 100)
		for range 9 {
			s.come(t, "often", 1)
		}
		if in, out := s.line.Inside(), s.line.Outside(); in != 3 || out != 6 {
			t.Errorf("%d are inside and %d wait, want 3 and 6", in, out)
		}
		s.come(t, "once", 1)
		s.come(t, "too", 1)
		if got := fmt.Sprint(s.order); got != "[often often often once]" {
			t.Errorf("order %v", got)
		}
		s.wg.Wait()
		if got := fmt.Sprint(s.order[:5]); got != "[often often often once too]" || len(s.order) != 11 {
			t.Errorf("order %v of %d", got, len(s.order))
		}
		if len(s.line.inside) != 0 || s.line.Inside() != 0 || s.line.weight != 0 {
			t.Errorf("left behind: %v, %d, %d", s.line.inside, s.line.Inside(), s.line.weight)
		}
	})
}

// TestHeavy: what is too heavy to go in beside others has its turn, and is not passed.
func TestHeavy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStay(4, 0, 100)
		for _, who := range []string{"a", "b"} {
			s.come(t, who, 40)
		}
		s.come(t, "heavy", 500)
		s.come(t, "c", 1)
		if in := s.line.Inside(); in != 2 {
			t.Errorf("%d are inside, want two", in)
		}
		s.wg.Wait()
		if got := fmt.Sprint(s.order); got != "[a b heavy c]" {
			t.Errorf("order %v", got)
		}
	})
}

// TestFull: where all places to wait are taken, one of another takes that of the last of
// whoever has most; who goes gives theirs back.
func TestFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStay(1, 1, 3)
		for range 5 {
			s.come(t, "often", 1)
		}
		s.come(t, "once", 1)
		if s.busy["often"] != 2 || s.busy["once"] != 0 {
			t.Errorf("refused %v, want two of the first", s.busy)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := s.line.Enter(ctx, "gone", 1); !errors.Is(err, context.Canceled) {
			t.Errorf("gone: %v", err)
		}
		s.wg.Wait()
		if s.line.Outside() != 0 || s.line.Inside() != 0 {
			t.Errorf("%d wait, %d are inside", s.line.Outside(), s.line.Inside())
		}
	})
}
