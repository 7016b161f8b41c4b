package coal

import (
	"errors"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// gate is one of a machine with three addresses that trusts some.
func gate() *Gate {
	g := &Gate{Ours: func() ([]netip.Addr, error) {
		return []netip.Addr{netip.MustParseAddr("192.0.2.25"), netip.MustParseAddr("2001:db8:25::25"), netip.MustParseAddr("fe80::25%eth0")}, nil
	}}
	g.Trust([]netip.Prefix{netip.MustParsePrefix("198.51.100.0/24"), netip.MustParsePrefix("203.0.113.7/32"), netip.MustParsePrefix("2001:db8:7::7/128"), netip.MustParsePrefix("2001:db8:8::/48")})
	return g
}

// TestA71Gate: the master keeps out no address of its own machine's, of trusted clients,
// or that is not one client's, whatever the server asks for.
func TestA71Gate(t *testing.T) {
	for _, tt := range []struct{ addr, want string }{ // what is kept out, or of the error
		{"192.0.2.1", "192.0.2.1/32"},
		{"::ffff:192.0.2.1", "192.0.2.1/32"},
		{"203.0.113.8", "203.0.113.8/32"},
		{"2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"},
		{"192.0.2.25", "this machine's address"},
		{"::ffff:192.0.2.25", "this machine's address"},
		{"2001:db8:25::25", "this machine's address"},
		{"2001:db8:25::1", "this machine's address"}, // of the same /64
		{"fe80::1", "this machine's address"},
		{"198.51.100.9", "xclient-from (198.51.100.0/24)"},
		{"203.0.113.7", "options trusted"},
		{"2001:db8:7::7", "options trusted"},
		{"2001:db8:7::8", "options trusted"}, // likewise
		{"2001:db8:8:9::1", "xclient-from (2001:db8:8::/48)"},
		{"127.0.0.1", "no one client's"},
		{"127.9.9.9", "no one client's"},
		{"::1", "no one client's"},
		{"::ffff:127.0.0.1", "no one client's"},
		{"0.0.0.0", "no one client's"},
		{"::", "no one client's"},
		{"255.255.255.255", "no one client's"},
		{"224.0.0.1", "no one client's"},
		{"ff02::1", "no one client's"},
		{"64:ff9b::192.0.2.1", "no one client's"},
		{"64:ff9b:1::192.0.2.1", "no one client's"},
	} {
		p, err := gate().Judge(time.Now(), netip.MustParseAddr(tt.addr))
		got := p.String()
		if err != nil {
			got = err.Error()
		}
		if !strings.Contains(got, tt.want) || (err == nil) != (got == tt.want) {
			t.Errorf("%s: %s, %v, want %s", tt.addr, p, err, tt.want)
		}
	}
	g := gate()
	g.Trust(nil)
	if _, err := g.Judge(time.Now(), netip.MustParseAddr("198.51.100.9")); err != nil {
		t.Errorf("no longer trusted: %v", err)
	}
	g.Ours = func() ([]netip.Addr, error) { return nil, errors.New("no descriptors") }
	if _, err := g.Judge(time.Now(), netip.MustParseAddr("192.0.2.1")); err == nil {
		t.Error("who is of this machine is not known, and somebody is kept out")
	}
}

// TestA71GateIsNarrow: a server that asks for everybody gets few: sixty at once, and one
// a second, whatever it asks for.
func TestA71GateIsNarrow(t *testing.T) {
	g, now := gate(), time.Now()
	passed := func(requests int, each time.Duration) (n int) {
		for i := range uint32(requests) {
			now = now.Add(each)
			if _, err := g.Judge(now, numbered(1<<24+i)); err == nil {
				n++
			} else if !errors.Is(err, ErrTooMany) {
				t.Errorf("request %d: %v", i, err)
			}
		}
		return n
	}
	if n := passed(100_000, 0); n != maxAtOnce {
		t.Errorf("%d at once, want %d", n, maxAtOnce)
	}
	if n := passed(100_000, 10*time.Millisecond); n < 999 || n > 1000 {
		t.Errorf("%d in 1000 seconds, want 1000", n)
	}
	now = now.Add(24 * time.Hour)
	if n := passed(1000, 0); n != maxAtOnce {
		t.Errorf("%d at once after a day, want %d", n, maxAtOnce)
	}
	now = now.Add(-time.Hour) // a clock that is set back
	if n := passed(1000, 0); n != 0 {
		t.Errorf("%d after the clock was set back, want none", n)
	}
}

// TestKeeperTells: each client that is kept out is a line of the log; the same fault is
// one a minute.
func TestKeeperTells(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		var fault error
		k := &Keeper{Gate: Gate{Ours: func() ([]netip.Addr, error) { return nil, nil }}, For: time.Hour, Log: slog.New(slog.NewTextHandler(&log, nil))}
		var kept []string
		k.Add = func(p netip.Prefix, d time.Duration) error {
			kept = append(kept, p.String()+" "+d.String())
			return fault
		}
		said := func(text string) int { return strings.Count(log.String(), text) }
		k.KeepOut(numbered(1 << 24))
		k.KeepOut(netip.MustParseAddr("2001:db8::1"))
		if got := strings.Join(kept, ", "); got != "1.0.0.0/32 1h0m0s, 2001:db8::/64 1h0m0s" {
			t.Errorf("kept out are %s", got)
		}
		if said(`level=INFO msg="client kept out" client=[1.0.0.0] reason="1.0.0.0/32 may not connect for 1h0m0s"`) != 1 ||
			said(`msg="client kept out" client=[2001:db8::1] reason="2001:db8::/64 may`) != 1 {
			t.Errorf("the log has\n%s", &log)
		}
		fault = errors.New("full")
		for range 10 {
			k.KeepOut(numbered(1 << 24))
		}
		if n := said("client not kept out"); n != 1 {
			t.Errorf("told %d times within a minute, want once:\n%s", n, &log)
		}
		time.Sleep(time.Minute)
		k.KeepOut(numbered(1 << 24))
		for range 1000 {
			k.KeepOut(numbered(1 << 24))
		}
		if n, m := said("client not kept out"), said(ErrTooMany.Error()); n != 3 || m != 1 {
			t.Errorf("told %d times, %d of them of too many, want 3 and 1:\n%s", n, m, &log)
		}
	})
}
