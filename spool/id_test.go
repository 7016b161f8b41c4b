package spool

import (
	"bytes"
	"crypto/rand"
	"errors"
	"sync"
	"testing"
	"time"
)

// TestIDs: fixed width, [0-9A-Z], in order and never twice, whatever the clock
// does (A30, A40).
func TestIDs(t *testing.T) {
	times := []time.Time{
		arrived, arrived, arrived.Add(-365 * 24 * time.Hour), arrived.Add(time.Second), time.Unix(0, 0), time.Unix(-5, 0),
		time.Date(2038, 1, 19, 3, 14, 8, 0, time.UTC), arrived, time.Date(2085, 1, 1, 0, 0, 0, 0, time.UTC), arrived,
	}
	i := 0
	m := idMaker{rand: rand.Reader, now: func() time.Time { i++; return times[i-1] }}
	var last ID
	for range times {
		id, err := m.next()
		if err != nil {
			t.Fatal(err)
		}
		if again, ok := ParseID(string(id)); !ok || again != id {
			t.Errorf("%q has not the form of an ID", id)
		}
		if id[:idTime] <= last[:min(len(last), idTime)] {
			t.Errorf("%q is not behind %q", id, last)
		}
		last = id
	}
	fresh := idMaker{rand: rand.Reader, now: func() time.Time { return arrived }}
	id, err := fresh.next()
	if err != nil || !id.Time().Equal(arrived) {
		t.Errorf("time of %s: %v, %v, want %v", id, id.Time(), err, arrived)
	}
}

func TestIDForm(t *testing.T) {
	for _, s := range []string{"", "0000000000000", "000000000000000", "0000000000000a", "000000000000 0", "../../../../etc", "0000000000000\n"} {
		if id, ok := ParseID(s); ok {
			t.Errorf("%q: taken as %q", s, id)
		}
	}
}

func TestIDWithoutRandom(t *testing.T) {
	m := idMaker{rand: bytes.NewReader(nil), now: time.Now}
	if id, err := m.next(); err == nil {
		t.Errorf("no random octets, got %q", id)
	}
}

// TestIDsParallel: many goroutines never get the same one.
func TestIDsParallel(t *testing.T) {
	m := idMaker{rand: noRandom{}, now: still}
	var mu sync.Mutex
	seen := map[ID]bool{}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 500 {
				id, err := m.next()
				mu.Lock()
				if err != nil || seen[id] {
					t.Errorf("%q came twice, %v", id, err)
				}
				seen[id] = true
				mu.Unlock()
			}
		})
	}
	wg.Wait()
}

// TestA30Repeat: a generator that repeats itself costs no message.
func TestA30Repeat(t *testing.T) {
	dir := t.TempDir() + "/q"
	repeat := func() *Queue { return open(t, Options{Dir: dir, Now: still, Rand: noRandom{}}) }
	first := accept(t, repeat(), envelopeFor(1), "first\n")
	q := repeat()
	q.ids.last = first.Time().UnixMicro() - 1
	second := accept(t, q, envelopeFor(1), "second\n")
	if first == second {
		t.Fatal("two messages with one ID")
	}
	for id, want := range map[ID]string{first: "first\n", second: "second\n"} {
		if got := body(t, claim(t, q, id)); got != want {
			t.Errorf("%s is %q, want %q", id, got, want)
		}
	}
	if _, err := q.Claim("../queue/x"); !errors.Is(err, ErrGone) {
		t.Errorf("claim of a path: %v", err)
	}
}
