package smtpd

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"postoffice/internal/smtp"
	"postoffice/internal/testenv"
)

const frontAddr = "10.0.0.8:50000"

// withFront are the options of a server that takes XCLIENT from 10.0.0.8, which is
// trusted.
func withFront(log *testenv.Log) Options {
	o := proxied(log)
	o.XClient = func(a netip.Addr) bool { return a == netip.MustParseAddr("10.0.0.8") }
	return o
}

// A17: XCLIENT replaces the client, from who is named in the options alone: its rights are
// those of the address that is told, which is never this machine.
func TestXClient(t *testing.T) {
	for _, tt := range []struct {
		name, args, client string
		relays             bool
	}{
		{"a stranger", "NAME=mx.one.test ADDR=192.0.2.7 PORT=40000", "mx.one.test[192.0.2.7]:40000", false},
		{"a stranger by IPv6", "NAME=[UNAVAILABLE] ADDR=IPV6:2001:db8::1", "unknown[2001:db8::1]:0", false},
		{"who is trusted", "ADDR=10.1.1.1 LOGIN=joe", "unknown[10.1.1.1]:0", true},
		{"this machine", "ADDR=127.0.0.1 LOGIN=root", "unknown[127.0.0.1]:0", false},
		{"nobody", "NAME=[UNAVAILABLE] ADDR=[UNAVAILABLE]", "unknown[10.0.0.8]:50000", false},
		{"itself", "NAME=[UNAVAILABLE] ADDR=10.0.0.8 PORT=1", "unknown[10.0.0.8]:50000", false},
		{"only a name", "NAME=mx.one.test", "mx.one.test[10.0.0.8]:50000", false},
		{"only a login", "LOGIN=root", "unknown[10.0.0.8]:50000", false},
	} {
		synctest.Test(t, func(t *testing.T) {
			var log testenv.Log
			q := &memQueue{}
			o := withFront(&log)
			o.Queue = q
			l := servePipes(t, New(o), Relay)
			c, _ := l.connect(t, frontAddr)
			if r := c.do("EHLO front.example"); !strings.Contains(r.Text, "XCLIENT NAME ADDR PORT PROTO HELO LOGIN DESTADDR DESTPORT") {
				t.Errorf("%v doesn't offer XCLIENT", r)
			}
			if r := c.do("XCLIENT " + tt.args); r.Code != 220 {
				t.Fatalf("%s: %v, want 220", tt.args, r)
			}
			if r := c.do("MAIL FROM:<a@b.example>"); r.Code != 503 {
				t.Errorf("%s: MAIL before EHLO: %v, want 503", tt.args, r)
			}
			c.do("EHLO c.example")
			c.do("MAIL FROM:<a@b.example>")
			if r := c.do("XCLIENT " + tt.args); r.Code != 503 {
				t.Errorf("within a transaction: %v, want 503", r)
			}
			if r := c.do("RCPT TO:<x@far.example>"); (r.Code == 250) != tt.relays {
				t.Errorf("%s: relaying: %v, want it to be taken: %v", tt.name, r, tt.relays)
			}
			c.do("RCPT TO:<alice@us.example>")
			c.do("DATA")
			if r := c.do("\r\n."); r.Code != 250 {
				t.Fatal(r)
			}
			got := q.messages()[0].Client
			if got.String() != tt.client || got.Local || got.Trusted != tt.relays || got.Via.String() != frontAddr {
				t.Errorf("%s: the message is of %v, local %v, trusted %v, by way of %v", tt.name, &got, got.Local, got.Trusted, got.Via)
			}
			if !strings.Contains(log.String(), tt.client) || !strings.Contains(log.String(), "through "+frontAddr) {
				t.Errorf("%s: log %s, want %s", tt.name, &log, tt.client)
			}
		})
	}
}

// Nobody else has the command, nor hears of it.
func TestXClientOfOthers(t *testing.T) {
	var log testenv.Log
	for _, addr := range []string{strangerAddr, "127.0.0.1:1", "10.1.1.1:1"} {
		c := dialFrom(t, New(withFront(&log)), Relay, addr)
		if r := c.do("EHLO x"); strings.Contains(r.Text, "XCLIENT") {
			t.Errorf("%s is offered XCLIENT: %v", addr, r)
		}
		if r := c.do("HELP"); strings.Contains(r.Text, "XCLIENT") {
			t.Errorf("%s is told of XCLIENT: %v", addr, r)
		}
		if r := c.do("XCLIENT ADDR=10.0.0.8"); r.Code != 550 || r.Status != "5.7.0" {
			t.Errorf("%s: %v, want 550 5.7.0", addr, r)
		}
	}
	c := dialFrom(t, New(withFront(&log)), Relay, frontAddr)
	for _, args := range []string{"ADDR=x", "NICK=joe", "NAME"} {
		if r := c.do("XCLIENT " + args); r.Code != 501 {
			t.Errorf("%s: %v, want 501", args, r)
		}
	}
	c.do("XCLIENT ADDR=192.0.2.7 HELO=a.example PROTO=SMTP DESTADDR=198.51.100.1 DESTPORT=587")
	if r := c.do("XCLIENT NAME=b.example"); r.Code != 220 || !strings.Contains(log.String(), "b.example[192.0.2.7]:0") {
		t.Errorf("a second time, with the address of before: %v, log %s", r, &log)
	}
}

// refusing refuses one address at the connection.
type refusing struct {
	domainPolicy
	closed *atomic.Int64
}

func (p refusing) Close() { p.closed.Add(1) }

func (p refusing) Connect(context.Context) Verdict {
	if p.Client.Addr.Addr() == netip.MustParseAddr("192.0.2.66") {
		return Refusal(smtp.Reply{Code: 554, Status: "5.7.1", Text: "not you, go away"})
	}
	return Verdict{}
}

// Shares and checks are those of whom XCLIENT names: the place of before is free, a second
// session of the client's address waits, and who may not connect is sent away. Each
// Checker ends once.
func TestXClientShares(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log testenv.Log
		o := withFront(&log)
		o.ClientsPerAddress, o.Clients = 1, 2
		var checkers, closed atomic.Int64
		o.Checker = func(c *Client) Checker {
			checkers.Add(1)
			return refusing{domainPolicy{Client: c}, &closed}
		}
		s := New(o)
		l := servePipes(t, s, Relay)
		var fronts [3]*talker
		for i := range fronts[:2] {
			fronts[i], _ = l.connect(t, frontAddr)
		}
		if r := fronts[0].do("XCLIENT ADDR=192.0.2.1"); r.Code != 220 {
			t.Errorf("the first: %v", r)
		}
		if fronts[2], _ = l.connect(t, frontAddr); fronts[2] == nil {
			t.Error("the place of the first isn't free")
		}
		start := time.Now()
		if r := fronts[1].do("XCLIENT ADDR=192.0.2.1"); r.Code != 421 || time.Since(start) != 0 { // it may not wait on the last place
			t.Errorf("another session of the same client: %v after %v, want 421", r, time.Since(start))
		}
		if r := fronts[2].do("XCLIENT ADDR=192.0.2.66"); r.Code != 554 || !fronts[2].read().IsZero() {
			t.Errorf("who may not connect: %v, want 554 and the end", r)
		}
		fronts[0].do("QUIT")
		synctest.Wait()
		if checkers.Load() != closed.Load() {
			t.Errorf("%d checkers began and %d ended", checkers.Load(), closed.Load())
		}
		for i := range 2 {
			if c, r := l.connect(t, fmt.Sprintf("192.0.2.9%d:1", i)); r.Code != 220 {
				t.Errorf("when all have gone: %v", r)
			} else {
				defer c.do("QUIT")
			}
		}
	})
}
