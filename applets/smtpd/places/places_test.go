package places

import (
	"fmt"
	"net/netip"
	"testing"
)

// A81: two users who ask for 500 sessions each leave half of all, one person's
// uids without an account are one user, and root and the server have their own.
func TestProgramsShares(t *testing.T) {
	var table Table
	l := Limits{Programs: 1000, Nobody: func(uid int) bool { return uid >= 100_000 }}
	served := func(uid, tries int) (n int) {
		for range tries {
			if _, r := table.Program(uid, l); r == Granted {
				n++
			} else if r != UserOut {
				t.Errorf("uid %d: %v, want %v", uid, r, UserOut)
			}
		}
		return n
	}
	for _, tt := range []struct{ uid, want int }{{71000, 250}, {71001, 187}} {
		if got := served(tt.uid, 500); got != tt.want {
			t.Errorf("uid %d has %d sessions, want %d", tt.uid, got, tt.want)
		}
	}
	contained := 0
	for uid := range 5000 {
		contained += served(100_000+uid, 1)
	}
	if contained != 140 {
		t.Errorf("5000 uids without an account have %d sessions, want the 140 of one user", contained)
	}
	if got := served(71002, 500); got != 105 {
		t.Errorf("a user who comes after them has %d sessions, want 105", got)
	}
	for uid := range 100 {
		if served(72000+uid, 1) != 1 {
			t.Errorf("user %d of those who come then is turned away", uid)
		}
	}
	if got := served(0, 240); got != 240 {
		t.Errorf("root has %d sessions of 240", got)
	}
}

// A81: the server's user has places of its own, as it comes for its queue.
func TestProgramsOwn(t *testing.T) {
	var table Table
	l := Limits{Programs: 8, Server: 990}
	for uid := range 100 {
		table.Program(1<<20+uid, l)
	}
	if p, r := table.Program(990, l); r != Granted || p.Crowded != nil {
		t.Errorf("where all shared places are taken: %v", r)
	}
}

// A place that is left is free again, for whoever comes.
func TestProgramsLeave(t *testing.T) {
	var table Table
	l := Limits{Programs: 4}
	for range 100 {
		p, r := table.Program(71000, l)
		if r != Granted {
			t.Fatal(r)
		}
		p.Free()
	}
}

// A81: an IPv6 /56 has a quarter of the sessions with strangers and a /48 half,
// however many /64 there are in it; who is trusted, and this machine, have places
// that no stranger takes.
func TestNetworksShares(t *testing.T) {
	var table Table
	l := Limits{Clients: 100, PerAddress: 1}
	classOf := func(a netip.Addr) Class {
		switch {
		case a.IsLoopback() || a == netip.MustParseAddr("2001:db8:1::25"):
			return Here
		case a.IsPrivate():
			return Trusted
		}
		return Stranger
	}
	served := func(format string, tries int) (n int) {
		for i := range tries {
			a := netip.MustParseAddr(fmt.Sprintf(format, i))
			if _, r := table.Client(a, classOf(a), l); r == Granted {
				n++
			}
		}
		return n
	}
	for _, tt := range []struct {
		what, format string
		tries, want  int
	}{
		{"a /56", "2001:db8:1:%x::1", 256, 25},
		{"its /48", "2001:db8:1:%x00::1", 256, 25}, // with the first
		{"another /48", "2001:db8:2:%x00::1", 256, 50},
		{"a stranger more than there are", "192.0.2.%d", 1, 0},
		{"this machine, by its loopback address", "127.0.0.%d", 50, 50},
		{"this machine, by its own address", "2001:db8:1::2%d", 6, 1}, // ::25; the others are strangers
		{"trusted clients", "10.0.0.%d", 110, 100},
	} {
		if got := served(tt.format, tt.tries); got != tt.want {
			t.Errorf("%s: %d sessions of %d, want %d", tt.what, got, tt.tries, tt.want)
		}
	}
}

// What one refused session had counted for is not kept.
func TestNetworksLeave(t *testing.T) {
	var table Table
	l := Limits{Clients: 4, PerAddress: 1}
	a := netip.MustParseAddr("2001:db8::1")
	for range 3 {
		p, r := table.Client(a, Stranger, l)
		if _, second := table.Client(a, Stranger, l); r != Granted || second != AddressOut {
			t.Fatalf("the first: %v, the second, for whom a /56 of one place has none: %v", r, second)
		}
		p.Free()
	}
	if table.strangers.Inside() != 0 || table.clients.Inside() != 0 {
		t.Errorf("%d strangers and %d clients are counted when nobody is left", table.strangers.Inside(), table.clients.Inside())
	}
}
