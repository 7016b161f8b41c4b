package coal

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"
)

// A step is a call of Add.
type step struct {
	after           time.Duration // since the one before
	addr            string
	points, pending int
	out             bool
}

// TestA89Scores: a client is out below the least, and then begins anew; points are
// forgotten, good ones too; what a client has coming counts for it while it has; a
// /64 of IPv6 is one client.
func TestA89Scores(t *testing.T) {
	const one, other = "192.0.2.1", "192.0.2.2"
	times := func(n int, s step) (all []step) {
		for range n {
			all = append(all, s)
		}
		return all
	}
	bad := step{0, one, -2, 0, false}
	for _, tt := range []struct {
		name  string
		steps []step
	}{
		{"twenty are no more than enough", append(times(20, bad), step{0, one, -1, 0, true})},
		{"out, then anew", append(append(times(20, bad), step{0, one, -2, 0, true}), append(times(20, bad), step{0, one, -2, 0, true})...)},
		{"others don't count", append(times(20, bad), step{0, other, -40, 0, false}, step{0, one, -1, 0, true})},
		{"a point a minute is forgotten", append(times(20, bad), step{2 * time.Minute, one, -2, 0, false}, step{0, one, -1, 0, true})},
		{"not before", append(times(20, bad), step{119 * time.Second, one, -2, 0, true})},
		{"what is left of a minute counts on", append(times(20, bad), step{90 * time.Second, one, -1, 0, false}, step{30 * time.Second, one, -1, 0, false}, step{59 * time.Second, one, -1, 0, true})},
		{"two points in the next minute", append(times(20, bad), step{time.Minute, one, -2, 0, true})},
		{"two points each two minutes, for ever", times(1000, step{2 * time.Minute, one, -2, 0, false})},
		{"all is forgotten", append(times(20, bad), append([]step{{24 * time.Hour, one, -2, 0, false}}, times(19, bad)...)...)},
		{"good ones count", []step{{0, one, 30, 0, false}, {0, one, -70, 0, false}, {0, one, -1, 0, true}}},
		{"good ones are forgotten", []step{{0, one, 30, 0, false}, {30 * time.Minute, one, -41, 0, true}}},
		{"good ones have an end", []step{{0, one, 1000, 0, false}, {0, one, -140, 0, false}, {0, one, -1, 0, true}}},
		{"what is coming counts", append(times(20, bad), step{0, one, -2, 2, false}, step{0, one, -1, 2, true})},
		{"what was coming does not", append(times(20, bad), step{0, one, -2, 50, false}, step{0, one, -1, 0, true})},
		{"a minute passes from the first point", []step{{0, other, -1, 0, false}, {59 * time.Second, one, -40, 0, false}, {59 * time.Second, one, -1, 0, true}}},
		{"IPv4 in IPv6", []step{{0, one, -40, 0, false}, {0, "::ffff:" + one, -1, 0, true}}},
		{"a /64", []step{{0, "2001:db8:1:2::1", -40, 0, false}, {0, "2001:db8:1:2:ffff::", -1, 0, true}}},
		{"behind a translator", []step{{0, "64:ff9b::192.0.2.1", -40, 0, false}, {0, "64:ff9b::192.0.2.2", -40, 0, false}, {0, "64:ff9b:1::192.0.2.2", -1, 0, true}}},
		{"two of them", []step{{0, "2001:db8:1:2::1", -40, 0, false}, {0, "2001:db8:1:3::1", -1, 0, false}}},
	} {
		var s Scores
		now := time.Now()
		for i, c := range tt.steps {
			now = now.Add(c.after)
			if out := s.Add(now, netip.MustParseAddr(c.addr), c.points, c.pending); out != c.out {
				t.Errorf("%s: step %d of %d, %+v: %v", tt.name, i, len(tt.steps), c, out)
				break
			}
		}
	}
}

// numbered is a client of its own for each n.
func numbered(n uint32) netip.Addr {
	return netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, n)))
}

// TestScoresAreBounded: there are no more than maxScores, whoever comes; what has
// decayed goes first, and a client that comes new is counted.
func TestScoresAreBounded(t *testing.T) {
	var s Scores
	now := time.Now()
	for n := range uint32(maxScores) {
		s.Add(now, numbered(n), -1, 0)
	}
	now = now.Add(30 * time.Second)
	for n := range uint32(1000) {
		s.Add(now, numbered(n), -10, 0)
	}
	now = now.Add(31 * time.Second)
	s.Add(now, numbered(maxScores), -40, 0)
	if n := len(s.of); n != 1001 {
		t.Errorf("%d scores are left, want those of 1000 clients and a new one", n)
	}
	for n := range uint32(2 * maxScores) {
		s.Add(now, numbered(1<<20+n), -1, 0)
	}
	if n := len(s.of); n > maxScores {
		t.Errorf("%d scores, at most %d are kept", n, maxScores)
	}
	now = now.Add(time.Second)
	s.Add(now, numbered(1<<30), -40, 0)
	if !s.Add(now, numbered(1<<30), -1, 0) {
		t.Error("a client that comes while all places are taken is not counted")
	}
}

// BenchmarkAdd is one answer's price where there are as many clients as there may be.
func BenchmarkAdd(b *testing.B) {
	var s Scores
	now := time.Now()
	for n := range uint32(maxScores) {
		s.Add(now, numbered(n), -1, 0)
	}
	b.ReportAllocs()
	n := uint32(0)
	for b.Loop() {
		n++
		s.Add(now, numbered(n*7919), -1, 0)
	}
}
