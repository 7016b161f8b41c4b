package proxy

import (
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"testing"
)

func ptr[T any](v T) *T { return &v }

// TestParseXClient has each attribute, known and not.
func TestParseXClient(t *testing.T) {
	for in, want := range map[string]XClient{
		"NAME=mx.one.test ADDR=192.0.2.7":                   {Name: &Name{Text: "mx.one.test"}, Addr: ptr(netip.MustParseAddr("192.0.2.7"))},
		"addr=IPV6:2001:db8::1 port=40000":                  {Addr: ptr(netip.MustParseAddr("2001:db8::1")), Port: ptr(uint16(40000))},
		"ADDR=ipv6:::ffff:192.0.2.7":                        {Addr: ptr(netip.MustParseAddr("192.0.2.7"))},
		"NAME=[UNAVAILABLE] ADDR=[UNAVAILABLE]":             {Name: &Name{}, Addr: &netip.Addr{}},
		"NAME=[TEMPUNAVAIL] PORT=[unavailable]":             {Name: &Name{Later: true}, Port: ptr(uint16(0))},
		"PROTO=ESMTP HELO=a+2Bb LOGIN=alice":                {Extended: ptr(true), Hello: ptr("a+b"), Login: ptr("alice")},
		"PROTO=smtp HELO=[UNAVAILABLE] LOGIN=[UNAVAILABLE]": {Extended: ptr(false), Hello: ptr(""), Login: ptr("")},
		"DESTADDR=198.51.100.1 DESTPORT=25":                 {DestAddr: ptr(netip.MustParseAddr("198.51.100.1")), DestPort: ptr(uint16(25))},
		"NAME=+5BUNAVAILABLE+5D":                            {Name: &Name{}},
	} {
		if got, err := ParseXClient(in); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, %v, want %+v", in, got, err, want)
		}
	}
	for _, in := range []string{
		"NAME", "NAME=", "NAME=a NAME=b", "NICK=a", "ADDR=mx.one.test", "ADDR=2001:db8::1", "ADDR=IPV6:192.0.2.7", "ADDR=IPV6:fe80::1%eth0",
		"PORT=65536", "PORT=x", "PORT=-1", "PROTO=HTTP", "HELO=a+0A", "HELO=a+FF", "HELO=a+2", "HELO=" + strings.Repeat("x", maxValue+1), "ADDR=192.0.2.7 x",
	} {
		if got, err := ParseXClient(in); err == nil || got != (XClient{}) {
			t.Errorf("%s: %+v, %v, want an error", in, got, err)
		}
	}
}

// FuzzParseXClient: what is read is what is meant: written again it is the same. No
// value holds an octet that could begin a line, nor is any too long.
func FuzzParseXClient(f *testing.F) {
	f.Add("NAME=mx.one.test ADDR=192.0.2.7 PORT=40000 PROTO=ESMTP HELO=a+2Bb LOGIN=alice DESTADDR=IPV6:2001:db8::1 DESTPORT=25")
	f.Add("NAME=[UNAVAILABLE] ADDR=[TEMPUNAVAIL] PROTO=SMTP HELO=[UNAVAILABLE]")
	f.Fuzz(func(t *testing.T, in string) {
		x, err := ParseXClient(in)
		if err != nil {
			return
		}
		for _, s := range []*string{x.Hello, x.Login} {
			if s != nil && (len(*s) > maxValue || strings.ContainsFunc(*s, func(r rune) bool { return r < ' ' || r > '~' })) {
				t.Errorf("%q: %q", in, *s)
			}
		}
		if again, err := ParseXClient(asXClient(x)); err != nil || !reflect.DeepEqual(again, x) {
			t.Errorf("%q, written as %q: %+v, %v, want %+v", in, asXClient(x), again, err, x)
		}
	})
}

func asXClient(x XClient) string {
	var b strings.Builder
	add := func(name, value string) {
		if value == "" {
			value = unavailable
		}
		var xtext strings.Builder
		for i := range len(value) {
			fmt.Fprintf(&xtext, "+%02X", value[i])
		}
		b.WriteString(name + "=" + xtext.String() + " ")
	}
	addr := func(name string, a *netip.Addr) {
		switch {
		case a == nil:
		case !a.IsValid():
			add(name, "")
		case a.Is6():
			add(name, "IPV6:"+a.String())
		default:
			add(name, a.String())
		}
	}
	port := func(name string, n *uint16) {
		if n != nil {
			add(name, fmt.Sprint(*n))
		}
	}
	if x.Name != nil {
		text := x.Name.Text
		if x.Name.Later {
			text = later
		}
		add("NAME", text)
	}
	addr("ADDR", x.Addr)
	port("PORT", x.Port)
	if x.Extended != nil {
		add("PROTO", map[bool]string{false: "SMTP", true: "ESMTP"}[*x.Extended])
	}
	for name, s := range map[string]*string{"HELO": x.Hello, "LOGIN": x.Login} {
		if s != nil {
			add(name, *s)
		}
	}
	addr("DESTADDR", x.DestAddr)
	port("DESTPORT", x.DestPort)
	return b.String()
}
