package peer_test

import (
	"fmt"
	"net/netip"
	"testing"

	"postoffice/internal/peer"
)

// TestRoom: n in all and m for each key, and a place that was left is free.
func TestRoom(t *testing.T) {
	var r peer.Room[int]
	enter := func(uid int, want bool) {
		t.Helper()
		if got := r.Enter(uid, 5, 3); got != want {
			t.Errorf("uid %d enters: %v, want %v", uid, got, want)
		}
	}
	for _, want := range []bool{true, true, true, false} {
		enter(1, want)
	}
	for _, want := range []bool{true, true, false} { // full
		enter(2, want)
	}
	r.Leave(1)
	enter(3, true)
	enter(1, false) // full again
	r.Leave(2)
	enter(1, true)
	enter(1, false)
	if !r.Enter(1, -1, -1) {
		t.Error("no place without a limit")
	}
}

// A key that has left leaves nothing behind.
func TestRoomForgets(t *testing.T) {
	var r peer.Room[int]
	allocs := testing.AllocsPerRun(10, func() {
		for k := range 10_000 {
			r.Enter(k, 1, 1)
			r.Leave(k)
		}
	})
	if allocs > 100 {
		t.Errorf("%v allocations for 10,000 keys one after the other", allocs)
	}
}

// A81: a share is a part of what the others leave, so that there is a place for
// whoever comes next, and a single one where fewer are left.
func TestRoomShares(t *testing.T) {
	var r peer.Room[int]
	take := func(k int) (n int) {
		for r.EnterShare(k, 16, 4) {
			n++
		}
		return n
	}
	for k, want := range []int{4, 3, 2, 1, 1, 1, 1, 1, 1, 1, 0} {
		if got := take(k); got != want {
			t.Errorf("key %d has %d places, want %d", k, got, want)
		}
	}
	r.Leave(0)
	if !r.EnterShare(11, 16, 4) || r.EnterShare(0, 16, 4) {
		t.Error("a place that was left is not the next one's")
	}
}

// A81: an IPv6 address belongs to a /56 and a /48, an IPv4 address to neither.
func TestSite(t *testing.T) {
	for addr, want := range map[string]string{
		"2001:db8:1:2345::6%eth0": "[2001:db8:1:2300::/56 2001:db8:1::/48]",
		"::ffff:192.0.2.1":        "[]",
		"192.0.2.1":               "[]",
		"64:ff9b::192.0.2.1":      "[]",
		"64:ff9b:1::192.0.2.1":    "[]",
	} {
		if got := fmt.Sprint(peer.Site(netip.MustParseAddr(addr))); got != want {
			t.Errorf("%s: %s, want %s", addr, got, want)
		}
	}
	peer.Site(netip.Addr{})
}

// A81: whom a translator passes on counts by the IPv4 address, wherever in the IPv6 one
// that is (RFC 6052 section 2.4 has the examples), and none is taken for this machine.
func TestNetworkTranslated(t *testing.T) {
	for addr, want := range map[string]string{
		"192.0.2.33":                   "192.0.2.33/32",
		"::ffff:192.0.2.33":            "192.0.2.33/32",
		"2001:db8:1:2345::6%eth0":      "2001:db8:1:2345::/64",
		"64:ff9b::192.0.2.33":          "192.0.2.33/32",
		"64:ff9b:1:c000:2:2100::":      "192.0.2.33/32", // behind a prefix of 48 bits
		"64:ff9b:1:1c0:0:221::":        "192.0.2.33/32", // of 56
		"64:ff9b:1:122:c0:2:2100::":    "192.0.2.33/32", // of 64
		"64:ff9b:1:122:0:3:192.0.2.33": "192.0.2.33/32", // of 96
		"64:ff9b:1::198.51.100.7":      "198.51.100.7/32",
		"64:ff9b:1:c633:64:700::":      "198.51.100.7/32",
		"64:ff9b:2::192.0.2.33":        "64:ff9b:2::/64", // no translator's
		"64:ff9b:0:1::192.0.2.33":      "64:ff9b:0:1::/64",
		"64:ff9b::127.0.0.1":           "64:ff9b::/64", // no client of IPv4 has these
		"64:ff9b::0.0.0.0":             "64:ff9b::/64",
		"64:ff9b:1::":                  "64:ff9b:1::/64",
		"65:ff9b::192.0.2.33":          "65:ff9b::/64",
		"::64:ff9b:0:0":                "::/64",
	} {
		if got := peer.Network(netip.MustParseAddr(addr)).String(); got != want {
			t.Errorf("%s: %s, want %s", addr, got, want)
		}
	}
}

// A81: clients behind a translator are as many strangers as there are addresses of IPv4,
// for sessions and for the room for mail, and share those with the same ones without it.
func TestStrangersTranslated(t *testing.T) {
	var s peer.Strangers
	p := peer.StrangerPlaces{All: 40, Address: 1}
	for i := range 30 { // more than a /56 or a /48 may have
		if st := s.Enter(netip.MustParseAddr(fmt.Sprintf("64:ff9b::198.51.100.%d", i+1)), p); st == nil || st.Turn() != nil {
			t.Fatalf("client %d behind the translator isn't served", i)
		}
	}
	if st := s.Enter(netip.MustParseAddr("198.51.100.1"), p); st == nil || st.Turn() == nil {
		t.Errorf("the address of one of them is another stranger's")
	}
	if a, b := peer.HolderAt(netip.MustParseAddr("64:ff9b:1::198.51.100.1"), false), peer.HolderAt(netip.MustParseAddr("198.51.100.1"), false); a != b {
		t.Errorf("they hold room apart: %v, %v", a, b)
	}
}

// A81: uids without an account are one user, and those who have places of their own
// take the shared ones when they have no more.
func TestUsers(t *testing.T) {
	var u peer.Users
	p := peer.Places{Shared: 16, Own: 2, Server: 990, Nobody: func(uid int) bool { return uid > 99_999 }}
	take := func(uid, tries int) (own, shared int) {
		for range tries {
			switch leave, mine := u.Enter(uid, p); {
			case leave != nil && mine:
				own++
			case leave != nil:
				shared++
			}
		}
		return own, shared
	}
	for _, tt := range []struct{ uid, own, shared int }{{1000, 0, 4}, {100_000, 0, 3}, {100_001, 0, 0}, {990, 2, 2}, {0, 2, 1}} {
		if own, shared := take(tt.uid, 9); own != tt.own || shared != tt.shared {
			t.Errorf("uid %d has %d places of its own and %d shared ones, want %d and %d", tt.uid, own, shared, tt.own, tt.shared)
		}
	}
	if u.Crowded(p) {
		t.Error("10 of 16 places are taken, and it is crowded")
	}
	take(2000, 1)
	take(2001, 1)
	if !u.Crowded(p) {
		t.Error("12 of 16 places are taken, and it is not crowded")
	}
}
