package coal

import (
	"net/netip"
	"sync"
	"time"

	"postoffice/internal/peer"
)

// Scores are points by client: one address of IPv4, or a /64 of IPv6, as shares count
// them. A point is forgotten each minute, a good one as well as a bad one.
type Scores struct {
	mu    sync.Mutex // guards what follows
	of    map[netip.Addr]score
	began time.Time // of the first call
	swept int32     // when all were looked through last, in minutes since began

	changed map[netip.Addr]struct{} // since Changed was called; nil: nobody has called it
}

// score is one client's points.
type score struct {
	points int16
	since  int32 // seconds since began: when the last point was forgotten, or the first one came
}

const (
	maxScores   = 100_000 // clients whose points are kept
	maxGood     = 100     // points that a client can be ahead
	leastPoints = -40     // points below which a client is to be kept out

	forgetEvery = 60 // seconds, after which a point is forgotten
)

// Add adds points to a client's score. pending are points that it will get if it goes
// on as it does now. out is that it is below the least with them: its score begins
// anew then, since this is what it got for it.
func (s *Scores) Add(now time.Time, a netip.Addr, points, pending int) (out bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.begin(now)
	key, seconds := peer.Network(a).Addr(), int32(now.Sub(s.began)/time.Second)
	has, known := s.of[key]
	has = has.at(seconds)
	if s.changed != nil && len(s.changed) < maxScores {
		s.changed[key] = struct{}{}
	}
	sum := min(int(has.points)+points, maxGood)
	switch {
	case sum+pending < leastPoints, sum == 0:
		delete(s.of, key)
		return sum+pending < leastPoints
	case !known && len(s.of) >= maxScores:
		s.makeRoom(seconds)
	}
	if has.points == 0 {
		has.since = seconds
	}
	s.of[key] = score{int16(max(sum, -maxGood)), has.since}
	return false
}

// begin makes what a zero Scores lacks. The caller holds mu.
func (s *Scores) begin(now time.Time) {
	if s.of == nil {
		s.of, s.began = map[netip.Addr]score{}, now
	}
}

// at is the score at another time.
func (c score) at(seconds int32) score {
	forgotten := max((seconds-c.since)/forgetEvery, 0)
	c.since += forgotten * forgetEvery
	switch p := int32(c.points); {
	case p > 0:
		c.points = int16(max(p-forgotten, 0))
	case p < 0:
		c.points = int16(min(p+forgotten, 0))
	}
	return c
}

// makeRoom forgets scores that have decayed, if it didn't look for them in this minute,
// and else any: whoever has many of them loses most.
func (s *Scores) makeRoom(seconds int32) {
	if minute := seconds / forgetEvery; minute != s.swept {
		s.swept = minute
		for key, c := range s.of {
			if c.at(seconds).points == 0 {
				delete(s.of, key)
			}
		}
	}
	for key := range s.of {
		if len(s.of) < maxScores {
			return
		}
		delete(s.of, key)
	}
}
