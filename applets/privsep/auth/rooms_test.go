package auth

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestRoomsHung: mailboxes that don't answer keep their askers a moment, their domain a
// few places, and others none; what is remembered is told meanwhile.
func TestRoomsHung(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hang, began := make(chan struct{}), atomic.Int64{}
		r := newRooms(func(domain, name string, _ int64) (int64, error) {
			if domain == "good.example" {
				return int64(len(name)), nil
			}
			began.Add(1)
			<-hang
			return 7, nil
		})
		answers := make(chan error)
		for i := range 3 * maxOfDomain {
			go func() {
				_, err := r.Used(t.Context(), "hung.example", fmt.Sprint("u", i), 0)
				answers <- err
			}()
		}
		late, busy := 0, 0
		for range 3 * maxOfDomain {
			switch err := <-answers; {
			case errors.Is(err, errCounting):
				late++
			case errors.Is(err, errBusy):
				busy++
			default:
				t.Errorf("%v", err)
			}
		}
		if late != maxOfDomain || busy != 2*maxOfDomain || began.Load() != maxOfDomain {
			t.Errorf("%d waited, %d were sent away, %d count", late, busy, began.Load())
		}
		if _, err := r.Used(t.Context(), "hung.example", "u100", 0); !errors.Is(err, errBusy) {
			t.Errorf("one more of that domain: %v", err)
		}
		if n, err := r.Used(t.Context(), "good.example", "eva", 0); n != 3 || err != nil {
			t.Errorf("another domain: %d, %v", n, err)
		}
		for i := range 2 * maxCounting { // domains that hang one after the other
			r.Used(t.Context(), fmt.Sprintf("d%d.example", i), "x", 0)
		}
		if began.Load() != maxCounting {
			t.Errorf("%d count, want %d", began.Load(), maxCounting)
		}
		r.book.Put("eva@good.example", 3, time.Now(), time.Now())
		if n, err := r.Used(t.Context(), "good.example", "eva", 0); n != 3 || err != nil {
			t.Errorf("what is remembered: %d, %v", n, err)
		}
		close(hang)
		synctest.Wait()
		if n, err := r.Used(t.Context(), "d0.example", "x", 0); n != 7 || err != nil || len(r.asked)+len(r.busy)+len(r.counting) != 0 {
			t.Errorf("after they answered: %d, %v; %v, %v, %v", n, err, r.asked, r.busy, r.counting)
		}
		for _, name := range []string{"", "..", "a/b", "a@b"} {
			if _, err := r.Used(t.Context(), "v.example", name, 0); err == nil {
				t.Errorf("%q is counted", name)
			}
		}
	})
}

// hung has mailboxes that don't answer.
type hung struct {
	answering
	hang chan struct{}
}

func (h hung) Used(context.Context, string, string, int64) (int64, error) {
	<-h.hang
	return 1, nil
}

// TestUsedHung: users are found while no mailbox can be counted, and further questions
// after mailboxes are answered at once.
func TestUsedHung(t *testing.T) {
	h := hung{answering{users: map[string]string{"bob@w.example": "bob"}}, make(chan struct{})}
	c, _ := inProcessOf(t, h, h)
	done := make(chan error)
	for range maxCounting {
		go func() {
			_, err := c.Used(t.Context(), "v.example", "bob", 0)
			done <- err
		}()
	}
	for len(c.counts) < maxCounting {
		select {
		case err := <-done:
			t.Fatal(err)
		default:
		}
	}
	if _, err := c.Used(t.Context(), "v.example", "bob", 0); !errors.Is(err, errBusy) {
		t.Errorf("one more: %v", err)
	}
	for range 2 * maxAsked {
		if box, err := c.User(t.Context(), "w.example", "bob"); box.Name != "bob" || err != nil {
			t.Fatalf("%v, %v", box, err)
		}
	}
	close(h.hang)
	for range maxCounting {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// TestWhere: what the process is told arrives as it was.
func TestWhere(t *testing.T) {
	for _, w := range []Where{{Dir: "/a"}, {Dir: "/a", Spool: "/b c"}, {Dir: "/a", Spool: "/b", Maildir: true}, {Dir: "/a", Secret: "a\x00b"}, {Dir: "/a", Index: "/c d", Secret: "a"}} {
		if got, err := decodeWhere(w.append(nil)); got != w || err != nil {
			t.Errorf("%+v: %+v, %v", w, got, err)
		}
	}
	for _, b := range []string{"", "f", "f/a", "x/a\x00\x00", "f/a\x00", "f/a\x00/b\x00", "f\x00/b\x00/c\x00", "f/a\x00\x00\x00" + strings.Repeat("x", maxSecret+1)} {
		if w, err := decodeWhere([]byte(b)); err == nil {
			t.Errorf("%q: %+v", b, w)
		}
	}
}
