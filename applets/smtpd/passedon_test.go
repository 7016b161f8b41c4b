package smtpd

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"postoffice/internal/testenv"
)

const (
	proxyAddr = "10.0.0.9:50000"
	localV2   = "\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00"
)

// proxied are the options of a server behind a proxy at 10.0.0.9, which is trusted.
func proxied(log *testenv.Log) Options {
	o := options(&memQueue{})
	o.Log = log.Logger()
	o.Proxy = func(a netip.Addr) bool { return a == netip.MustParseAddr("10.0.0.9") }
	o.Trusted = func(a netip.Addr) (local, trusted bool) {
		return a.IsLoopback(), a.IsLoopback() || a.IsPrivate()
	}
	return o
}

// introduced dials as the proxy, says header and returns what is heard then.
func (l *pipeListener) introduced(t *testing.T, header string) *talker {
	c := l.arrive(t, proxyAddr)
	go c.conn.Write([]byte(header))
	return c
}

func headerOf(client string) string {
	return "PROXY TCP4 " + client + " 198.51.100.1 40000 25\r\n"
}

// A17: whom a proxy names is the client for trust, the log and the trace field, is never
// this machine, and where nobody is named is a stranger. None of them has the proxy's
// own rights.
func TestProxyNames(t *testing.T) {
	for _, tt := range []struct {
		name, header, client string
		relays               bool
	}{
		{"a stranger", headerOf("192.0.2.7"), "[192.0.2.7]:40000", false},
		{"one that is trusted", headerOf("10.1.1.1"), "[10.1.1.1]:40000", true},
		{"this machine", headerOf("127.0.0.1"), "[127.0.0.1]:40000", false},
		{"nobody", "PROXY UNKNOWN\r\n", "[10.0.0.9]:50000", false},
		{"the proxy's own address", headerOf("10.0.0.9"), "[10.0.0.9]:50000", false},
		{"the proxy itself", localV2, "[10.0.0.9]:50000", false},
	} {
		synctest.Test(t, func(t *testing.T) {
			var log testenv.Log
			q := &memQueue{}
			o := proxied(&log)
			o.Queue = q
			l := servePipes(t, New(o), Relay)
			c := l.introduced(t, tt.header)
			c.want(220)
			c.do("EHLO c.example")
			c.do("MAIL FROM:<a@b.example>")
			if r := c.do("RCPT TO:<x@far.example>"); (r.Code == 250) != tt.relays {
				t.Errorf("%s: relaying: %v, want it to be taken: %v", tt.name, r, tt.relays)
			}
			c.do("RCPT TO:<alice@us.example>")
			c.do("DATA")
			if r := c.do("\r\n."); r.Code != 250 || !strings.Contains(q.messages()[0].Data, tt.client[:strings.Index(tt.client, "]")]) {
				t.Errorf("%s: %v, stored %v, want the field Received to name %s", tt.name, r, q.messages(), tt.client)
			}
			if !strings.Contains(log.String(), tt.client) || !strings.Contains(log.String(), "through 10.0.0.9:50000") {
				t.Errorf("%s: log %s, want %s through the proxy", tt.name, &log, tt.client)
			}
		})
	}
}

// Shares are those of whom the proxy names: the address that has its session is the
// client's, and another client through the same proxy is greeted.
func TestProxyShares(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log testenv.Log
		o := proxied(&log)
		o.ClientsPerAddress, o.Clients = 1, 4
		l := servePipes(t, New(o), Relay)
		for i := range 2 {
			l.introduced(t, headerOf(fmt.Sprintf("192.0.2.%d", i+1))).want(220)
		}
		start := time.Now()
		if r := l.introduced(t, headerOf("192.0.2.1")).read(); r.Code != 421 || time.Since(start) != turnWait {
			t.Errorf("a second session of one client: %v after %v, want 421 after %v", r, time.Since(start), turnWait)
		}
		for i := range 3 {
			c := l.introduced(t, headerOf(fmt.Sprintf("192.0.2.%d", i+3)))
			want := 220
			if i == 2 {
				want = 421
			}
			c.want(want)
		}
		l.introduced(t, localV2).want(220) // it isn't kept out by those
		l.introduced(t, headerOf("10.1.1.1")).want(220)
	})
}

// What is no header, or doesn't come, closes the connection without a word, leaves one
// line, and runs nothing that stands behind it; what a balancer does to see whether we
// live leaves none.
func TestProxyRefuses(t *testing.T) {
	for _, tt := range []struct {
		name, send string
		hangUp     bool
		after      time.Duration
		lines      int // of Info
	}{
		{"a client's first words", "EHLO c.example\r\nQUIT\r\n", false, 0, 1},
		{"nothing", "", false, headerWait, 1},
		{"half a header", "PROXY TCP4 192.0.2.7", false, headerWait, 1},
		{"half a header and the end", "PROXY TCP4 192.0.2.7", true, 0, 1},
		{"garbage", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\x00\x00\x00", false, 0, 1},
		{"the end at once", "", true, 0, 0},
		{"LOCAL and the end", localV2, true, 0, 0},
		{"UNKNOWN and QUIT", "PROXY UNKNOWN\r\nEHLO x\r\nQUIT\r\n", true, 0, 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			var log testenv.Log
			l := servePipes(t, New(proxied(&log)), Relay)
			c := l.arrive(t, proxyAddr)
			start := time.Now()
			if tt.hangUp {
				c.conn.Write([]byte(tt.send))
				c.conn.Close()
			} else {
				go c.conn.Write([]byte(tt.send))
				if r := c.read(); !r.IsZero() || time.Since(start) != tt.after {
					t.Errorf("%s: %v after %v, want the end after %v", tt.name, r, time.Since(start), tt.after)
				}
			}
			synctest.Wait()
			if got := strings.Count(log.String(), "level=INFO"); got != tt.lines {
				t.Errorf("%s: %d lines of the log, want %d: %s", tt.name, got, tt.lines, &log)
			}
		})
	}
}

// Connections whose header is still to come are bounded, take no place of others, and
// end with the server.
func TestProxySilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log testenv.Log
		o := proxied(&log)
		o.Clients = 1
		o.Proxy = netip.MustParsePrefix("10.0.0.0/24").Contains
		s := New(o)
		l := servePipes(t, s, Relay)
		for range maxHeaders / 2 {
			l.arrive(t, proxyAddr)
		}
		synctest.Wait()
		if r := l.introduced(t, headerOf("192.0.2.1")).read(); !r.IsZero() || !strings.Contains(log.String(), "look whether it sends them") {
			t.Errorf("one too many: %v, want the end; log %s", r, &log)
		}
		other := l.arrive(t, "10.0.0.250:1").conn
		go other.Write([]byte(headerOf("192.0.2.9")))
		if n, err := other.Read(make([]byte, 4)); n != 4 || err != nil {
			t.Errorf("another proxy's client: %d octets, %v, want its greeting", n, err)
		}
		other.Close()
		synctest.Wait()
		c, r := l.connect(t, strangerAddr)
		if r.Code != 220 {
			t.Errorf("who comes directly: %v, want 220", r)
		}
		c.conn.Close()
		synctest.Wait()
		start := time.Now()
		if err := s.Shutdown(context.Background()); err != nil || time.Since(start) != 0 {
			t.Errorf("the end: %v after %v, want it at once", err, time.Since(start))
		}
	})
}

// The header is read too where the connection is handed over, as by a super-server.
func TestProxyHandedOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log testenv.Log
		conn, end := peerOf(New(proxied(&log)), Relay, proxyAddr)
		c := &talker{t: t, conn: conn, r: newReader(conn)}
		go c.send(headerOf("192.0.2.7"))
		c.want(220)
		if c.do("QUIT"); <-end != nil || !strings.Contains(log.String(), "[192.0.2.7]:40000") {
			t.Errorf("log %s, want the client", &log)
		}
		client, server := net.Pipe()
		ctx, cancel := context.WithCancel(t.Context())
		go New(proxied(&log)).ServeConn(ctx, addrConn{server, from(proxyAddr)}, Relay)
		synctest.Wait()
		start := time.Now()
		cancel()
		if _, err := client.Read(make([]byte, 1)); err == nil || time.Since(start) != 0 {
			t.Errorf("the end of its context: %v after %v, want the end at once", err, time.Since(start))
		}
	})
}
