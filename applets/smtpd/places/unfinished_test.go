package places

import (
	"net/netip"
	"testing"
)

// A35, A81: however many networks hold what they are let, there is room for the next
// one, and all of a /48 are one.
func TestUnfinishedLeaveRoom(t *testing.T) {
	const mebi = 1 << 20
	const step = 256 << 10
	var u Unfinished
	most := func(addr string) (n int64) {
		for u.Take(netip.MustParseAddr(addr), step, 64*mebi-u.all) {
			n += step
		}
		return n
	}
	for _, tt := range []struct {
		addr string
		want int64
	}{
		{"2001:db8:1::1", 16}, {"2001:db8:1:ff::1", 0}, {"2001:db8:1:ff00::1", 0},
		{"192.0.2.1", 8}, {"192.0.2.2", 4}, {"192.0.2.3", 2}, {"192.0.2.4", 1},
	} {
		if got := most(tt.addr); got != tt.want*mebi {
			t.Errorf("%s holds %d KiB of 64 MiB, want %d", tt.addr, got>>10, tt.want<<10)
		}
	}
}
