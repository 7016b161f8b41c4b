package coal

import (
	"fmt"
	"net/netip"
	"time"
)

// A saved score is its points, and the second since 1970 from which they are forgotten,
// under the client's address.

// Changed returns the scores that have changed since the last call.
func (s *Scores) Changed(now time.Time) map[string]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make(map[string]string, len(s.changed))
	for key := range s.changed {
		c := s.of[key]
		all[key.String()] = fmt.Sprintf("%d %d", c.points, s.began.Unix()+int64(c.since))
	}
	s.changed = map[netip.Addr]struct{}{}
	return all
}

// Restore takes a score that was saved, of a client that has none yet.
func (s *Scores) Restore(now time.Time, key, value string) {
	a, err := netip.ParseAddr(key)
	points, since, ok := parseSaved(now, value)
	if err != nil || !ok {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.begin(now)
	if _, known := s.of[a]; known || len(s.of) >= maxScores {
		return
	}
	seconds := int32(now.Sub(s.began) / time.Second)
	c := score{points, seconds - int32(now.Unix()-since)}.at(seconds)
	if c.points != 0 {
		s.of[a] = c
	}
}

// Spent reports whether nothing is left of a score that was saved.
func (s *Scores) Spent(now time.Time, _, value string) bool {
	points, since, ok := parseSaved(now, value)
	return !ok || score{points: points}.at(int32(now.Unix()-since)).points == 0
}

// parseSaved reads a saved score. What is from the future is from now: the clock was set
// back.
func parseSaved(now time.Time, value string) (points int16, since int64, ok bool) {
	n, err := fmt.Sscanf(value, "%d %d", &points, &since)
	if n < 2 || err != nil || points > maxGood || points < -maxGood {
		return 0, 0, false
	}
	const ages = (maxGood + 1) * forgetEvery // after which nothing is left
	return points, min(max(since, now.Unix()-ages), now.Unix()), true
}
