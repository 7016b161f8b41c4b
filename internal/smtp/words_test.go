package smtp

import (
	"net/netip"
	"testing"
)

func TestFold(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"", ""},
		{"alice", "alice"},
		{"aLICE@Host.Example", "alice@host.example"},
		{"@[Z`{", "@[z`{"},
		{"K\u212a", "k\u212a"}, // the Kelvin sign is no k
		{"\u00c4\xc1", "\u00c4\xc1"},
		{"I\u0130\u0131", "i\u0130\u0131"},
	} {
		if got := Fold(tt.in); got != tt.want {
			t.Errorf("Fold(%q): %q, want %q", tt.in, got, tt.want)
		}
		if !EqualFold(tt.in, tt.want) {
			t.Errorf("%q and %q are not equal", tt.in, tt.want)
		}
	}
	for _, tt := range [][2]string{{"a", "b"}, {"a", "aa"}, {"k", "\u212a"}, {"@", "`"}, {"[", "{"}, {"s", "\u017f"}} {
		if EqualFold(tt[0], tt[1]) {
			t.Errorf("%q and %q are equal", tt[0], tt[1])
		}
	}
}

func TestPrintable(t *testing.T) {
	for _, tt := range []struct {
		in   string
		max  int
		want string
	}{
		{"", 10, ""},
		{"plain ~text", 100, "plain ~text"},
		{"a\x1b[2J\r\n", 100, `a\x1b[2J\x0d\x0a`},
		{"\u00e4\xff\x7f", 100, `\xc3\xa4\xff\x7f`},
		{"12345", 5, "12345"},
		{"123456", 5, "12345..."},
		{"\x01\x02\x03", 5, `\x01\x02...`},
	} {
		if got := Printable(tt.in, tt.max); got != tt.want {
			t.Errorf("Printable(%q, %d): %q, want %q", tt.in, tt.max, got, tt.want)
		}
	}
}

func TestMasked(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"", ""}, {"plain", "plain"}, {"a\tb\xffc", "a?b?c"}, {"\n\n", "??"},
	} {
		if got := Masked(tt.in, '?', IsPrintable); got != tt.want {
			t.Errorf("Masked(%q): %q, want %q", tt.in, got, tt.want)
		}
	}
}

func TestParseLiteral(t *testing.T) {
	for _, tt := range []struct {
		in     string
		addr   string // "": none
		inMail bool   // Path.Literal takes it too
		key    string // of DomainKey
	}{
		{"[192.0.2.1]", "192.0.2.1", true, "[192.0.2.1]"},
		{"[IPv6:2001:db8::1]", "2001:db8::1", true, "[IPv6:2001:db8::1]"},
		{"[ipv6:2001:DB8:0::1]", "2001:db8::1", true, "[IPv6:2001:db8::1]"},
		{"[2001:db8::1]", "2001:db8::1", false, "[IPv6:2001:db8::1]"},
		{"[IPv6:192.0.2.1]", "192.0.2.1", false, "[192.0.2.1]"},
		{"[IPv6:::ffff:192.0.2.1]", "192.0.2.1", true, "[192.0.2.1]"},
		{"[fe80::1%eth0]", "", false, "[fe80::1%eth0]"},
		{"[IPv6:]", "", false, "[ipv6:]"},
		{"[]", "", false, "[]"},
		{"[", "", false, "["},
		{"", "", false, ""},
		{"192.0.2.1", "", false, "192.0.2.1"},
		{"[192.0.2.1", "", false, "[192.0.2.1"},
		{"[192.0.2.1].", "", false, "[192.0.2.1]."},
		{"Host.Example", "", false, "host.example"},
	} {
		a, ok := ParseLiteral(tt.in)
		if ok != (tt.addr != "") || ok && a.String() != tt.addr {
			t.Errorf("ParseLiteral(%q): %v, %v, want %q", tt.in, a, ok, tt.addr)
		}
		if _, ok := (Path{Domain: tt.in}).Literal(); ok != tt.inMail {
			t.Errorf("Path.Literal of %q: %v, want %v", tt.in, ok, tt.inMail)
		}
		if key := DomainKey(tt.in); key != tt.key {
			t.Errorf("DomainKey(%q): %q, want %q", tt.in, key, tt.key)
		}
	}
	if got := FormatLiteral(netip.MustParseAddr("fe80::1%eth0")); got != "[IPv6:fe80::1]" {
		t.Errorf("with a zone: %q", got)
	}
}

// TestParseNetwork: there is one form of each network, and an address is one.
func TestParseNetwork(t *testing.T) {
	for in, want := range map[string]string{ // "": none
		"192.0.2.0/24": "192.0.2.0/24", "192.0.2.77/24": "192.0.2.0/24", "::/0": "::/0", "2001:db8::1/32": "2001:db8::/32",
		"192.0.2.1": "192.0.2.1/32", "[192.0.2.1]": "192.0.2.1/32", "2001:DB8::1": "2001:db8::1/128", "[IPv6:2001:db8::1]": "2001:db8::1/128",
		"::ffff:192.0.2.3": "192.0.2.3/32", "[::ffff:192.0.2.3]": "192.0.2.3/32", "::ffff:192.0.2.77/120": "192.0.2.0/24", "::ffff:192.0.2.3/90": "::ffc0:0:0/90",
		"": "", "/": "", "[]": "", "192.0.2.0/33": "", "192.0.2.0/024": "", "192.0.2.0/255.255.255.0": "", "192.0.2.": "", "[2001:db8::]/32": "",
		"IPv6:2001:db8::1": "", "fe80::1%eth0": "", "[fe80::1%eth0]": "", "fe80::%eth0/64": "", "mail.example": "",
	} {
		p, ok := ParseNetwork(in)
		if ok != (want != "") || ok && p.String() != want {
			t.Errorf("ParseNetwork(%q): %v, %v, want %q", in, p, ok, want)
		}
	}
}
