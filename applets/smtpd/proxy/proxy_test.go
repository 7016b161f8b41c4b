package proxy

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"testing"
	"testing/iotest"
)

// v2 is a header of version 2.
func v2(command, family byte, rest string) string {
	return signature + string([]byte{command, family}) + string(binary.BigEndian.AppendUint16(nil, uint16(len(rest)))) + rest
}

const (
	rest4 = "\xc0\x00\x02\x07" + "\xc6\x33\x64\x01" + "\x9c\x40" + "\x00\x19"
	tlv   = "\x02\x00\x0bmx.one.test" + "\x20\x00\x05\x01\x00\x00\x00\x00"
)

var (
	rest6 = "\x20\x01\x0d\xb8" + strings.Repeat("\x00", 11) + "\x01" + "\x20\x01\x0d\xb8" + strings.Repeat("\x00", 11) + "\x02" + "\x9c\x40" + "\x00\x19"
	is4   = Header{netip.MustParseAddrPort("192.0.2.7:40000"), netip.MustParseAddrPort("198.51.100.1:25")}
	is6   = Header{netip.MustParseAddrPort("[2001:db8::1]:40000"), netip.MustParseAddrPort("[2001:db8::2]:25")}
)

// TestRead has each form of both versions, and that what follows stays where it is.
func TestRead(t *testing.T) {
	for _, tt := range []struct {
		name, in string
		want     Header
	}{
		{"TCP4", "PROXY TCP4 192.0.2.7 198.51.100.1 40000 25\r\n", is4},
		{"TCP6", "PROXY TCP6 2001:db8::1 2001:db8::2 40000 25\r\n", is6},
		{"TCP6 with a mapped address", "PROXY TCP6 ::ffff:192.0.2.7 ::ffff:198.51.100.1 40000 25\r\n", is4},
		{"the longest", "PROXY UNKNOWN" + strings.Repeat(" ffff", 18) + " f\r\n", Header{}},
		{"UNKNOWN", "PROXY UNKNOWN\r\n", Header{}},
		{"UNKNOWN with addresses", "PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n", Header{}},
		{"2, TCP4", v2(proxied, tcp4, rest4), is4},
		{"2, TCP4 with more", v2(proxied, tcp4, rest4+tlv), is4},
		{"2, TCP6", v2(proxied, tcp6, rest6), is6},
		{"2, TCP6 with as much as may be", v2(proxied, tcp6, rest6+strings.Repeat("x", maxRest-len(rest6))), is6},
		{"2, LOCAL", v2(local, unspecified, ""), Header{}},
		{"2, LOCAL with addresses", v2(local, tcp4, rest4+tlv), Header{}},
		{"2, unspecified", v2(proxied, unspecified, tlv), Header{}},
		{"2, a unix socket", v2(proxied, unixStream, strings.Repeat("x", 216)), Header{}},
	} {
		for how, reader := range map[string]func(io.Reader) io.Reader{"whole": func(r io.Reader) io.Reader { return r }, "in octets": iotest.OneByteReader} {
			all := strings.NewReader(tt.in + "EHLO x\r\n")
			got, err := Read(reader(all))
			if left, _ := io.ReadAll(all); err != nil || got != tt.want || string(left) != "EHLO x\r\n" {
				t.Errorf("%s, %s: %v, %v, %q is left, want %v", tt.name, how, got, err, left, tt.want)
			}
		}
	}
}

// TestReadRefuses has what is none.
func TestReadRefuses(t *testing.T) {
	for name, in := range map[string]string{
		"a command":                "EHLO mx.one.test\r\n",
		"a line without end":       "PROXY UNKNOWN" + strings.Repeat(" ", 200),
		"one octet too long":       "PROXY UNKNOWN" + strings.Repeat(" ffff", 18) + " ff\r\n",
		"LF alone":                 "PROXY TCP4 192.0.2.7 198.51.100.1 40000 25\n",
		"no addresses":             "PROXY TCP4\r\n",
		"the other family":         "PROXY TCP4 2001:db8::1 2001:db8::2 40000 25\r\n",
		"one of each":              "PROXY TCP6 2001:db8::1 192.0.2.7 40000 25\r\n",
		"a zone":                   "PROXY TCP6 fe80::1%eth0 fe80::2 40000 25\r\n",
		"a name":                   "PROXY TCP4 localhost 198.51.100.1 40000 25\r\n",
		"a port too big":           "PROXY TCP4 192.0.2.7 198.51.100.1 65536 25\r\n",
		"a port with a zero":       "PROXY TCP4 192.0.2.7 198.51.100.1 025 25\r\n",
		"two blanks":               "PROXY TCP4  192.0.2.7 198.51.100.1 40000 25\r\n",
		"one word more":            "PROXY TCP4 192.0.2.7 198.51.100.1 40000 25 x\r\n",
		"UDP":                      "PROXY UDP4 192.0.2.7 198.51.100.1 40000 25\r\n",
		"small letters":            "proxy TCP4 192.0.2.7 198.51.100.1 40000 25\r\n",
		"a header and its half":    "PROXY TCP4 192.0.2.7",
		"2, another version":       v2(0x11, tcp4, rest4),
		"2, another command":       v2(0x22, tcp4, rest4),
		"2, UDP":                   v2(proxied, 0x12, rest4),
		"2, too few octets":        v2(proxied, tcp4, rest4[:11]),
		"2, too few for IPv6":      v2(proxied, tcp6, rest4+tlv),
		"2, too much":              v2(proxied, tcp4, rest4+strings.Repeat("x", maxRest)),
		"2, cut":                   v2(proxied, tcp4, rest4)[:20],
		"2, cut in the signature":  signature[:11],
		"2, cut behind it":         signature,
		"2, a wrong signature":     "\r\n\r\n\x00\r\nQUIT\r" + "\x21\x11\x00\x0c" + rest4,
		"the start of a handshake": "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\x00",
	} {
		if h, err := Read(strings.NewReader(in)); err == nil || errors.Is(err, ErrNone) || h != (Header{}) {
			t.Errorf("%s: %v, %v, want an error", name, h, err)
		}
	}
	if _, err := Read(strings.NewReader("")); !errors.Is(err, ErrNone) {
		t.Errorf("nothing: %v, want ErrNone", err)
	}
}

// FuzzRead: what is read is what is meant: written again, in either version, it is the
// same, and no octet behind the header is touched, nor more than the bound.
func FuzzRead(f *testing.F) {
	for _, in := range []string{"PROXY TCP4 192.0.2.7 198.51.100.1 40000 25\r\n", "PROXY TCP6 2001:db8::1 2001:db8::2 40000 25\r\nEHLO", "PROXY UNKNOWN\r\n",
		v2(proxied, tcp4, rest4+tlv), v2(proxied, tcp6, rest6), v2(local, unspecified, "")} {
		f.Add(in)
	}
	f.Fuzz(func(t *testing.T, in string) {
		r := strings.NewReader(in)
		h, err := Read(r)
		used := len(in) - r.Len()
		if used > len(signature)+4+maxRest {
			t.Fatalf("%d octets were read", used)
		}
		if err != nil {
			if h != (Header{}) {
				t.Fatalf("%v with %v", h, err)
			}
			return
		}
		if again, err := Read(strings.NewReader(in[:used])); err != nil || again != h {
			t.Fatalf("without what follows: %v, %v, want %v", again, err, h)
		}
		for _, written := range []string{asLine(h), asBinary(h)} {
			if again, err := Read(strings.NewReader(written)); err != nil || again != h {
				t.Errorf("%q: %v, %v, want %v", written, again, err, h)
			}
		}
	})
}

func asLine(h Header) string {
	if h == (Header{}) {
		return "PROXY UNKNOWN\r\n"
	}
	family, form := "TCP4", func(a netip.Addr) string { return a.String() }
	if h.Client.Addr().Is6() || h.Server.Addr().Is6() {
		family, form = "TCP6", func(a netip.Addr) string { return netip.AddrFrom16(a.As16()).String() }
	}
	return fmt.Sprintf("PROXY %s %s %s %d %d\r\n", family, form(h.Client.Addr()), form(h.Server.Addr()), h.Client.Port(), h.Server.Port())
}

func asBinary(h Header) string {
	if h == (Header{}) {
		return v2(local, unspecified, "")
	}
	var b bytes.Buffer
	for _, a := range []netip.AddrPort{h.Client, h.Server} {
		sixteen := a.Addr().As16()
		b.Write(sixteen[:])
	}
	for _, a := range []netip.AddrPort{h.Client, h.Server} {
		b.Write(binary.BigEndian.AppendUint16(nil, a.Port()))
	}
	return v2(proxied, tcp6, b.String())
}
