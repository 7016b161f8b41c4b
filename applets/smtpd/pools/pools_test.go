package pools

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"

	"postoffice/internal/smtp"
)

// zone is DNS: texts by name, "A host" and "MX domain" lists.
type zone struct {
	all   map[string]string
	asked int
}

var errNone = errors.New("no such name")

func (z *zone) get(key string) ([]string, error) {
	z.asked++
	text, ok := z.all[key]
	if !ok {
		return nil, errNone
	}
	return strings.Split(text, "|"), nil
}

func (z *zone) TXT(_ context.Context, name string) ([]string, error) { return z.get(name) }

func (z *zone) Exchangers(_ context.Context, domain string) ([]string, error) {
	return z.get("MX " + domain)
}

func (z *zone) Addrs(_ context.Context, host string) (addrs []netip.Addr, err error) {
	all, err := z.get("A " + host)
	for _, a := range all {
		addrs = append(addrs, netip.MustParseAddr(a))
	}
	return addrs, err
}

func TestOf(t *testing.T) {
	z := &zone{all: map[string]string{
		"big.example":       "v=verify x|V=SPF1 ip4:192.0.2.0/24 -ip4:198.51.100.7 ip4:198.51.100.0/24 include:_more.big.example ~all",
		"_more.big.example": "v=spf1 ip6:2001:db8::/32 a:out.big.example/28 mx -all",
		"A out.big.example": "203.0.113.17", "MX _more.big.example": "mx.big.example", "A mx.big.example": "203.0.113.200|2001:db9::1",
		"customer.example":  "v=spf1 a mx include:other.example include:big.example -all",
		"moved.example":     "v=spf1 redirect=big.example",
		"redirect.example":  "v=spf1 redirect=_more.big.example",
		"liar.example":      "v=spf1 +all",
		"twice.example":     "v=spf1 ip4:192.0.2.0/24|v=spf1 ip4:192.0.2.0/24",
		"everybody.example": "v=spf1 ip4:192.0.2.0/33 +all",
		"loop.example":      "v=spf1 include:loop.example include:loop.example -all",
		"macro.example":     "v=spf1 exists:%{i}.x.example include:%{d}.x.example ip4:192.0.2.1 -all",
		"long.example":      "v=spf1 " + strings.Repeat("a:no.example ", 20) + "ip4:192.0.2.1 -all",
	}}
	p := New([]string{"big.example", "redirect.example", "twice.example", "everybody.example", "loop.example", "macro.example", "long.example", "missing.example"}, z)
	for _, tt := range []struct{ domain, addr, want string }{
		{"big.example", "192.0.2.1", "big.example"},
		{"Mail.BIG.example", "192.0.2.1", "big.example"},
		{"verybig.example", "192.0.2.1", ""},
		{"customer.example", "192.0.2.1", "big.example"},
		{"moved.example", "192.0.2.1", "big.example"},
		{"big.example", "198.51.100.1", "big.example"},
		{"big.example", "198.51.100.7", ""}, // excluded
		{"big.example", "2001:db8::1", "big.example"},
		{"big.example", "203.0.113.30", "big.example"}, // a with a length
		{"big.example", "203.0.113.32", ""},
		{"big.example", "203.0.113.200", "big.example"}, // mx
		{"big.example", "203.0.113.201", ""},
		{"big.example", "2001:db9::1", "big.example"},
		{"redirect.example", "2001:db8::1", "redirect.example"},
		{"customer.example", "203.0.113.99", ""},
		{"liar.example", "192.0.2.1", ""}, // it names no provider
		{"twice.example", "192.0.2.1", ""},
		{"everybody.example", "192.0.2.1", ""},
		{"loop.example", "192.0.2.1", ""},
		{"macro.example", "192.0.2.1", "macro.example"},
		{"long.example", "192.0.2.1", ""}, // beyond ten questions nothing is listed
		{"missing.example", "192.0.2.1", ""},
		{"nowhere.example", "192.0.2.1", ""},
		{"[192.0.2.1]", "192.0.2.1", ""},
		{"", "192.0.2.1", ""},
	} {
		z.asked = 0
		if got := p.Of(t.Context(), tt.domain, netip.MustParseAddr(tt.addr)); got != tt.want {
			t.Errorf("%s from %s: %q, want %q", tt.domain, tt.addr, got, tt.want)
		}
		if z.asked > maxQuestions {
			t.Errorf("%s from %s: %d questions", tt.domain, tt.addr, z.asked)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	z.asked = 0
	if got := p.Of(ctx, "big.example", netip.MustParseAddr("192.0.2.1")); got != "" || z.asked != 0 {
		t.Errorf("without time: %q, %d questions", got, z.asked)
	}
}

// TestShipped: each is a domain as it is looked for.
func TestShipped(t *testing.T) {
	seen := map[string]bool{}
	for _, name := range Shipped() {
		host, ok := smtp.CheckHost(name)
		if !ok || host != name || smtp.Fold(name) != name || seen[name] {
			t.Errorf("%q is no domain in lower case, or there twice", name)
		}
		seen[name] = true
	}
}

// FuzzParse: no record asks more than it may, and none lists everybody.
func FuzzParse(f *testing.F) {
	for _, s := range []string{"v=spf1 ip4:192.0.2.0/24 -all", "v=spf1 a/24//64 mx:x.example redirect=y.example", "v=spf1 +all", "v=spf1 : = / - a: a/ mx//"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		z := &zone{all: map[string]string{"p.example": text, "A p.example": "192.0.2.1", "MX p.example": "p.example"}}
		p := New([]string{"p.example"}, z)
		all := 0
		for _, a := range []string{"192.0.2.1", "0.0.0.1", "223.255.255.255", "100.100.100.100", "2001:db8::1", "fe80::1"} {
			z.asked = 0
			if p.Of(t.Context(), "p.example", netip.MustParseAddr(a)) != "" {
				all++
			}
			if z.asked > maxQuestions {
				t.Errorf("%q: %d questions", text, z.asked)
			}
		}
		if all == 6 && !strings.ContainsAny(text, "/") {
			t.Errorf("%q lists everybody", text)
		}
	})
}
