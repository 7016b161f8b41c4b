package resolver

import (
	"net"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// FuzzAnswer: whatever octets a server sends, nothing panics, and what is taken
// out of them is bounded and holds no name with more than hosts' characters.
func FuzzAnswer(f *testing.F) {
	q := question{"x.example", dns.TypeMX}
	seed := func(records ...string) {
		m := new(dns.Msg)
		m.SetQuestion("x.example.", dns.TypeMX)
		m.Id, m.Response, m.RecursionAvailable = 0, true, true
		for _, text := range records {
			rr, err := dns.NewRR(text)
			if err != nil {
				f.Fatal(err)
			}
			m.Answer = append(m.Answer, rr)
		}
		b, err := m.Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	seed("x.example. MX 10 mx.x.example.", "x.example. MX 0 .")
	seed("x.example. CNAME y.example.", `y.example. MX 10 a\010b.example.`)
	seed("x.example. CNAME x.example.")
	seed("x.example. A 192.0.2.1", "x.example. AAAA 2001:db8::1", "x.example. PTR p.example.")
	f.Fuzz(func(t *testing.T, octets []byte) {
		query, err := newQuery(q, true)
		if err != nil {
			t.Fatal(err)
		}
		if len(octets) >= 2 { // answers with another ID are not looked at
			octets[0], octets[1] = byte(query.Id>>8), byte(query.Id)
		}
		m, err := overUDP(&oneDatagram{octets: octets}, query, nil)
		if err != nil {
			return
		}
		a, err := read(m, q)
		if err != nil {
			return
		}
		if len(a.records) > maxRecords || a.ttl < 0 || a.ttl > maxTTL || a.aliases > maxAliases+1 {
			t.Errorf("out of bounds: %+v", a)
		}
		for _, rec := range a.records {
			if name, ok := hostName(rec.host); ok && strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-_.") != "" {
				t.Errorf("host name %q", name)
			}
		}
		if strings.ContainsAny(a.alias, "\\\"; \t\r\n\x00") {
			t.Errorf("alias %q", a.alias)
		}
	})
}

// oneDatagram is a connection on which one datagram comes in, and no more.
type oneDatagram struct {
	net.Conn
	octets []byte
	read   bool
}

func (c *oneDatagram) Write(b []byte) (int, error) { return len(b), nil }

func (c *oneDatagram) SetDeadline(time.Time) error { return nil }

func (c *oneDatagram) Read(b []byte) (int, error) {
	if c.read {
		return 0, net.ErrClosed
	}
	c.read = true
	return copy(b, c.octets), nil
}

// FuzzFiles: no resolv.conf or hosts file panics, and names from them are host
// names.
func FuzzFiles(f *testing.F) {
	f.Add("nameserver 192.0.2.1\nsearch x.example\noptions timeout:-3 attempts:99999999999999999999\n")
	f.Add("192.0.2.1 a b.example # c\n::1 x\n")
	f.Fuzz(func(t *testing.T, text string) {
		s := parseResolvConf(strings.NewReader(text))
		if s.attempts > 5 || s.try > 30*time.Second {
			t.Errorf("%+v", s)
		}
		for _, name := range linesOf(strings.NewReader(text), "x").beside {
			if !IsHostName(name) {
				t.Errorf("host name %q", name)
			}
		}
	})
}
