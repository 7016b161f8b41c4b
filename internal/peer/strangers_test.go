package peer

import (
	"fmt"
	"net/netip"
	"testing"
)

// crowd lets strangers into a Strangers.
type crowd struct {
	t *testing.T
	s Strangers
	p StrangerPlaces
}

// enter has a client come, and says what it gets: serve, wait or refuse.
func (c *crowd) enter(addr string) (*Stranger, string) {
	st := c.s.Enter(netip.MustParseAddr(addr), c.p)
	switch {
	case st == nil:
		return nil, "refuse"
	case st.Turn() == nil:
		return st, "serve"
	}
	return st, "wait"
}

// want has n clients come from an address.
func (c *crowd) want(n int, addr, want string) (all []*Stranger) {
	c.t.Helper()
	for i := range n {
		st, got := c.enter(addr)
		if got != want {
			c.t.Errorf("%s, number %d: %s, want %s", addr, i+1, got, want)
		}
		all = append(all, st)
	}
	return all
}

// told is what a client that waits has been told.
func told(st *Stranger) string {
	select {
	case turn := <-st.Turn():
		return fmt.Sprint(turn)
	default:
		return "nothing"
	}
}

// S42, R18: of one address one is served at a time, ten wait, each has its turn in
// the order in which they came, and nothing is kept of who has gone.
func TestTurns(t *testing.T) {
	c := &crowd{t: t, p: StrangerPlaces{All: 100, Address: 1}}
	now := c.want(1, "192.0.2.7", "serve")[0]
	line := c.want(10, "192.0.2.7", "wait")
	c.want(1, "192.0.2.7", "refuse")
	other := c.want(1, "192.0.2.8", "serve")[0]
	line[3].Leave() // it gave up
	for i, st := range append(line[:3:3], line[4:]...) {
		if got := told(st); got != "nothing" {
			t.Errorf("number %d is told %s before its turn", i+1, got)
		}
		now.Leave()
		now.Leave() // twice is once
		if got := told(st); got != "true" {
			t.Errorf("number %d is told %s, want true", i+1, got)
		}
		now = st
	}
	c.want(1, "192.0.2.7", "wait")[0].Leave()
	now.Leave()
	other.Leave()
	if c.s.Inside() != 0 || len(c.s.inside)+len(c.s.served)+len(c.s.waiting) != 0 {
		t.Errorf("when all have gone: %+v", &c.s)
	}
}

// A81: those who wait count, but leave the last place of all and of their network
// free, and give theirs to who can be served.
func TestTurnsYield(t *testing.T) {
	c := &crowd{t: t, p: StrangerPlaces{All: 12, Address: 1}} // a /56 has 3, a /48 has 6
	c.want(1, "2001:db8::1", "serve")
	v6 := c.want(1, "2001:db8::2", "wait")[0]
	c.want(1, "2001:db8::3", "refuse") // the last place of the /56
	c.want(1, "2001:db8:0:1::1", "serve")
	c.want(1, "2001:db8:0:2::1", "serve")
	if got := told(v6); got != "false" {
		t.Errorf("who waits where the network is full is told %s, want false", got)
	}
	c.want(1, "2001:db8:0:3::1", "refuse") // all are served
	c.want(1, "192.0.2.7", "serve")
	line := c.want(7, "192.0.2.7", "wait") // with them 11 of 12
	c.want(1, "192.0.2.7", "refuse")
	one := c.want(1, "192.0.2.8", "serve")[0]
	for i := range line {
		c.want(1, fmt.Sprintf("198.51.100.%d", i), "serve")
		if got := told(line[6-i]); got != "false" {
			t.Errorf("number %d in line is told %s, want false", 7-i, got)
		}
	}
	c.want(1, "198.51.100.20", "refuse")
	one.Leave()
	c.want(1, "198.51.100.20", "serve")
	if c.s.Inside() != 12 || c.s.Served() != 12 {
		t.Errorf("%d places are taken, %d are served, want 12", c.s.Inside(), c.s.Served())
	}
}

// Of those who wait, the address that has most loses one.
func TestTurnsMost(t *testing.T) {
	c := &crowd{t: t, p: StrangerPlaces{All: 8, Address: 1}}
	c.want(1, "192.0.2.1", "serve")
	little := c.want(1, "192.0.2.1", "wait")[0]
	c.want(1, "192.0.2.2", "serve")
	much := c.want(4, "192.0.2.2", "wait")
	c.want(1, "192.0.2.3", "serve")
	c.want(1, "192.0.2.4", "serve")
	if a, b, kept := told(much[3]), told(much[2]), told(little); a != "false" || b != "nothing" || kept != "nothing" {
		t.Errorf("the last of four is told %s, the third %s, the only one of its address %s", a, b, kept)
	}
}

// Without a limit for an address nobody waits, and without one for all nobody is
// sent away.
func TestTurnsWithoutLimit(t *testing.T) {
	c := &crowd{t: t, p: StrangerPlaces{All: 3}}
	c.want(3, "2001:db8::1", "serve")
	c.want(1, "2001:db8::1", "refuse")
	c = &crowd{t: t, p: StrangerPlaces{All: -1, Address: 2}}
	c.want(2, "2001:db8::1", "serve")
	c.want(10, "2001:db8::1", "wait")
	for i := range 500 {
		c.want(1, fmt.Sprintf("2001:db8:0:%x::1", i+1), "serve")
	}
}
