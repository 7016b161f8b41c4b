package resolver

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"postoffice/internal/testenv"
)

func write(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path+".new", []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestResolvConf(t *testing.T) {
	for _, tt := range []struct {
		name, text, want string
	}{
		{"two servers", "nameserver 192.0.2.1\nnameserver 2001:db8::1\n", "192.0.2.1:53 [2001:db8::1]:53 5s 2"},
		{"options", "# x\noptions timeout:3 attempts:1 edns0\nnameserver 192.0.2.1\n", "192.0.2.1:53 3s 1"},
		{"more than sensible", "options timeout:999 attempts:99\nnameserver 192.0.2.1\n", "192.0.2.1:53 30s 5"},
		{"empty", "", "127.0.0.1:53 5s 2"},
		{"rubbish", "\x00\xff nameserver\nnameserver\n", "127.0.0.1:53 5s 2"},
	} {
		var c confFile
		c.init(Options{ResolvConf: write(t, t.TempDir(), "resolv.conf", tt.text)})
		s, _, err := c.get()
		if got := s.words(); err != nil || got != tt.want {
			t.Errorf("%s: %q, %v; want %q", tt.name, got, err, tt.want)
		}
	}
}

// words prints servers for comparison.
func (s servers) words() string {
	var b strings.Builder
	for _, v := range s.list {
		b.WriteString(v.addr + " ")
	}
	b.WriteString(s.try.String() + " " + string(rune('0'+s.attempts)))
	return b.String()
}

func TestServersOption(t *testing.T) {
	var c confFile
	c.init(Options{Servers: []string{"192.0.2.1", "192.0.2.1:5353", "2001:db8::1", "[2001:db8::1]:5353", "[2001:db8::2]"}, ResolvConf: "/nonexistent"})
	s, _, err := c.get()
	want := "192.0.2.1:53 192.0.2.1:5353 [2001:db8::1]:53 [2001:db8::1]:5353 [2001:db8::2]:53 5s 2"
	if got := s.words(); err != nil || got != want {
		t.Errorf("%q, %v; want %q", got, err, want)
	}
}

func TestResolvConfIsReadAgain(t *testing.T) {
	dir := t.TempDir()
	first, second := testenv.NewDNS(t, "x.example. A 192.0.2.1"), testenv.NewDNS(t, "x.example. A 192.0.2.2")
	conf := write(t, dir, "resolv.conf", "nameserver 127.0.0.1\n")
	r := newTest(t, Options{ResolvConf: conf})
	// The port of a name server is always 53 there, so the test sets its own.
	r.conf.file.parse = func(in io.Reader) servers {
		b := make([]byte, 100)
		n, _ := in.Read(b)
		return servers{list: serverList([]string{strings.TrimSpace(string(b[:n]))}, "53"), attempts: 1}
	}
	write(t, dir, "resolv.conf", first.Addr())
	if got, err := r.Addrs(t.Context(), "x.example"); err != nil || !slices.Equal(got, addrs("192.0.2.1")) {
		t.Fatalf("Addrs = %v, %v", got, err)
	}
	write(t, dir, "resolv.conf", second.Addr())
	if _, err := r.MX(t.Context(), "other.example"); kind(err) != "not found" {
		t.Fatal(err)
	}
	if got, err := r.Addrs(t.Context(), "x.example"); err != nil || !slices.Equal(got, addrs("192.0.2.2")) {
		t.Errorf("after the change: Addrs = %v, %v; the kept answer of the old server?", got, err)
	}
	os.Remove(conf)
	if _, err := r.MX(t.Context(), "third.example"); kind(err) != "temporary" {
		t.Errorf("without the file: %v, want temporary, from 127.0.0.1:53", err)
	}
}

func TestHosts(t *testing.T) {
	dir := t.TempDir()
	hosts := write(t, dir, "hosts", "# comment\n127.0.0.1 localhost\n192.0.2.1 Relay.example relay # the smarthost\n2001:db8::1 relay\nrubbish line\n192.0.2.9\n192.0.2.3 last")
	d := testenv.NewDNS(t, "relay.example. A 192.0.2.99", "localhost.example. A 192.0.2.97", "dns.example. A 192.0.2.98")
	r := newTest(t, Options{HostsFile: hosts}, d)
	for _, tt := range []struct {
		name string
		want []netip.Addr
	}{
		{"RELAY.example", addrs("192.0.2.1")},
		{"relay", addrs("192.0.2.1", "2001:db8::1")},
		{"last", addrs("192.0.2.3")},
		{"dns.example", addrs("192.0.2.98")},
		{"[192.0.2.7]", addrs("192.0.2.7")},
		{"localhost", addrs("127.0.0.1")},
		{"localhost.example", addrs("192.0.2.97")},
	} {
		if got, err := r.HostAddrs(t.Context(), tt.name); err != nil || !slices.Equal(got, tt.want) {
			t.Errorf("HostAddrs(%q) = %v, %v; want %v", tt.name, got, err, tt.want)
		}
	}
	if got, _ := r.Addrs(t.Context(), "relay.example"); !slices.Equal(got, addrs("192.0.2.99")) {
		t.Errorf("Addrs(relay.example) = %v: the DNS's names don't come from /etc/hosts", got)
	}
	write(t, dir, "hosts", "192.0.2.50 relay\n")
	if got, _ := r.HostAddrs(t.Context(), "relay"); !slices.Equal(got, addrs("192.0.2.50")) {
		t.Errorf("after the change: %v", got)
	}
	os.Remove(hosts)
	if got, _ := r.HostAddrs(t.Context(), "localhost"); !slices.Equal(got, addrs("127.0.0.1", "::1")) {
		t.Errorf("localhost without the file: %v", got)
	}
}

func TestSelf(t *testing.T) {
	d := testenv.NewDNS(t, "mail.corp.example. A 192.0.2.1",
		"9.2.0.192.in-addr.arpa. PTR nine.example.", "nine.example. A 192.0.2.9",
		"8.2.0.192.in-addr.arpa. PTR localhost.example.", "localhost.example. A 192.0.2.8")
	for _, tt := range []struct {
		name, node, hosts, conf string
		ours                    []netip.Addr
		want                    string
		warn                    bool
	}{
		{"node name with a domain", "Mail.Example", "", "", nil, "mail.example", false},
		{"/etc/hosts", "mail", "192.0.2.1 mail mail.hosts.example\n", "search corp.example\n", nil, "mail.hosts.example", false},
		{"/etc/hosts knows the node as localhost", "mail", "127.0.0.1 localhost localhost.localdomain mail\n", "search corp.example\n", nil, "mail.corp.example", false},
		{"resolv.conf's domain", "mail", "", "search other.example corp.example\n", nil, "mail.corp.example", false},
		{"resolv.conf's domains with a dot in front", "mail", "", "search . .corp.example\n", nil, "mail.corp.example", false},
		{"the name of an address", "mail", "", "", addrs("127.0.0.1", "fe80::1", "192.0.2.7", "192.0.2.9"), "nine.example", false},
		{"an address whose name is localhost", "mail", "", "", addrs("192.0.2.8"), "mail", true},
		{"nothing", "mail", "", "", nil, "mail", true},
		{"localhost", "localhost", "127.0.0.1 localhost.localdomain localhost\n", "", nil, unknownName, true},
		{"localhost with an address of good name", "localhost.localdomain", "", "", addrs("192.0.2.9"), "nine.example", false},
		{"no host name", "a b", "", "", nil, unknownName, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			r := newTest(t, Options{
				HostsFile:  write(t, dir, "hosts", tt.hosts),
				ResolvConf: write(t, dir, "resolv.conf", tt.conf),
				NodeName:   func() (string, error) { return tt.node, nil },
				Interfaces: func() ([]netip.Addr, error) { return tt.ours, nil },
			}, d)
			name, warning := r.Self(t.Context())
			if name != tt.want || (warning != "") != tt.warn {
				t.Errorf("Self = %q, %q; want %q, warning %v", name, warning, tt.want, tt.warn)
			}
		})
	}
}

func TestSelfTakesTwoSecondsAtMost(t *testing.T) {
	d := testenv.NewDNS(t)
	d.Script("", testenv.Silent)
	dir := t.TempDir()
	const try = time.Hour
	r := newTest(t, Options{
		Try: try, Timeout: try,
		ResolvConf: write(t, dir, "resolv.conf", "search a.example b.example\n"),
		NodeName:   func() (string, error) { return "mail", nil },
		Interfaces: func() ([]netip.Addr, error) { return addrs("192.0.2.1", "192.0.2.2"), nil },
	}, d)
	start := time.Now()
	name, warning := r.Self(t.Context())
	if took := time.Since(start); name != "mail" || warning == "" || took > try/2 {
		t.Errorf("Self = %q, %q after %v", name, warning, took)
	}
}

func TestA17Interfaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		fail := true
		r := New(Options{
			Log: slog.New(slog.NewTextHandler(&log, nil)),
			Interfaces: func() ([]netip.Addr, error) {
				if fail {
					return addrs("192.0.2.1"), errors.New("no netlink")
				}
				return addrs("192.0.2.1", "127.0.0.1", "2001:db8::1"), nil
			},
		})
		check := func(addr string, want, unknown bool) {
			t.Helper()
			got, err := r.IsOurs(netip.MustParseAddr(addr))
			if got != want || (err != nil) != unknown {
				t.Errorf("IsOurs(%s) = %v, %v, want %v, unknown %v", addr, got, err, want, unknown)
			}
		}
		for range 3 {
			check("127.0.0.1", true, false)
			check("127.9.9.9", true, false)
			check("::ffff:127.0.0.1", true, false)
			check("::1", true, false)
			check("192.0.2.1", false, true)
			check("0.0.0.0", false, true)
			time.Sleep(interfacesAge)
		}
		if n := strings.Count(log.String(), "\n"); n != 1 {
			t.Errorf("%d log lines, want 1: %s", n, log.String())
		}
		fail = false // what isn't known is looked for again at once
		check("192.0.2.1", true, false)
		check("::ffff:192.0.2.1", true, false)
		check("2001:db8::1", true, false)
		check("192.0.2.2", false, false)
		fail = true
		time.Sleep(interfacesAge)
		check("192.0.2.1", true, false) // it was, and nobody says that it isn't
		check("192.0.2.2", false, true)
	})
}

func TestRealInterfaces(t *testing.T) {
	list, err := interfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range list {
		if !a.IsValid() || a.Is4In6() || a.Zone() != "" {
			t.Errorf("%v", a)
		}
	}
}

func TestCache(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c cache
		c.init(8)
		q := func(name string) question { return question{name, 15} }
		rec := []record{{host: "mx"}}
		c.put(q("short"), answer{records: rec, ttl: time.Minute})
		c.put(q("long"), answer{records: rec, ttl: 240 * time.Hour})
		c.put(q("no"), answer{missing: true, ttl: time.Hour})
		c.put(q("zero"), answer{records: rec})
		has := func(want ...string) {
			t.Helper()
			for _, name := range []string{"short", "long", "no", "zero"} {
				if _, ok := c.get(q(name)); ok != slices.Contains(want, name) {
					t.Errorf("%s kept: %v", name, ok)
				}
			}
		}
		has("short", "long", "no")
		time.Sleep(time.Minute)
		has("long")
		time.Sleep(time.Hour)
		has()
		for i := range 100 {
			c.put(question{"x", uint16(i)}, answer{records: rec, ttl: time.Minute})
		}
		if len(c.entries) != 8 {
			t.Errorf("%d entries, want 8", len(c.entries))
		}
		if _, ok := c.get(question{"x", 99}); !ok {
			t.Error("the newest entry was given up")
		}
	})
}

// The octets of all answers are bounded too: hostile ones are long.
func TestCacheOctets(t *testing.T) {
	var c cache
	c.init(100)
	long := answer{ttl: time.Minute}
	for range 20 {
		long.records = append(long.records, record{host: strings.Repeat("x", 200)})
	}
	short := answer{records: []record{{host: "mx"}}, ttl: time.Minute}
	for i := range 1000 {
		c.put(question{"long", uint16(i)}, long)
		c.put(question{"short", uint16(i % 7)}, short)
		sum := 0
		for _, e := range c.entries {
			sum += e.octets
		}
		if sum != c.octets || sum > 100*entryOctets || len(c.entries) > 100 {
			t.Fatalf("%d entries of %d octets, counted %d", len(c.entries), sum, c.octets)
		}
	}
	if len(c.entries) < 8 {
		t.Errorf("only %d entries kept", len(c.entries))
	}
	c.put(question{"huge", 1}, answer{ttl: time.Minute, records: []record{{host: strings.Repeat("x", 50*entryOctets)}}})
	if _, ok := c.get(question{"huge", 1}); ok {
		t.Error("one answer took half of the cache")
	}
	c.flush()
	if c.octets != 0 {
		t.Errorf("%d octets in an empty cache", c.octets)
	}
}

func TestCacheAnswers(t *testing.T) {
	d := testenv.NewDNS(t, "x.example. 60 MX 10 mx.x.example.", "zero.example. 0 MX 10 mx.x.example.")
	d.Script("MX bad.example", testenv.Servfail)
	r := newTest(t, Options{}, d)
	for range 3 {
		for _, name := range []string{"x", "zero", "gone", "bad"} {
			r.MX(context.Background(), name+".example")
		}
	}
	for q, want := range map[string]int{"x": 1, "zero": 3, "gone": 1, "bad": 3} {
		if n := d.Count("MX " + q + ".example"); n != want {
			t.Errorf("%s was asked %d times, want %d", q, n, want)
		}
	}
	r.Flush()
	r.MX(t.Context(), "x.example")
	if n := d.Count("MX x.example"); n != 2 {
		t.Errorf("after Flush asked %d times, want 2", n)
	}
}

// TestSigned: what a server says of signatures counts where resolv.conf trusts it and
// not else, for the answer and for each CNAME before it, and is kept with the answer.
func TestSigned(t *testing.T) {
	dns := testenv.NewDNS(t, "x.example. 60 MX 1 mx.x.example.", "alias.example. 60 CNAME x.example.", "forged.example. 60 CNAME x.example.", "none.example. 60 A 192.0.2.1")
	unasked := func(x *testenv.Exchange) {
		x.Answer.AuthenticatedData = true
		testenv.Proper(x)
	}
	dns.Script("MX forged.example", func(x *testenv.Exchange) { // no more than the CNAME
		x.Answer.Answer = x.Answer.Answer[:1]
		testenv.Proper(x)
	})
	for _, tt := range []struct {
		name, conf, domain string
		act                testenv.Act
		want               bool
	}{
		{"trusted and signed", "options edns0 trust-ad\n", "x.example", testenv.Signed, true},
		{"trusted, not signed", "options trust-ad\n", "x.example", testenv.Proper, false},
		{"signed unasked, not trusted", "options edns0\n", "x.example", unasked, false},
		{"a word of a comment", "# options trust-ad\nsearch trust-ad\n", "x.example", testenv.Signed, false},
		{"by a CNAME", "options trust-ad\n", "alias.example", testenv.Signed, true},
		{"by a CNAME that isn't signed", "options trust-ad\n", "forged.example", testenv.Signed, false},
		{"no MX", "options trust-ad\n", "none.example", testenv.Signed, true},
	} {
		dns.Script("", tt.act)
		r := newTest(t, Options{ResolvConf: write(t, t.TempDir(), "resolv.conf", tt.conf+"nameserver 127.0.0.1\n")})
		r.conf.file.parse = func(in io.Reader) servers { // the port is always 53 there
			s := parseResolvConf(in)
			s.list[0].addr = dns.Addr()
			return s
		}
		for _, from := range []string{"the server", "the cache"} {
			if list, err := r.MX(t.Context(), tt.domain); err != nil || list[0].Signed != tt.want {
				t.Errorf("%s, from %s: %+v, %v, want signed %v", tt.name, from, list, err, tt.want)
			}
		}
	}
}
