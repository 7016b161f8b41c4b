package greylist

import (
	"testing"
	"time"
)

// at is a time of the tests, in seconds.
func at(n int64) time.Time { return time.Unix(n, 0) }

// hour is the delay of most tests.
var hour = Rules{Delay: time.Hour}

func TestFirstContact(t *testing.T) {
	for _, tt := range []struct {
		name, sender string
		unnamed      bool
		times        int64
	}{
		{"a sender", "joe@far.example", false, 1},
		{"a sender without a name", "joe@far.example", true, 2},
		{"the null sender", "", false, 4},
		{"the null sender without a name", "", true, 5},
		{"odd octets count nothing", `"j o\"e"@far.example`, false, 1},
	} {
		q := question(tt.sender, "192.0.2.1")
		q.Unnamed, q.Now = tt.unnamed, at(1000)
		a := Decide(Record{}, false, q, hour)
		want := Record{Allowed: 1000 + 3600*tt.times, Last: 1000, First: 1000, Tries: 1}
		if a.Verdict != Wait || a.Why != FirstTime || a.Wait != time.Duration(tt.times)*time.Hour || a.Record != want {
			t.Errorf("%s: %+v, want a wait of %d h and %+v", tt.name, a, tt.times, want)
		}
	}
}

// TestDecide: the rules, and that no clock makes anybody wait longer (A65).
func TestDecide(t *testing.T) {
	waiting := Record{Allowed: 4600, Last: 1000, First: 1000, Tries: 1}
	passed := Record{Allowed: 4600, Last: 5000, First: 1000, Passed: 4600, Tries: 2}
	window := Rules{Delay: time.Hour, NullWindow: 10 * time.Minute}
	for _, tt := range []struct {
		name    string
		r       Record
		null    bool
		now     int64
		o       Rules
		verdict Verdict
		why     Why
		wait    int64 // seconds
		allowed int64 // of the record then
	}{
		{"at once", waiting, false, 1000, hour, Wait, TooEarly, 3600, 4600},
		{"the date never moves (B29)", waiting, false, 4000, hour, Wait, TooEarly, 600, 4600},
		{"two seconds early", waiting, false, 4598, hour, Wait, TooEarly, 2, 4600},
		{"the last second is let off", waiting, false, 4599, hour, Pass, CameBack, 0, 4600},
		{"to the second", waiting, false, 4600, hour, Pass, CameBack, 0, 4600},
		{"much later", waiting, false, 1 << 31, hour, Pass, CameBack, 0, 4600},
		{"passed before", passed, false, 6000, hour, Pass, Known, 0, 4600},
		{"null, much later (B28)", waiting, true, 1 << 31, hour, Pass, CameBack, 0, 4600},
		{"null, in its window", waiting, true, 5200, window, Pass, CameBack, 0, 4600},
		{"null, behind its window", waiting, true, 5201, window, Wait, Missed, 4 * 3600, 5201 + 4*3600},
		{"null, passed, behind its window", passed, true, 5201, window, Wait, Missed, 4 * 3600, 5201 + 4*3600},
		{"no null, behind the window", waiting, false, 5201, window, Pass, CameBack, 0, 4600},
		{"forbidden", Record{Forbidden: true, Last: 1000}, false, 1 << 33, hour, Never, Forbidden, 0, 0},
		{"forbidden, null", Record{Forbidden: true, Last: 1000}, true, 1 << 33, window, Never, Forbidden, 0, 0},
		{"allowed by hand", Record{Hand: true, Allowed: 999, Last: 1000}, false, 1000, hour, Pass, Allowed, 0, 999},
		{"allowed by hand, null, behind its window", Record{Hand: true, Allowed: 999, Last: 1000}, true, 9000, window, Pass, Allowed, 0, 999},
		{"the first postoffice's, waiting", Record{Allowed: 4590, Last: 1000}, false, 2000, hour, Wait, TooEarly, 2590, 4590},
		{"the first postoffice's, passed", Record{Allowed: 4590, Last: 5000}, false, 6000, hour, Pass, Known, 0, 4590},
		{"delay was changed to less", Record{Allowed: 1000 + 86400, Last: 1000, First: 1000, Tries: 1}, false, 1000, hour, Wait, TooEarly, 5 * 3600, 1000 + 5*3600},
		{"the clock went back a day", Record{Allowed: 4600 + 86400, Last: 1000 + 86400, First: 1000 + 86400, Tries: 1}, false, 1000, hour, Wait, TooEarly, 3600, 4600},
		{"the clock went back a day, and it had passed", Record{Allowed: 4600 + 86400, Last: 5000 + 86400, First: 1000 + 86400, Passed: 5000 + 86400}, false, 1000, hour, Pass, Known, 0, 1000},
		{"the clock went back a day, the first postoffice's", Record{Allowed: 4600 + 86400, Last: 1000 + 86400}, false, 1000, hour, Wait, TooEarly, 5 * 3600, 1000 + 5*3600},
		{"the clock went back a day, the first postoffice's, passed", Record{Allowed: 4600 + 86400, Last: 5000 + 86400}, false, 1000, hour, Pass, Known, 0, 1000},
		{"the clock went back before 1970", Record{Allowed: 4600, Last: 1000, First: 1000, Tries: 1}, false, -1000, hour, Wait, TooEarly, 3600, 3601},
		{"a date near the end of time", Record{Allowed: maxStamp - 1, Last: 1000}, false, 1000, hour, Wait, TooEarly, 5 * 3600, 1000 + 5*3600},
		{"no delay", Record{}, false, 1000, Rules{}, Pass, Known, 0, 1000},
	} {
		q := question("joe@far.example", "192.0.2.1")
		if tt.null {
			q = question("", "192.0.2.1")
		}
		q.Now = at(tt.now)
		a := Decide(tt.r, tt.r != Record{}, q, tt.o)
		if a.Verdict != tt.verdict || a.Why != tt.why || a.Wait != seconds(tt.wait) || a.Record.Allowed != tt.allowed {
			t.Errorf("%s: %+v at %d: %d (%v), wait %v, allowed %d; want %d (%v), %v, %d", tt.name, tt.r, tt.now,
				a.Verdict, a.Why, a.Wait, a.Record.Allowed, tt.verdict, tt.why, seconds(tt.wait), tt.allowed)
		}
		if a.Record.Forbidden != tt.r.Forbidden || a.Record.Hand != tt.r.Hand {
			t.Errorf("%s: %+v became %+v", tt.name, tt.r, a.Record)
		}
		if a.Verdict == Pass && !a.Record.HasPassed() {
			t.Errorf("%s: it passed, and its record %+v doesn't say so", tt.name, a.Record)
		}
	}
}

// TestPush: who is pushed back waits a whole time from then on, and what was decided by
// hand stays (B31).
func TestPush(t *testing.T) {
	q := question("joe@far.example", "192.0.2.1")
	q.Now = at(9000)
	for _, r := range []Record{{}, {Allowed: 4600, Last: 1000, First: 1000, Tries: 1}, {Allowed: 4600, Last: 8000, First: 1000, Passed: 5000, Tries: 2}, {Allowed: 5, Last: 6}} {
		if got, want := Push(r, q, hour), (Record{Allowed: 12600, Last: 9000, First: 9000, Tries: 1}); got != want {
			t.Errorf("%+v pushed back: %+v, want %+v", r, got, want)
		}
	}
	for _, r := range []Record{Approve(Record{}, false, at(1000)), Forbid(at(1000)), {Forbidden: true, Last: 6}} {
		if got := Push(r, q, hour); got != r {
			t.Errorf("%+v pushed back: %+v", r, got)
		}
	}
}

func TestByHand(t *testing.T) {
	if got, want := Approve(Record{}, false, at(1000)), (Record{Allowed: 999, Last: 1000, Hand: true}); got != want {
		t.Errorf("allowed: %+v, want %+v", got, want)
	}
	r := Record{Allowed: 4600, Last: 1500, First: 1000, Tries: 2}
	if got, want := Approve(r, true, at(2000)), (Record{Allowed: 1499, Last: 1500, First: 1000, Tries: 2, Hand: true}); got != want {
		t.Errorf("allowed while it waits: %+v, want %+v", got, want)
	}
	if got := Approve(Forbid(at(1000)), true, at(2000)); got.Forbidden || !got.Hand {
		t.Errorf("allowed after it was forbidden: %+v", got)
	}
	if got, want := Forbid(at(1000)).String(), "* 1000 hand"; got != want {
		t.Errorf("forbidden: %q, want %q", got, want)
	}
}
