package smtp

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// Each entry of A16's, A18's, A19's and A11's lists is parsed to what it means
// or refused here; what is parsed is for the server's policy.
func TestParsePath(t *testing.T) {
	for _, tt := range []struct {
		name, arg string
		want      Path
		rest      string
		ok        bool
	}{
		{"null", "<>", Path{}, "", true},
		{"plain", "<a@b.example>", Path{"a", "b.example"}, "", true},
		{"parameters", "<a@b.example> SIZE=10  BODY=8BITMIME", Path{"a", "b.example"}, "SIZE=10  BODY=8BITMIME", true},
		{"trailing blank", "<a@b.example> ", Path{"a", "b.example"}, "", true},
		{"quoted", `<"a b\"c\\"@x>`, Path{`a b"c\`, "x"}, "", true},
		{"needless quotes", `<"alice"@us>`, Path{"alice", "us"}, "", true},
		{"quoted bracket", `<"a>b@c"@x> SIZE=1`, Path{"a>b@c", "x"}, "SIZE=1", true},
		{"empty quotes", `<""@x>`, Path{}, "", false},
		{"only empty quotes", `<"">`, Path{}, "", false},
		{"quotes without end", `<"a@x>`, Path{}, "", false},
		{"quotes end in backslash", `<"a\`, Path{}, "", false},
		{"two words", `<"a"b@x>`, Path{}, "", false},
		{"dots anywhere", "<.a..b.@x>", Path{".a..b.", "x"}, "", true},
		{"empty local part", "<@x>", Path{}, "", false},
		{"empty domain", "<a@>", Path{}, "", false},
		{"no brackets", "a@b.example", Path{}, "", false},
		{"no end", "<a@b.example", Path{}, "", false},
		{"text behind", "<a@b.example>SIZE=1", Path{}, "", false},
		{"empty", "", Path{}, "", false},
		{"blank before", " <a@b>", Path{}, "", false},
		{"underscore", "<a@my_host.example>", Path{"a", "my_host.example"}, "", true},
		{"hyphen first", "<a@-h.example>", Path{}, "", false},
		{"hyphen last", "<a@h-.example>", Path{}, "", false},
		{"hyphen inside", "<a@xn--h-1.example>", Path{"a", "xn--h-1.example"}, "", true},
		{"two dots in a domain", "<a@b..example>", Path{}, "", false},
		{"digits in a domain", "<a@163.com>", Path{"a", "163.com"}, "", true},
		{"A16 percent", "<v%far@us>", Path{"v%far", "us"}, "", true},
		{"A16 quoted at", `<"v@far"@us>`, Path{"v@far", "us"}, "", true},
		{"A16 source route", "<@us:v@far>", Path{"v", "far"}, "", true},
		{"A16 long source route", "<@us,@[192.0.2.1]:v@far>", Path{"v", "far"}, "", true},
		{"A16 route without address", "<@us:>", Path{}, "", false},
		{"A16 bad route", "<@us,far:v@far>", Path{}, "", false},
		{"A16 route of nothing", "<@:v@far>", Path{}, "", false},
		{"A16 bang", "<far!v>", Path{"far!v", ""}, "", true},
		{"A16 bang at", "<far!v@us>", Path{"far!v", "us"}, "", true},
		{"A16 two ats", "<v@far@us>", Path{}, "", false},
		{"A16 two ats, ours first", "<alice@us@far>", Path{}, "", false},
		{"A16 trailing dot", "<v@far.>", Path{}, "", false},
		{"A16 literal", "<v@[192.0.2.99]>", Path{"v", "[192.0.2.99]"}, "", true},
		{"A16 IPv6 literal", "<v@[IPv6:2001:db8::9]>", Path{"v", "[IPv6:2001:db8::9]"}, "", true},
		{"IPv6 without tag", "<v@[2001:db8::9]>", Path{}, "", false},
		{"IPv4 with tag", "<v@[IPv6:192.0.2.1]>", Path{}, "", false},
		{"IPv6 with zone", "<v@[IPv6:fe80::1%eth0]>", Path{}, "", false},
		{"IPv6 that holds IPv4", "<v@[ipv6:::ffff:192.0.2.1]>", Path{"v", "[ipv6:::ffff:192.0.2.1]"}, "", true},
		{"literal with leading zero", "<v@[192.0.2.09]>", Path{}, "", false},
		{"literal without end", "<v@[192.0.2.1>", Path{}, "", false},
		{"literal and more", "<v@[192.0.2.1]x>", Path{}, "", false},
		{"general literal", "<v@[x400:abc]>", Path{}, "", false},
		{"A16 number", "<v@3221226083>", Path{}, "", false},
		{"A16 address without brackets", "<v@192.0.2.99>", Path{}, "", false},
		{"A16 backslash", `<v\@far@us>`, Path{}, "", false},
		{"A16 NUL", "<v@far\x00@us>", Path{}, "", false},
		{"A16 comma", "<v@far,alice@us>", Path{}, "", false},
		{"A16 two brackets", "<<v@far>>", Path{}, "", false},
		{"A16 comment", "<(c)v@far>", Path{}, "", false},
		{"A16 blank", "<v @far>", Path{}, "", false},
		{"blank in the domain", "<v@far x>", Path{}, "", false},
		{"A16 ours as prefix", "<alice@us.far>", Path{"alice", "us.far"}, "", true},
		{"A16 ours as prefix without dot", "<alice@usfar>", Path{"alice", "usfar"}, "", true},
		{"A16 scheme", "<smtp:v@far>", Path{}, "", false},
		{"A16 postmaster", "<postmaster>", Path{"postmaster", ""}, "", true},
		{"A16 Postmaster", "<Postmaster@US>", Path{"Postmaster", "US"}, "", true},
		{"A18 program", "<|/bin/sh>", Path{"|/bin/sh", ""}, "", true},
		{"A18 program with a blank", "<|touch /x>", Path{}, "", false},
		{"A18 quoted program", `<"|id"@us>`, Path{"|id", "us"}, "", true},
		{"A18 file", "</etc/passwd>", Path{"/etc/passwd", ""}, "", true},
		{"A18 include", "<:include:/etc/passwd@us>", Path{}, "", false},
		{"A18 command", "<$(id)@us>", Path{}, "", false},
		{"A18 expansion", "<${run{id}}@us>", Path{"${run{id}}", "us"}, "", true},
		{"A18 semicolon", "<;id@us>", Path{}, "", false},
		{"A19 dots and slashes", "<../../tmp/x@us>", Path{"../../tmp/x", "us"}, "", true},
		{"A11 CR", "<root\r@us>", Path{}, "", false},
		{"A11 LF", "<root\n@us>", Path{}, "", false},
		{"A11 TAB", "<root\t@us>", Path{}, "", false},
		{"A11 DEL", "<root\x7f@us>", Path{}, "", false},
		{"A11 quoted CR", "<\"root\r\"@us>", Path{}, "", false},
		{"A11 control in a parameter", "<a@us> SIZE=1\x00", Path{}, "", false},
		{"long local part", "<" + strings.Repeat("a", 200) + "@us>", Path{strings.Repeat("a", 200), "us"}, "", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, rest, err := ParsePath(tt.arg)
			if got != tt.want || rest != tt.rest || (err == nil) != tt.ok {
				t.Errorf("%q: got %q %q, %v; want %q %q, ok %v", tt.arg, got, rest, err, tt.want, tt.rest, tt.ok)
			}
			if err != nil && !isPrintable(err.Error()) {
				t.Errorf("%q: %q", tt.arg, err)
			}
		})
	}
}

func TestA7NULAtEveryOffset(t *testing.T) {
	const arg = `<@h:"a\b"@us.example> SIZE=10 BODY=8BITMIME`
	if _, _, err := ParsePath(arg); err != nil {
		t.Fatal(err)
	}
	for i := range len(arg) + 1 {
		s := arg[:i] + "\x00" + arg[i:]
		if p, rest, err := ParsePath(s); !errors.Is(err, ErrControl) {
			t.Errorf("%q: got %q %q, %v, want ErrControl", s, p, rest, err)
		}
	}
}

// A15: a local part is UTF-8 without what nobody sees, octet for octet as it came; a domain
// becomes A-labels, or is none.
func TestA15UTF8(t *testing.T) {
	for _, tt := range []struct {
		octets string
		valid  bool
	}{
		{"\x80", false},
		{"\xc3", false},
		{"\xc0\xaf", false},
		{"\xed\xa0\x80", false},
		{"\xf4\x90\x80\x80", false},
		{"\xfe\xff", false},
		{"\u202e", false},
		{"\u200b", false},
		{"\u00a0", false},
		{"\u0085", false},
		{"\u2028", false},
		{"\ufeff", false},
		{"\ue000", false},
		{"\uffff", false},
		{"\u00e9", true},
		{"e\u0301", true},
		{"\u200d", true},
		{"\U0001f4ec", true},
		{"\uff41\uff4c\uff49\uff43\uff45", true},
	} {
		for _, form := range []string{"<a%s@us>", "<%s>", "<\"%s\"@us>"} {
			s := fmt.Sprintf(form, tt.octets)
			p, _, err := ParsePath(s)
			if (err == nil) != tt.valid || tt.valid && (!strings.HasSuffix(p.Local, tt.octets) || p.IsASCII()) {
				t.Errorf("%q: got %q, %v; want valid: %v", s, p, err, tt.valid)
			}
			again, err := ParseAddress(p.String())
			if tt.valid && (err != nil || again != p) {
				t.Errorf("%q is printed as %q, which is %q, %v", s, p, again, err)
			}
		}
		if p, err := ParseAddress("a@u" + tt.octets + "s"); err == nil && !p.IsASCII() {
			t.Errorf("domain with %q: %q", tt.octets, p)
		}
	}
	if p, err := ParseAddress("a@b\u00fccher.example"); err != nil || p != (Path{"a", "xn--bcher-kva.example"}) || !p.IsASCII() {
		t.Errorf("%v, %v", p, err)
	}
}

// RFC 5321 section 4.5.3.1: a domain of 255 octets and a path of 256 pass, one
// more does not.
func TestPathLengths(t *testing.T) {
	label := strings.Repeat("d", 63)
	domain := strings.Join([]string{label, label, label, label[:61]}, ".") // 253
	for _, tt := range []struct {
		arg  string
		want error
	}{
		{"<a@" + domain[2:] + ">", nil},
		{"<a@" + domain[1:] + ">", nil},
		{"<a@" + domain + ">", ErrTooLong},
		{"<a@" + domain + "dddd>", ErrTooLong},
		{"<a@" + label + ".x>", nil},
		{"<a@" + label + "d.x>", errDomain},
		{"<" + strings.Repeat("a", 254) + ">", nil},
		{"<" + strings.Repeat("a", 255) + ">", ErrTooLong},
		{"<" + strings.Repeat("a", 251) + ".@x>", ErrTooLong}, // its printed form is quoted
		{"<@" + domain + ":" + strings.Repeat("a", 250) + "@x>", nil},
	} {
		if p, _, err := ParsePath(tt.arg); !errors.Is(err, tt.want) {
			t.Errorf("%d octets: got %q, %v; want %v", len(tt.arg), p, err, tt.want)
		}
	}
}

func TestParseAddress(t *testing.T) {
	for _, tt := range []struct {
		s    string
		want Path
		ok   bool
	}{
		{"a@b.example", Path{"a", "b.example"}, true},
		{"alice", Path{"alice", ""}, true},
		{`"a b"@x`, Path{"a b", "x"}, true},
		{"", Path{}, false},
		{"<a@b>", Path{}, false},
		{"a@b>", Path{}, false},
		{"a>", Path{}, false},
		{"a@b c", Path{}, false},
		{"a@b ", Path{}, false},
		{"@r:a@b", Path{}, false},
		{"|touch /x", Path{}, false},
	} {
		got, err := ParseAddress(tt.s)
		if got != tt.want || (err == nil) != tt.ok {
			t.Errorf("%q: got %q, %v; want %q, ok %v", tt.s, got, err, tt.want, tt.ok)
		}
	}
}

// TestParseWritten: what people write as a domain is one.
func TestParseWritten(t *testing.T) {
	for s, want := range map[string]Path{
		"a@b.example.": {"a", "b.example"}, "a@b\u00fccher.example": {"a", "xn--bcher-kva.example"}, "a@b.example": {"a", "b.example"}, "alice": {"alice", ""},
		`"a@b."@x.`: {"a@b.", "x"}, `"a@b."`: {"a@b.", ""}, "a@": {}, "a@.": {}, "a@x..": {}, "\u00fc@x": {"\u00fc", "x"}, "a@[192.0.2.1]": {"a", "[192.0.2.1]"},
	} {
		if got, err := ParseWritten(s); got != want || (err == nil) == want.IsNull() {
			t.Errorf("%q: got %q, %v; want %q", s, got, err, want)
		}
	}
}

func TestParseParams(t *testing.T) {
	for _, tt := range []struct {
		s, want string // want: the parameters, joined by ","; "!" refused
	}{
		{"", ""},
		{"SIZE=10", "SIZE=10"},
		{"size=10  Body=8bitmime", "SIZE=10,BODY=8bitmime"},
		{"SMTPUTF8", "SMTPUTF8"},
		{"ORCPT=rfc822;a+2Bb@x", "ORCPT=rfc822;a+2Bb@x"},
		{"ORCPT=rfc822;a=b@x", "ORCPT=rfc822;a=b@x"},
		{"X-1-=a", "X-1-=a"},
		{"SIZE=", "!"},
		{"=10", "!"},
		{"-X=1", "!"},
		{"X_Y=1", "!"},
		{"SIZE=1 size=2", "!"},
		{"SIZE=1\x002", "!"},
		{"SIZE=1\t2", "!"},
		{"X=\u00e9", "!"},
		{"<a@b>", "!"},
	} {
		params, err := ParseParams(tt.s)
		var words []string
		for _, p := range params {
			words = append(words, p.String())
		}
		got := strings.Join(words, ",")
		if err != nil {
			got = "!"
		}
		if got != tt.want {
			t.Errorf("%q: got %q, %v; want %q", tt.s, got, err, tt.want)
		}
	}
}

func TestLiteral(t *testing.T) {
	for domain, want := range map[string]string{
		"[192.0.2.1]": "192.0.2.1", "[IPv6:2001:db8::1]": "2001:db8::1", "[]": "", "[192.0.2.1": "", "x.example": "", "": "",
	} {
		a, ok := Path{Local: "a", Domain: domain}.Literal()
		if ok != (want != "") || ok && a.String() != want {
			t.Errorf("%q: got %v, %v; want %q", domain, a, ok, want)
		}
	}
}
