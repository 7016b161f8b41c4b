package greylist

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

func TestTally(t *testing.T) {
	var a, b Tally
	if _, ok := a.Median(); ok || !a.IsZero() || a.String() != "" {
		t.Errorf("a tally of nothing: %q", a.String())
	}
	a.Delayed, a.Never, a.Unstored = 3, 2, 1
	a.AddWait(time.Hour)
	b.Delayed, b.Early, b.Known, b.Forbidden, b.Shadow = 1, 2, 3, 4, 5
	b.AddWait(0)
	b.AddWait(400 * 24 * time.Hour)
	a.Add(&b)
	again, err := ParseTally(a.String())
	if err != nil || again != a {
		t.Errorf("%q is read as %q, %v", a.String(), again.String(), err)
	}
	if a.Delayed != 4 || a.Passed != 3 || a.Never != 2 {
		t.Errorf("the sum is %q", a.String())
	}
	if m, ok := a.Median(); !ok || m < 55*time.Minute || m > 65*time.Minute {
		t.Errorf("the median of 0, 1 h and 400 d is %v", m)
	}
	for _, text := range []string{"x", "delayed", "delayed=", "delayed=-1", "=1 delayed", "w3=x"} {
		if _, err := ParseTally(text); err == nil {
			t.Errorf("%q is a tally", text)
		}
	}
	if got, err := ParseTally("later=5 w=1 w999=4 =7 delayed=2"); err != nil || got != (Tally{Delayed: 2}) {
		t.Errorf("a later version's tally: %q, %v", got.String(), err)
	}
}

// TestMedian compares with waits that are sorted.
func TestMedian(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 100 {
		var ta Tally
		var all []time.Duration
		for range 1 + r.IntN(200) {
			wait := time.Duration(float64(time.Second) * (1 + r.ExpFloat64()*5000))
			all = append(all, wait)
			ta.AddWait(wait)
		}
		slices.Sort(all)
		want := all[(len(all)-1)/2]
		if got, _ := ta.Median(); float64(got) < 0.9*float64(want)-1e9 || float64(got) > 1.1*float64(want)+1e9 {
			t.Errorf("%d waits: the median is %v, want %v", len(all), got, want)
		}
	}
}

func TestTallyKey(t *testing.T) {
	when := time.Date(2026, 11, 30, 14, 59, 59, 0, time.FixedZone("", 3600))
	if got := TallyKey(when); got != "2026-11-30T13" {
		t.Errorf("key %q", got)
	}
	if got, ok := TallyTime(TallyKey(when)); !ok || !got.Equal(time.Date(2026, 11, 30, 13, 0, 0, 0, time.UTC)) {
		t.Errorf("time %v, %v", got, ok)
	}
}
