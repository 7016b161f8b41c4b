package remote

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"syscall"
	"testing"

	"postoffice/deliver/outcome"
	"postoffice/resolver"
)

func netipList(a ...netip.Addr) []netip.Addr { return a }

func must(results []outcome.Outcome, err error) []outcome.Outcome {
	if err != nil {
		panic(err)
	}
	return results
}

// fakeDNS is a resolver from tables: text after a name is its answer, an error
// or addresses with blanks between them.
type fakeDNS struct {
	mx    map[string][]resolver.MX
	addrs map[string]string
	hosts map[string]string
}

func fail(text string) error {
	switch text {
	case "NXDOMAIN":
		return fmt.Errorf("asked: %w", resolver.ErrNotFound)
	case "NULLMX":
		return fmt.Errorf("asked: %w", resolver.ErrNullMX)
	case "SERVFAIL":
		return fmt.Errorf("asked: %w", resolver.ErrTemporary)
	}
	return nil
}

func (f fakeDNS) MX(_ context.Context, domain string) ([]resolver.MX, error) {
	if list, ok := f.mx[domain]; ok {
		return list, fail(list[0].Host)
	}
	if _, ok := f.addrs[domain]; !ok {
		return nil, fail("NXDOMAIN")
	}
	return []resolver.MX{{Host: domain, Implicit: true}}, nil
}

func (f fakeDNS) Addrs(_ context.Context, host string) ([]netip.Addr, error) {
	text, ok := f.addrs[host]
	if !ok {
		return nil, fail("NXDOMAIN")
	}
	if err := fail(text); err != nil {
		return nil, err
	}
	return parse(text), nil
}

func parse(text string) (list []netip.Addr) {
	for _, s := range strings.Fields(text) {
		list = append(list, netip.MustParseAddr(s))
	}
	return list
}

func (f fakeDNS) HostsFile(host string) []netip.Addr { return parse(f.hosts[host]) }

// IsOurs: 192.0.2.0/28 and loopback; of 203.0.113.0/24 it isn't known.
func (f fakeDNS) IsOurs(a netip.Addr) (bool, error) {
	if netip.MustParsePrefix("203.0.113.0/24").Contains(a) {
		return false, syscall.EMFILE
	}
	return a.IsLoopback() || netip.MustParsePrefix("192.0.2.0/28").Contains(a), nil
}

func mx(pref uint16, host string) resolver.MX { return resolver.MX{Host: host, Pref: pref} }

// hopWords prints targets or the failure.
func hopWords(list []Target, err error) string {
	if err != nil {
		var f *outcome.Failure
		if !errors.As(err, &f) {
			return "no Failure: " + err.Error()
		}
		return strings.TrimSpace(f.Action.String() + " " + f.Reply.Status)
	}
	var words []string
	for _, t := range list {
		for _, a := range t.Addrs {
			words = append(words, relayName(t, a))
		}
	}
	return strings.Join(words, " ")
}

// A58, A41: where mail for a domain goes.
func TestA41NextHops(t *testing.T) {
	var many [2]string
	for i := range 16 {
		many[i/8] += fmt.Sprintf("198.51.100.1%02d 2001:db8::1%02d ", i, i)
	}
	dns := fakeDNS{
		addrs: map[string]string{
			"a.example": "198.51.100.1", "b.example": "198.51.100.2 2001:db8::2", "us.example": "198.51.100.99",
			"ours.example": "192.0.2.1", "ours6.example": "198.51.100.3 192.0.2.2", "loop.example": "127.0.0.1",
			"loop6.example": "::1", "zero.example": "0.0.0.7", "zero6.example": "::", "cast.example": "224.0.0.1",
			"half.example": "127.0.0.1 198.51.100.4", "maybe.example": "203.0.113.1", "none.example": "", "bad.example": "SERVFAIL", "many.example": many[0], "many2.example": many[1], "a2.example": "198.51.100.1 198.51.100.1",
		},
		mx: map[string][]resolver.MX{
			"two":       {mx(10, "a.example"), mx(20, "b.example")},
			"null":      {mx(0, "NULLMX")},
			"servfail":  {mx(0, "SERVFAIL")},
			"nxdomain":  {mx(0, "NXDOMAIN")},
			"ours":      {mx(10, "ours.example"), mx(20, "a.example")},
			"backup":    {mx(10, "a.example"), mx(20, "ours.example"), mx(30, "b.example")},
			"equal":     {mx(5, "a.example"), mx(10, "b.example"), mx(10, "ours6.example")},
			"equalonly": {mx(10, "b.example"), mx(10, "ours6.example")},
			"byname":    {mx(10, "a.example"), mx(20, "us.example"), mx(30, "b.example")},
			"loop":      {mx(10, "loop.example"), mx(20, "loop6.example")},
			"trick":     {mx(0, "loop.example"), mx(10, "a.example")},
			"zero":      {mx(0, "zero.example"), mx(1, "zero6.example"), mx(2, "cast.example")},
			"half":      {mx(0, "half.example")},
			"gone":      {mx(0, "gone1.example"), mx(1, "gone2.example")},
			"gonehalf":  {mx(0, "gone1.example"), mx(1, "none.example")},
			"goneone":   {mx(0, "gone1.example"), mx(1, "a.example")},
			"bad":       {mx(0, "bad.example"), mx(1, "gone1.example")},
			"badgood":   {mx(0, "bad.example"), mx(1, "a.example")},
			"badours":   {mx(0, "bad.example"), mx(1, "ours.example")},
			"oursbad":   {mx(0, "ours.example"), mx(0, "bad.example")},
			"twice":     {mx(0, "a.example"), mx(1, "a2.example"), mx(2, "b.example")},
			"maybe":     {mx(0, "maybe.example"), mx(1, "a.example")},
			"maybelast": {mx(0, "a.example"), mx(1, "maybe.example")},
			"maybeours": {mx(0, "ours.example"), mx(0, "maybe.example")},
			"many":      {mx(0, "many.example"), mx(1, "many2.example"), mx(2, "a.example")},
		},
	}
	const a, b = "a.example[198.51.100.1]:25", "b.example[198.51.100.2]:25 b.example[2001:db8::2]:25"
	r := &Router{Resolver: dns, Hostname: "US.example."}
	for domain, want := range map[string]string{
		"two":                     a + " " + b,
		"a.example":               a,
		"twice":                   a + " " + b,
		"null":                    "bounced 5.1.10",
		"servfail":                "deferred",
		"nxdomain":                "bounced 5.1.2",
		"ours":                    "bounced 5.4.6",
		"ours.example":            "bounced 5.4.6",
		"backup":                  a,
		"equal":                   a,
		"equalonly":               "bounced 5.4.6",
		"byname":                  a,
		"us.example":              "bounced 5.4.6",
		"loop":                    "bounced 5.4.6",
		"loop.example":            "bounced 5.4.6",
		"trick":                   a,
		"zero":                    "bounced 5.4.6",
		"half":                    "half.example[198.51.100.4]:25",
		"gone":                    "bounced 5.4.4",
		"gonehalf":                "deferred",
		"goneone":                 a,
		"bad":                     "deferred",
		"badgood":                 a,
		"badours":                 "deferred",
		"oursbad":                 "bounced 5.4.6",
		"none.example":            "deferred",
		"maybe":                   "deferred",
		"maybelast":               a,
		"maybeours":               "bounced 5.4.6",
		"maybe.example":           "deferred",
		"[203.0.113.1]":           "deferred",
		"[198.51.100.7]":          "[198.51.100.7]:25",
		"[IPv6:2001:db8::7]":      "[2001:db8::7]:25",
		"[192.0.2.1]":             "bounced 5.4.6",
		"[127.0.0.1]":             "bounced 5.4.6",
		"[IPv6:::ffff:127.0.0.1]": "bounced 5.4.6",
		"[0.0.0.0]":               "bounced 5.4.6",
		"[nonsense]":              "bounced 5.1.2",
	} {
		if got := hopWords(r.NextHops(t.Context(), domain)); got != want {
			t.Errorf("%s: %s, want %s", domain, got, want)
		}
	}
	list, err := r.NextHops(t.Context(), "many")
	if got := hopWords(list, err); strings.Count(got, "]") != maxAddrs || !strings.Contains(got, "2001:") {
		t.Errorf("many: %s, want %d addresses of both families", got, maxAddrs)
	}
}

func TestRelayHops(t *testing.T) {
	dns := fakeDNS{
		hosts: map[string]string{"smart.example": "127.0.0.1 192.0.2.1", "localhost": "127.0.0.1"},
		addrs: map[string]string{
			"smart.example": "198.51.100.99", "host.example": "198.51.100.1", "loop.example": "127.0.0.1", "none.example": "", "bad.example": "SERVFAIL",
			"dmz.example": "198.51.100.5", "isp.example": "198.51.100.7",
		},
		mx: map[string][]resolver.MX{
			"isp.example": {mx(10, "host.example")}, "null.example": {mx(0, "NULLMX")}, "self.example": {mx(10, "loop.example")},
			"bad.example": {mx(0, "SERVFAIL")}, "dmz.example": {mx(0, "NXDOMAIN")},
		},
	}
	r := &Router{Resolver: dns, Hostname: "us.example"}
	for text, want := range map[string]string{
		"smart.example":      "smart.example[127.0.0.1]:25 smart.example[192.0.2.1]:25",
		"smart.example:2525": "smart.example[127.0.0.1]:2525 smart.example[192.0.2.1]:2525",
		"[smart.example]:26": "smart.example[127.0.0.1]:26 smart.example[192.0.2.1]:26",
		"localhost:2525":     "localhost[127.0.0.1]:2525",
		"127.0.0.1":          "[127.0.0.1]:25",
		"127.0.0.1:2525":     "[127.0.0.1]:2525",
		"[127.0.0.1]:2525":   "[127.0.0.1]:2525",
		"::1":                "[::1]:25",
		"[::1]:2525":         "[::1]:2525",
		"[IPv6:::1]:2525":    "[::1]:2525",
		"isp.example":        "host.example[198.51.100.1]:25",
		"isp.example:587":    "host.example[198.51.100.1]:587",
		"[isp.example]":      "isp.example[198.51.100.7]:25",
		"host.example":       "host.example[198.51.100.1]:25",
		"loop.example":       "loop.example[127.0.0.1]:25",
		"gone.example":       "deferred",
		"dmz.example":        "dmz.example[198.51.100.5]:25", // a server that knows addresses alone
		"null.example":       "deferred",
		"self.example":       "deferred",
		"none.example":       "deferred",
		"bad.example":        "deferred",
		"":                   "deferred",
		"[a.example":         "deferred",

		"submissions://isp.example":       "isp.example[198.51.100.7]:465", // the name that its certificate has
		"submission://u@isp.example":      "isp.example[198.51.100.7]:587",
		"submission://u@isp.example:2587": "isp.example[198.51.100.7]:2587",
		"smtp://isp.example":              "host.example[198.51.100.1]:25",
		"smtp://u@isp.example":            "isp.example[198.51.100.7]:25",
		"isp.example:465":                 "isp.example[198.51.100.7]:465",
		"submissions://u@[127.0.0.1]":     "[127.0.0.1]:465",
		"a.example]":                      "deferred",
		"a b":                             "deferred",
		"a.example:":                      "deferred",
		"a.example:0":                     "deferred",
		"a.example:65536":                 "deferred",
	} {
		hop, err := r.RelayHops(t.Context(), text)
		if got := relayWords(hop, err); got != want {
			t.Errorf("%q: %s (%v), want %s", text, got, err, want)
		}
	}
}

func TestRouterPort(t *testing.T) {
	r := &Router{Resolver: fakeDNS{addrs: map[string]string{"a.example": "198.51.100.1"}}, Port: 2525}
	if got := hopWords(r.NextHops(t.Context(), "a.example")); got != "a.example[198.51.100.1]:2525" {
		t.Error(got)
	}
	if got := relayWords(r.RelayHops(t.Context(), "a.example:26")); got != "a.example[198.51.100.1]:26" {
		t.Error(got)
	}
}

func TestOutcomeOfErrors(t *testing.T) {
	if r := outcome.Of(errors.New("odd")); r.Action != outcome.Deferred || r.Err == nil {
		t.Errorf("%+v", r)
	}
	if r := outcome.Of(fmt.Errorf("wrapped: %w", loopsBack("x"))); r.Action != outcome.Bounced || r.Reply.Status != "5.4.6" {
		t.Errorf("%+v", r)
	}
}

func relayWords(h Hop, err error) string { return hopWords(h.Targets, err) }
