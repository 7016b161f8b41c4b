package filterline

import (
	"net/netip"
	"strings"
	"testing"
)

// any address is a good one here.
func anyAddress(s string) (string, bool) { return s, strings.ContainsAny(s, "/:") }

// TestParse: the text of filters reads as the same ones, sockets (S96)
// and hosts with ports (S104), and what is wrong is told.
func TestParse(t *testing.T) {
	for _, tt := range []struct {
		text string
		n    int
		want string // of the error
	}{
		{"/f", 1, ""},
		{"/f,[::1]:1,localhost:2", 3, ""},
		{"/f=g name=a 127.0.0.1:2 fail=Reject", 2, ""},
		{"/f name=a connect=3s command=1m30s message=250ms fail=tempfail ports=25,587 clients=192.0.2.0/24,2001:db8::1 for=received", 1, ""},
		{"/f for=submitted fail=quarantine", 1, ""},
		{"name=a", 0, "want an address in front of name=a"},
		{"host", 0, "want /socket or host:port"},
		{"/f name=", 0, "name=: want letters"},
		{"/f name=a.b", 0, "name=: want letters"},
		{"/f name=" + strings.Repeat("a", 41), 0, "at most 40"},
		{"/f command=0s", 0, "command=: want a time"},
		{"/f message=11m", 0, "at most 10m"},
		{"/f fail=close", 0, "fail=: want one of [open tempfail reject quarantine]"},
		{"/f ports=25,x", 0, "ports=: want numbers"},
		{"/f ports=0", 0, "ports=: want numbers"},
		{"/f clients=here", 0, "clients=: want addresses"},
		{"/f for=me", 0, "for=: want one of"},
		{"/f maxsize=3", 0, "no word maxsize="},
	} {
		all, err := Parse(tt.text, anyAddress)
		if tt.want != "" {
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%q: got %v, want %s", tt.text, err, tt.want)
			}
			continue
		}
		if err != nil || len(all) != tt.n {
			t.Errorf("%q: %v, %v", tt.text, all, err)
		}
		var text []string
		for _, f := range all {
			text = append(text, f.String())
		}
		again, err := Parse(strings.Join(text, " "), anyAddress)
		if err != nil || len(again) != len(all) {
			t.Fatalf("%q: %v, %v", text, again, err)
		}
		for i := range again {
			if again[i].String() != text[i] {
				t.Errorf("%q became %q", text[i], again[i].String())
			}
		}
	}
}

// TestHas: whose mail a filter sees, by port and address.
func TestHas(t *testing.T) {
	for _, tt := range []struct {
		line, client string
		port         int
		want         bool
	}{
		{"/f", "192.0.2.7", 25, true},
		{"/f ports=25,465", "192.0.2.7", 465, true},
		{"/f ports=25,465", "192.0.2.7", 587, false},
		{"/f clients=192.0.2.0/24", "192.0.2.7", 25, true},
		{"/f clients=192.0.2.0/24", "::ffff:192.0.2.7", 25, true},
		{"/f clients=192.0.2.0/24,2001:db8::/32", "2001:db8::1", 25, true},
		{"/f clients=192.0.2.0/24", "192.0.3.7", 25, false},
		{"/f clients=fe80::/10", "fe80::1%eth0", 25, true},
	} {
		all, err := Parse(tt.line, anyAddress)
		if err != nil {
			t.Fatal(err)
		}
		if got := all[0].Has(netip.MustParseAddr(tt.client), tt.port); got != tt.want {
			t.Errorf("%s has %s at %d: %v", tt.line, tt.client, tt.port, got)
		}
	}
}

func TestTwice(t *testing.T) {
	all, err := Parse("/f name=a /g name=b /h name=a", anyAddress)
	if err != nil || Twice(all) != "a" || Twice(all[:2]) != "" {
		t.Errorf("%v, %q", err, Twice(all))
	}
}
