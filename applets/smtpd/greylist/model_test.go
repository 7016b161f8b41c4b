package greylist

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// model is the rules of greylist(7), written down once more: of one key, with a clock that
// only goes forward.
type model struct {
	delay, window      int64 // seconds
	there, hand, never bool
	first, until       int64 // when its wait began, and is over
	passed             bool
}

func (m *model) begin(now int64, null, unnamed bool) int64 {
	times := int64(1)
	switch {
	case null && unnamed:
		times = 5
	case null:
		times = 4
	case unnamed:
		times = 2
	}
	m.there, m.first, m.until, m.passed = true, now, now+times*m.delay, false
	return m.until - now
}

// come is what a contact hears: seconds to wait, 0 if it passes, -1 if it never does.
func (m *model) come(now int64, null, unnamed bool) int64 {
	switch {
	case m.never:
		return -1
	case m.hand:
		return 0
	case !m.there:
		return m.begin(now, null, unnamed)
	case !m.passed && m.until-now > 1:
		return m.until - now
	case null && m.window > 0 && now > m.until+m.window:
		return m.begin(now, null, unnamed)
	}
	m.passed = true
	return 0
}

func (m *model) push(now int64, null, unnamed bool) {
	if m.there && !m.hand && !m.never {
		m.begin(now, null, unnamed)
	}
}

// TestHistories has 1,000 random histories of a key end as the model says, each step of
// which is written down as text and read again.
func TestHistories(t *testing.T) {
	for seed := range uint64(1000) {
		r := rand.New(rand.NewPCG(seed, 15))
		m := model{delay: 60 * (1 + r.Int64N(120)), window: []int64{0, 600}[r.IntN(2)]}
		o := Rules{Delay: seconds(m.delay), NullWindow: seconds(m.window)}
		q := question("joe@far.example", "192.0.2.1")
		if r.IntN(2) == 0 {
			q = question("", "192.0.2.1")
		}
		null := q.Sender.IsNull()
		now := int64(1_700_000_000)
		text, there := "", false
		history := ""
		for range 40 {
			now += []int64{0, 1, r.Int64N(60), r.Int64N(2 * m.delay), r.Int64N(12 * m.delay)}[r.IntN(5)]
			q.Now, q.Unnamed = at(now), r.IntN(3) == 0
			rec, err := ParseRecord(text)
			if there && err != nil {
				t.Fatalf("seed %d: %q: %v", seed, text, err)
			}
			switch r.IntN(30) {
			case 0:
				rec, m.hand, m.never = Approve(rec, there, q.Now), true, false
				there, m.there = true, true
			case 1:
				rec, m.hand, m.never = Forbid(q.Now), false, true
				there, m.there = true, true
			case 2, 3:
				if there {
					rec = Push(rec, q, o)
				}
				m.push(now, null, q.Unnamed)
			default:
				a := Decide(rec, there, q, o)
				got := int64(a.Wait / time.Second)
				if a.Verdict == Never {
					got = -1
				}
				want := m.come(now, null, q.Unnamed)
				history += fmt.Sprintf(" %d:%d", now, got)
				if got != want || (a.Verdict == Pass) != (want == 0) {
					t.Fatalf("seed %d, %+v, null %v: %d s, verdict %d, want %d, behind%s", seed, o, null, got, a.Verdict, want, history)
				}
				rec, there = a.Record, true
			}
			if there {
				text = rec.String()
			}
		}
	}
}

// TestClock: whatever the clock does between two contacts, nobody waits longer than a first
// contact could, and who has passed still passes (A65).
func TestClock(t *testing.T) {
	for seed := range uint64(1000) {
		r := rand.New(rand.NewPCG(seed, 65))
		q := question("joe@far.example", "192.0.2.1")
		var rec Record
		there, passed := false, false
		for range 30 {
			q.Now, q.Unnamed = at(r.Int64N(4_000_000_000)-1000), r.IntN(2) == 0
			a := Decide(rec, there, q, hour)
			if a.Wait > 2*time.Hour {
				t.Fatalf("seed %d: %+v: a wait of %v", seed, rec, a.Wait)
			}
			if passed && a.Verdict != Pass {
				t.Fatalf("seed %d: %+v: it had passed, and waits", seed, rec)
			}
			again, err := ParseRecord(a.Record.String())
			if err != nil || again != a.Record {
				t.Fatalf("seed %d: %+v is read as %+v, %v", seed, a.Record, again, err)
			}
			rec, there, passed = a.Record, true, passed || a.Verdict == Pass
		}
	}
}
