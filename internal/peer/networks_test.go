package peer

import (
	"net/netip"
	"testing"
)

// TestNetworks: an address is in a network of its own family alone.
func TestNetworks(t *testing.T) {
	var n Networks
	for _, p := range []string{"192.0.2.77/24", "198.51.100.7/32", "2001:db8::1/32"} {
		n.Add(netip.MustParsePrefix(p))
	}
	for a, want := range map[string]bool{
		"192.0.2.1": true, "192.0.3.1": false, "198.51.100.7": true, "198.51.100.8": false,
		"2001:db8:1::": true, "2001:db9::": false, "::ffff:192.0.2.1": false,
	} {
		if got := n.Contains(netip.MustParseAddr(a)); got != want {
			t.Errorf("%s: %v, want %v", a, got, want)
		}
	}
	if (&Networks{}).Contains(netip.MustParseAddr("192.0.2.1")) {
		t.Error("no networks contain an address")
	}
}
