package schedule

import (
	"fmt"
	"testing"

	"postoffice/spool"
)

// arrive hands out the works of messages of one submitter.
func arrive(s *Schedule, submitter string, n int) []*Work {
	for i := range n {
		s.Arrive(spool.ID(fmt.Sprint(submitter, i)), submitter, false)
	}
	return works(s)
}

// A39: so many recipients are in memory at a time, a quarter of one submitter's.
// Whoever is let in brings all of theirs; those with a few need no room.
func TestHold(t *testing.T) {
	s := New()
	all := kinds[Recipients].all
	let := 0
	for i := range 5 { // submitters, each with a message too many
		for _, w := range arrive(s, fmt.Sprint("s", i), all/4/1000+2) {
			if w.Hold(1000) {
				let++
			}
		}
	}
	if let != all/1000 {
		t.Errorf("%d messages of 1,000 recipients are let in, want %d", let, all/1000)
	}
	for i, w := range arrive(s, "few", 3) {
		if ok := w.Hold(maxFewRecipients + i/2); ok != (i < 2) {
			t.Errorf("%d recipients: %v", maxFewRecipients+i/2, ok)
		}
	}
	s = New()
	let = 0
	for i := range 20 {
		for _, w := range arrive(s, fmt.Sprint("s", i), 100) {
			if w.Hold(maxFewRecipients + 1) {
				let++
			}
		}
	}
	if let != all/leastHeld {
		t.Errorf("%d messages that take room are in work, want %d", let, all/leastHeld)
	}
}

// A message that needs more room than there is comes back with all that it needs,
// before those that came later.
func TestHoldMore(t *testing.T) {
	s := New()
	first := arrive(s, "one", 1)[0]
	list := arrive(s, "two", 1)[0]
	if !first.Hold(kinds[Recipients].all-1) || !list.Hold(maxFewRecipients) {
		t.Fatal("no room in an empty schedule")
	}
	next := arrive(s, "three", 1)[0]
	if !next.Hold(1000) {
		t.Error("one place is free, and nobody is let in")
	}
	if list.Hold(20_000) {
		t.Error("let in where all is full")
	}
	if first.Yield() || !first.Holds() || list.Holds() {
		t.Error("nobody waits: nobody has to yield, and those who have room hold it")
	}
	list.PostponeTo(All(Recipients))
	last := arrive(s, "four", 1)[0]
	if last.Hold(100) {
		t.Error("let in where all is full")
	}
	last.PostponeTo(All(Recipients))
	if s.Next() != nil {
		t.Fatal("one that waits for room was handed out")
	}
	if !first.Yield() {
		t.Error("others wait, and who has room doesn't know")
	}
	first.Later(0)
	w := s.Next()
	if w == nil || w.ID != list.ID || !w.Hold(1) {
		t.Fatalf("%v comes, want the list", w)
	}
	if w := s.Next(); w == nil || w.ID != last.ID || !w.Hold(100) {
		t.Errorf("%v comes, want the last", w)
	}
	if n := s.memory.inside; n != 1000+20_000+100 {
		t.Errorf("%d recipients are in memory", n)
	}
}

// All room is given back, however the work ends.
func TestHoldEnds(t *testing.T) {
	s := New()
	for i, end := range []func(*Work){(*Work).Forget, (*Work).SetAside, func(w *Work) { w.PostponeTo(All(Recipients)) }} {
		w := arrive(s, fmt.Sprint("s", i), 1)[0]
		if !w.Hold(100) || !w.Hold(500) {
			t.Fatal("no room")
		}
		end(w)
		if g := s.memory; g.inside != 0 || len(g.of) != 0 {
			t.Errorf("%d: %d recipients in memory, of %v", i, g.inside, g.of)
		}
	}
}
