package rates

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"testing"
	"time"
)

var start = time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)

// ten are limits of ten of each kind a minute.
func ten() (l Limits) {
	l.Per = time.Minute
	for k := range l.Most {
		l.Most[k] = 10
	}
	return l
}

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

// TestTake: as many as the limit at once, and then one whenever its part of the time has
// passed; the wait that is told is exactly what is needed. Kinds and addresses don't
// matter to each other.
func TestTake(t *testing.T) {
	var tab Table
	l, a, now := ten(), addr("192.0.2.7"), start
	for i := range 10 {
		if r, ok := tab.Take(now, a, Messages, l); !ok {
			t.Fatalf("number %d: %+v", i+1, r)
		}
	}
	for i, first := range []bool{true, false, false} {
		if r, ok := tab.Take(now, a, Messages, l); ok || r.Wait != 6*time.Second || r.First != first {
			t.Errorf("refusal %d: %+v, %v, want a wait of 6 s", i+1, r, ok)
		}
	}
	if _, ok := tab.Take(now, addr("64:ff9b::192.0.2.7"), Messages, l); ok {
		t.Error("the same address behind a translator is another one")
	}
	for _, other := range []netip.Addr{addr("192.0.2.8"), addr("2001:db8::1"), addr("64:ff9b::192.0.2.9")} {
		if _, ok := tab.Take(now, other, Messages, l); !ok {
			t.Errorf("%v is refused", other)
		}
	}
	if _, ok := tab.Take(now, a, Recipients, l); !ok {
		t.Error("another kind is refused")
	}
	if _, ok := tab.Take(now.Add(6*time.Second-1), a, Messages, l); ok {
		t.Error("before the wait is over one more is allowed")
	}
	now = now.Add(6 * time.Second)
	if _, ok := tab.Take(now, a, Messages, l); !ok {
		t.Error("after the wait none is allowed")
	}
	if r, ok := tab.Take(now, a, Messages, l); ok || !r.First {
		t.Errorf("behind that: %+v, %v, want a new refusal", r, ok)
	}
	now = now.Add(time.Hour)
	for i := range 10 {
		if _, ok := tab.Take(now, a, Messages, l); !ok {
			t.Errorf("an hour later, number %d is refused", i+1)
		}
	}
}

// TestClockBack: what was counted while the clock was a year ahead refuses nobody when it
// is right again.
func TestClockBack(t *testing.T) {
	var tab Table
	l, a := ten(), addr("192.0.2.7")
	for range 10 {
		tab.Take(start.AddDate(1, 0, 0), a, Messages, l)
	}
	for i := range 10 {
		if r, ok := tab.Take(start, a, Messages, l); !ok {
			t.Fatalf("number %d: %+v", i+1, r)
		}
	}
	if r, ok := tab.Take(start, a, Messages, l); ok || r.Wait != 6*time.Second {
		t.Errorf("one more: %+v, %v, want a wait of 6 s", r, ok)
	}
}

// TestLookAndCount: what is counted afterwards, as an unknown recipient, is refused before
// it is tried again, and doesn't grow beyond one time.
func TestLookAndCount(t *testing.T) {
	var tab Table
	l, a, now := ten(), addr("192.0.2.7"), start
	for range 10 {
		if _, ok := tab.Look(now, a, Unknown, l); !ok {
			t.Fatal("refused too early")
		}
		tab.Count(now, a, Unknown, l)
	}
	for range 100 { // all that its /24 may have in one go
		tab.Count(now, a, Unknown, l)
	}
	if r, ok := tab.Look(now, a, Unknown, l); ok || r.Wait != 6*time.Second {
		t.Errorf("%+v, %v, want a wait of 6 s", r, ok)
	}
}

// TestNetworks: the networks around an address have a multiple of what it has, and what
// they are refused is counted for nobody.
func TestNetworks(t *testing.T) {
	for _, tt := range []struct {
		format  string
		n, want int
	}{
		{"192.0.2.%d", 256, 16 * 10}, {"2001:db8:1:%x::1", 1000, 16 * 10}, {"2001:db8:%x::1", 1000, 64 * 10},
		{"2001:db8:1:2::%x", 1000, 10},
	} {
		var tab Table
		allowed := 0
		for i := range tt.n {
			for range 20 {
				if _, ok := tab.Take(start, addr(fmt.Sprintf(tt.format, i)), Connections, ten()); ok {
					allowed++
				}
			}
		}
		if allowed != tt.want {
			t.Errorf("%s: %d are allowed, want %d", tt.format, allowed, tt.want)
		}
	}
}

// TestOff: without a limit nothing is counted and no memory taken.
func TestOff(t *testing.T) {
	var tab Table
	for _, l := range []Limits{{}, {Per: time.Minute}, {Most: ten().Most}} {
		for range 100 {
			if _, ok := tab.Take(start, addr("192.0.2.7"), Connections, l); !ok {
				t.Fatal("refused")
			}
			tab.Count(start, addr("192.0.2.7"), Unknown, l)
		}
	}
	if tab.store.entries != nil {
		t.Error("the table was made")
	}
}

// A81: who has an IPv6 /32 neither escapes by filling the table nor has others refused:
// its own part is bounded, who was limited stays so, and who wasn't is not.
func TestFlood(t *testing.T) {
	var tab Table
	l, now := ten(), start
	limited, good := addr("192.0.2.7"), addr("198.51.100.7")
	for range 10 {
		tab.Take(now, limited, Connections, l)
	}
	allowed := 0
	for i := range 200_000 {
		a := [16]byte{0x20, 0x01, 0x0d, 0xb8}
		binary.BigEndian.PutUint32(a[4:], rand.Uint32())
		if _, ok := tab.Take(now, netip.AddrFrom16(a), Connections, l); ok {
			allowed++
		}
		if i%1000 == 0 {
			if _, ok := tab.Take(now, limited, Connections, l); ok {
				t.Fatalf("after %d of the flood who was limited is not", i)
			}
		}
	}
	if allowed != 64*10 {
		t.Errorf("a /32 was allowed %d, want %d", allowed, 64*10)
	}
	if _, ok := tab.Take(now, good, Connections, l); !ok {
		t.Error("another address is refused")
	}
}

// TestFull: addresses of the whole world, more than the table has, leave it as large as it
// is; none of them is refused for another's, and those that are limited are the last ones
// to be forgotten.
func TestFull(t *testing.T) {
	var tab Table
	l, now := ten(), start
	for i := range 100 { // each in a /24 of its own
		for range 10 {
			tab.Take(now, netip.AddrFrom4([4]byte{10, byte(i), 0, 1}), Connections, l)
		}
	}
	for i := range 40_000 {
		a := netip.AddrFrom4([4]byte{20 + byte(i>>16), byte(i >> 8), byte(i), 1})
		if _, ok := tab.Take(now, a, Connections, l); !ok {
			t.Fatalf("%v is refused", a)
		}
		now = now.Add(time.Millisecond / 10)
	}
	forgotten := 0
	for i := range 100 {
		if _, ok := tab.Look(now, netip.AddrFrom4([4]byte{10, byte(i), 0, 1}), Connections, l); ok {
			forgotten++
		}
	}
	if forgotten > 0 {
		t.Errorf("%d of 100 limited addresses are forgotten", forgotten)
	}
	if n := len(tab.store.entries); n != sets*ways || reflect.TypeFor[entry]().Size() > 96 {
		t.Errorf("%d entries of %d octets", n, reflect.TypeFor[entry]().Size())
	}
}

// TestLimited tells who is refused what, and until when.
func TestLimited(t *testing.T) {
	var tab Table
	l := ten()
	for range 13 {
		tab.Take(start, addr("192.0.2.7"), Messages, l)
		tab.Take(start, addr("192.0.2.8"), Recipients, Limits{Per: time.Minute, Most: [kinds]int{Recipients: 100}})
	}
	for i := range 200 {
		tab.Take(start, addr(fmt.Sprintf("2001:db8:1:%x::1", i)), Connections, l)
	}
	got := map[string]Limited{}
	for _, one := range tab.Limited(start, l) {
		got[one.Network.String()] = one
	}
	want := map[string]Limited{
		"192.0.2.7/32":    {netip.MustParsePrefix("192.0.2.7/32"), Messages, 10, time.Minute, 3, 6 * time.Second},
		"2001:db8:1::/48": {netip.MustParsePrefix("2001:db8:1::/48"), Connections, 160, time.Minute, 40, time.Minute / 160},
	}
	for network, one := range want {
		if got[network] != one {
			t.Errorf("%s: %+v, want %+v", network, got[network], one)
		}
	}
	if len(got) != len(want) {
		t.Errorf("limited: %v, want %d", got, len(want))
	}
	if all := tab.Limited(start.Add(time.Minute), l); len(all) != 0 {
		t.Errorf("a minute later: %v", all)
	}
}

// FuzzTake: whatever comes when, nobody has more than the limit and what time gives on
// top of it, and who waits as long as they are told is allowed.
func FuzzTake(f *testing.F) {
	f.Add([]byte{0, 0, 0, 5, 255, 255, 3, 2, 1}, uint8(3))
	f.Fuzz(func(t *testing.T, pauses []byte, most uint8) {
		var tab Table
		l := Limits{Per: time.Minute}
		l.Most[Messages] = int(most%20) + 1
		now, n := start, 0
		for _, p := range pauses {
			now = now.Add(time.Duration(p) * 100 * time.Millisecond)
			r, ok := tab.Take(now, addr("192.0.2.7"), Messages, l)
			if ok {
				n++
			} else if _, ok := tab.Look(now.Add(r.Wait), addr("192.0.2.7"), Messages, l); !ok || r.Wait <= 0 {
				t.Fatalf("told to wait %v, and refused then", r.Wait)
			}
		}
		if most := l.Most[Messages] + 1 + int(now.Sub(start)/(l.Per/time.Duration(l.Most[Messages]))); n > most {
			t.Errorf("%d are allowed in %v, want %d at most", n, now.Sub(start), most)
		}
	})
}

// BenchmarkTake: one of many addresses makes a connection.
func BenchmarkTake(b *testing.B) {
	var tab Table
	l, now := ten(), start
	for i := 0; b.Loop(); i++ {
		now = now.Add(time.Millisecond)
		tab.Take(now, netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), Connections, l)
	}
}
