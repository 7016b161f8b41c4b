package schedule

import "time"

// jumpSize is the difference between the wall clock and a monotonic one from
// which the wall clock was set rather than slewed.
const jumpSize = 10 * time.Minute

// maxJumps bounds what is remembered; a clock that jumps more often is broken
// and ages nothing any more.
const maxJumps = 100

// clock knows how often the wall clock was set forward while this Schedule was
// in use, so that no message grows old by that (A40).
type clock struct {
	wall, mono time.Time // the last look
	jumps      []jump
}

// jump is one setting of the clock: what arrived before at seems older by by.
type jump struct {
	at time.Time
	by time.Duration
}

// look compares the wall clock with the monotonic one.
func (c *clock) look(wall time.Time) {
	mono := time.Now()
	wall = wall.Round(0)
	if !c.wall.IsZero() {
		expect := c.wall.Add(mono.Sub(c.mono))
		if by := wall.Sub(expect); by > jumpSize && len(c.jumps) < maxJumps {
			c.jumps = append(c.jumps, jump{expect, by})
		}
	}
	c.wall, c.mono = wall, mono
}

// age is how long ago a message arrived, without the jumps since.
func (c *clock) age(arrived, wall time.Time) time.Duration {
	age := wall.Round(0).Sub(arrived)
	for _, j := range c.jumps {
		if !arrived.After(j.at) {
			age -= j.by
		}
	}
	return age
}

// LookAtClock takes note of the wall clock, which is to be told often: what
// differs from a monotonic one since the last look was a jump.
func (s *Schedule) LookAtClock(wall time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clock.look(wall)
}

// Age returns how long ago a message arrived, by the wall clock but for its
// jumps forward.
func (s *Schedule) Age(arrived, wall time.Time) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.clock.age(arrived, wall)
}
