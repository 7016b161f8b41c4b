package greylist

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"postoffice/internal/smtp"
)

func question(sender, client string) Question {
	q := Question{Client: netip.MustParseAddr(client)}
	if sender != "" {
		p, err := smtp.ParseAddress(sender)
		if err != nil {
			panic(sender + ": " + err.Error())
		}
		q.Sender = p
	}
	return q
}

func TestKeys(t *testing.T) {
	for _, tt := range []struct {
		sender, client, pool string
		o                    Rules
		want                 string
	}{
		{"joe@Far.example", "192.0.2.1", "", Rules{}, "joe@[192.0.2.1] @[192.0.2.1] joe@far.example"},
		{"JOE@far.example", "192.0.2.1", "", Rules{}, "joe@[192.0.2.1] @[192.0.2.1] joe@far.example"},
		{"", "192.0.2.1", "", Rules{}, "<>@[192.0.2.1]"},
		{"joe@far.example", "2001:db8::1", "", Rules{}, "joe@[ipv6:2001:db8::1] @[ipv6:2001:db8::1] joe@far.example"},
		{"joe@far.example", "192.0.2.1", "", Rules{From: true}, "joe@far.example @[192.0.2.1]"},
		{"", "192.0.2.1", "", Rules{From: true}, "<>@[192.0.2.1]"},
		{"joe@far.example", "192.0.2.129", "", Rules{Bits4: 24, Bits6: 64}, "joe@[192.0.2.0/24] @[192.0.2.0/24] joe@far.example"},
		{"joe@far.example", "2001:db8::1:2:3:4", "", Rules{Bits4: 24, Bits6: 64}, "joe@[ipv6:2001:db8::/64] @[ipv6:2001:db8::/64] joe@far.example"},
		{"joe@far.example", "192.0.2.129", "", Rules{Bits4: 32, Bits6: 128}, "joe@[192.0.2.129] @[192.0.2.129] joe@far.example"},
		{"joe@far.example", "192.0.2.1", "spf.big.example", Rules{}, "joe@[spf.big.example] joe@[192.0.2.1] @[192.0.2.1] joe@far.example"},
		{"", "192.0.2.1", "spf.big.example", Rules{Bits4: 24}, "<>@[spf.big.example] <>@[192.0.2.0/24]"},
		{`"<>"@far.example`, "192.0.2.1", "", Rules{}, `"<>"@[192.0.2.1] @[192.0.2.1] "<>"@far.example`},
		{`"joe@[192.0.2.9]"@far.example`, "192.0.2.1", "", Rules{}, `"joe@[192.0.2.9]"@[192.0.2.1] @[192.0.2.1] "joe@[192.0.2.9]"@far.example`},
		{"joe@[192.0.2.9]", "192.0.2.1", "", Rules{}, "joe@[192.0.2.1] @[192.0.2.1]"},
	} {
		q := question(tt.sender, tt.client)
		q.Pool = tt.pool
		if got := Keys(q, tt.o); !slices.Equal(got, strings.Fields(tt.want)) {
			t.Errorf("<%s> from %s, pool %q, %+v: %q, want %q", tt.sender, tt.client, tt.pool, tt.o, got, tt.want)
		}
	}
}

func TestCanonical(t *testing.T) {
	for in, want := range map[string]string{
		"Joe@[192.0.2.1]":        "joe@[192.0.2.1]",
		" joe@[2001:DB8:0::1] ":  "joe@[ipv6:2001:db8::1]",
		"<>@[IPv6:2001:db8::1]":  "<>@[ipv6:2001:db8::1]",
		"joe@[192.0.2.0/24]":     "joe@[192.0.2.0/24]",
		"joe@[_spf.big.example]": "joe@[_spf.big.example]",
		"Joe@Far.Example":        "joe@far.example",
		"joe":                    "joe",
	} {
		if got := Canonical(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
	for _, client := range []string{"192.0.2.1", "2001:db8::1"} {
		for _, key := range Keys(question("Joe@far.example", client), Rules{}) {
			if got := Canonical(strings.ToUpper(key)); got != key {
				t.Errorf("%q in capitals: %q", key, got)
			}
		}
	}
}

// TestImported: keys of the first postoffice's are found here, whatever case they are in.
func TestImported(t *testing.T) {
	for _, tt := range []struct{ key, want string }{
		{"Joe.Doe@[192.0.2.1]\x00", "joe.doe@[192.0.2.1]"},
		{"<>@[192.0.2.1]", "<>@[192.0.2.1]"},
		{"Joe@Far.Example", "joe@far.example"},
		{"joe@[IPv6:2001:DB8:0::1]", "joe@[ipv6:2001:db8::1]"},
	} {
		if key, value := Imported(tt.key, "1 2\x00"); key != tt.want || value != "1 2" {
			t.Errorf("%q: %q and %q, want %q", tt.key, key, value, tt.want)
		}
	}
}

// TestMerged: of two records of a key the better one for whom it is about holds, and a
// decision by hand before both, whichever comes first.
func TestMerged(t *testing.T) {
	const forbidden, allowed, passed, early, late, none = "* 100", "1 2 hand", "100 200", "100 50", "300 50", "what"
	for _, tt := range []struct{ a, b, want string }{
		{forbidden, allowed, forbidden}, {forbidden, passed, forbidden}, {allowed, passed, allowed}, {passed, early, passed},
		{passed, late, passed}, {early, late, early}, {none, late, late}, {none, none, none}, {late, late, late},
	} {
		if got, back := Merged(tt.a, tt.b), Merged(tt.b, tt.a); got != tt.want || back != tt.want {
			t.Errorf("%q and %q: %q, and the other way round %q, want %q", tt.a, tt.b, got, back, tt.want)
		}
	}
}
