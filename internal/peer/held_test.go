package peer

import (
	"math"
	"math/rand/v2"
	"net/netip"
	"testing"
)

const mebi = 1 << 20

// disk is room for mail, of which what was taken is gone.
type disk struct {
	Held
	free Amount
}

// most takes as much as a holder may have, in pieces.
func (d *disk) most(h Holder, piece Amount) (n int64) {
	for d.Take(h, piece, d.free) {
		d.free = d.free.Minus(piece)
		n++
	}
	return n
}

// A35, A81: however many networks hold what they are let, there is room for the next
// one, all of a /48 are one, and half is left for this machine's programs; of these
// each next one finds half.
func TestHeldLeavesRoom(t *testing.T) {
	elsewhere := func(addr string) Holder { return HolderAt(netip.MustParseAddr(addr), false) }
	user := func(uid int) Holder { return Places{Server: 900}.Holder(uid) }
	const piece = 256 << 10
	for _, of := range []struct {
		name        string
		piece, free Amount
	}{
		{"octets", Amount{Octets: piece}, Amount{64 * mebi, math.MaxInt64}},
		{"files", Amount{Files: 1}, Amount{math.MaxInt64, 64 * mebi / piece}},
		{"both", Amount{piece, 1}, Amount{64 * mebi, 64 * mebi / piece}},
	} {
		d := disk{free: of.free}
		for _, tt := range []struct {
			h    Holder
			want int64 // MiB
		}{
			{elsewhere("2001:db8:1::1"), 16}, {elsewhere("2001:db8:1:ff::1"), 0}, {elsewhere("2001:db8:1:ff00::1"), 0},
			{elsewhere("192.0.2.1"), 8}, {elsewhere("192.0.2.2"), 4}, {elsewhere("192.0.2.3"), 2}, {elsewhere("192.0.2.4"), 1},
			{user(1000), 16}, {user(1001), 8}, {HolderAt(netip.MustParseAddr("127.0.0.1"), true), 4}, {Reports, 2},
		} {
			got, want := d.most(tt.h, of.piece)*piece, tt.want*mebi
			if got < want-2*piece || got > want+2*piece { // a MiB of the strangers' half is left
				t.Errorf("%s: %+v holds %d KiB of 64 MiB, want %d", of.name, tt.h, got>>10, want>>10)
			}
		}
		for _, h := range []Holder{user(0), user(900)} {
			if !d.Fits(h, of.piece, d.free) || d.Of(h) != (Amount{}) || h.Counted() {
				t.Errorf("%s: %+v has bounds", of.name, h)
			}
		}
	}
}

// A81: it doesn't matter who comes first: a network that comes when users have all that
// they can get finds half of what is left, and one that comes when other networks hold
// theirs, and users too, has not lost what users took meanwhile.
func TestHeldInAnyOrder(t *testing.T) {
	elsewhere := func(addr string) Holder { return HolderAt(netip.MustParseAddr(addr), false) }
	user := func(uid int) Holder { return Places{}.Holder(uid) }
	const piece = 64 << 10
	for _, order := range [][]struct {
		h    Holder
		want int64 // MiB
	}{
		{{user(1), 32}, {user(2), 16}, {elsewhere("192.0.2.1"), 8}, {elsewhere("192.0.2.2"), 4}, {user(3), 2}},
		{{elsewhere("192.0.2.1"), 16}, {user(1), 24}, {elsewhere("192.0.2.2"), 8}, {elsewhere("192.0.2.3"), 4}, {user(2), 6}, {user(3), 3}},
	} {
		d := disk{free: Amount{64 * mebi, math.MaxInt64}}
		for _, tt := range order {
			if got, want := d.most(tt.h, Amount{piece, 1})*piece, tt.want*mebi; got < want-2*piece || got > want+2*piece {
				t.Errorf("%+v holds %d KiB of 64 MiB, want %d", tt.h, got>>10, want>>10)
			}
		}
	}
}

// A81: who sends all mail of a machine has half of a big disk.
func TestHeldOnBigDisk(t *testing.T) {
	d := disk{free: Amount{100 << 30, 6 << 20}}
	if n := d.most(Places{}.Holder(1000), Amount{100 << 10, 1}); n < 500_000 {
		t.Errorf("a list has %d messages of 100 KiB on a disk of 100 GiB", n)
	}
}

// The sums are those of what was added and taken back, and nothing is kept of who has
// nothing.
func TestHeldSums(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	holders := []Holder{Reports, Places{}.Holder(1), Places{}.Holder(2), Places{}.Holder(0)}
	for _, a := range []string{"192.0.2.1", "192.0.2.2", "2001:db8:1::1", "2001:db8:1:1::1", "2001:db8:1:100::1", "2001:db8:2::1"} {
		holders = append(holders, HolderAt(netip.MustParseAddr(a), false))
	}
	var d Held
	has := map[Holder]Amount{}
	for range 10_000 {
		h, n := holders[r.IntN(len(holders))], Amount{r.Int64N(mebi), 1}
		if had := has[h]; had.Files > 0 && r.IntN(2) == 0 {
			n = Amount{-r.Int64N(had.Octets + 1), -1}
			if had.Files == 1 {
				n.Octets = -had.Octets
			}
		}
		d.Add(h, n)
		has[h] = has[h].plus(n)
	}
	all, site := Amount{}, Amount{}
	for h, n := range has {
		if !h.Counted() {
			n = Amount{}
		}
		if got := d.Of(h); got != n {
			t.Errorf("%+v has %+v, want %+v", h, got, n)
		}
		if h.Stranger() {
			all = all.plus(n)
		}
		if h.Stranger() && netip.MustParsePrefix("2001:db8:1::/56").Contains(h.network.Addr()) {
			site = site.plus(n)
		}
	}
	for h, want := range map[Holder]Amount{allStrangers: all, {kind: stranger, network: netip.MustParsePrefix("2001:db8:1::/56")}: site} {
		if got := d.Of(h); got != want {
			t.Errorf("%+v has %+v, want %+v", h, got, want)
		}
	}
	for h := range has {
		d.Add(h, Amount{}.Minus(d.Of(h)))
	}
	if d.Holders() != 0 {
		t.Errorf("%d holders of nothing are kept: %v", d.Holders(), d.of)
	}
}
