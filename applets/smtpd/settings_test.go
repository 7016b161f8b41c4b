package smtpd

import (
	"context"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"postoffice/internal/smtp"
	"postoffice/internal/testenv"
)

// TestTenthOfTheTimeout: a stranger whose MAIL was refused has a tenth of the timeout
// for each next command, until a MAIL is taken; this machine and trusted clients
// keep all of it.
func TestTenthOfTheTimeout(t *testing.T) {
	for _, tt := range []struct {
		name, addr string
		lines      []string
		want       time.Duration
	}{
		{"nothing refused", strangerAddr, []string{"MAIL FROM:<a@b.example>"}, defaultTimeout},
		{"refused", strangerAddr, []string{"MAIL FROM:<a@evil.example>"}, defaultTimeout / 10},
		{"no address", strangerAddr, []string{"MAIL a"}, defaultTimeout / 10},
		{"other commands", strangerAddr, []string{"MAIL FROM:<a@evil.example>", "RSET", "NOOP"}, defaultTimeout / 10},
		{"one is taken", strangerAddr, []string{"MAIL FROM:<a@evil.example>", "MAIL FROM:<a@b.example>", "RSET"}, defaultTimeout},
		{"a recipient is refused", strangerAddr, []string{"MAIL FROM:<a@b.example>", "RCPT TO:<none@us.example>"}, defaultTimeout},
		{"trusted", "198.51.100.9:4000", []string{"MAIL FROM:<a@evil.example>"}, defaultTimeout},
		{"this machine", "127.0.0.1:4000", []string{"MAIL FROM:<a@evil.example>"}, defaultTimeout},
	} {
		synctest.Test(t, func(t *testing.T) {
			o := options(&memQueue{})
			o.Trusted = func(a netip.Addr) (local, trusted bool) {
				return a.IsLoopback(), a == netip.MustParseAddr("198.51.100.9")
			}
			c := dialFrom(t, New(o), Relay, tt.addr)
			c.do("EHLO c.example")
			for _, line := range tt.lines {
				c.do(line)
			}
			start := time.Now()
			if r := c.want(421); r.Status != "4.4.2" || time.Since(start) != tt.want {
				t.Errorf("%s: %v after %v, want 421 4.4.2 after %v", tt.name, r, time.Since(start), tt.want)
			}
		})
	}
}

// trusting is a Checker that lets everybody relay.
type trusting struct{ domainPolicy }

func (trusting) Connect(context.Context) Verdict { return Verdict{Trust: "because"} }

// TestTrustAtConnect: a client that the connection's check trusts may relay, and the
// log says why.
func TestTrustAtConnect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lines := &testenv.Log{}
		o := options(&memQueue{})
		o.Log = lines.Logger()
		o.Checker = func(c *Client) Checker { return trusting{domainPolicy{Client: c}} }
		c := dial(t, New(o))
		c.do("EHLO c.example")
		c.do("MAIL FROM:<a@b.example>")
		if r := c.do("RCPT TO:<x@far.example>"); r.Code != 250 {
			t.Errorf("RCPT: %v, want it relayed", r)
		}
		if !strings.Contains(lines.String(), `msg="client connected"`) || !strings.Contains(lines.String(), "reason=because") {
			t.Errorf("no reason in\n%s", lines)
		}
	})
}

// TestDebug: the verb is there where the option is on, for this machine and trusted
// clients alone; to all others it is no command (A21, B93).
func TestDebug(t *testing.T) {
	shown := func(_ *Client, tx *Transaction) []string {
		if tx == nil {
			return []string{"no mail", "Timeout: 300"}
		}
		return []string{"from " + tx.ReversePath.String() + " \xff\r\n250 2.0.0 x"}
	}
	for _, tt := range []struct {
		name, addr string
		on         bool
		want       int
	}{
		{"a stranger", strangerAddr, true, 500},
		{"this machine", "127.0.0.1:4000", true, 250},
		{"trusted", "198.51.100.9:4000", true, 250},
		{"off", "127.0.0.1:4000", false, 500},
	} {
		synctest.Test(t, func(t *testing.T) {
			o := options(&memQueue{})
			o.Trusted = func(a netip.Addr) (local, trusted bool) {
				return a.IsLoopback(), a == netip.MustParseAddr("198.51.100.9")
			}
			if tt.on {
				o.Debug = shown
			}
			c := dialFrom(t, New(o), Relay, tt.addr)
			if r := c.do("debug"); r.Code != tt.want || r.Code == 250 && r.Text != "no mail\nTimeout: 300" {
				t.Errorf("%s: %v, want %d", tt.name, r, tt.want)
			}
			if r := c.do("HELP"); strings.Contains(r.Text, "DEBUG") != (tt.want == 250) {
				t.Errorf("%s: HELP: %v", tt.name, r)
			}
			c.do("EHLO c.example")
			c.do("MAIL FROM:<a@b.example>")
			if r := c.do("DEBUG"); tt.want == 250 && r.Text != "from a@b.example ??\n250 2.0.0 x" {
				t.Errorf("%s: in a transaction: %q", tt.name, r.Text)
			}
			if r := c.do("RCPT TO:<alice@us.example>"); r.Code != 250 {
				t.Errorf("%s: the transaction is gone: %v", tt.name, r)
			}
		})
	}
}

// TestBannerLines: the administrator's lines follow the first one of the greeting, for
// clients of the network.
func TestBannerLines(t *testing.T) {
	for kind, want := range map[Kind]string{
		Relay: "us.example ESMTP postoffice\nno spam here\nreally",
		Local: "us.example ESMTP postoffice",
	} {
		o := options(&memQueue{})
		o.Banner = func() []string { return []string{"no spam here", "really"} }
		conn, end := peerOf(New(o), kind, strangerAddr)
		c := &talker{t: t, conn: conn, r: newReader(conn)}
		if r := c.want(220); r.Text != want {
			t.Errorf("%v: greeting %q, want %q", kind, r.Text, want)
		}
		conn.Close()
		<-end
	}
}

// TestNoRelayVerb: a program of this machine gives up its right to send elsewhere, and
// nobody else has the verb.
func TestNoRelayVerb(t *testing.T) {
	for kind, want := range map[Kind]int{Local: 250, Relay: 500} {
		var client *Client
		o := options(&memQueue{})
		o.Checker = func(c *Client) Checker { client = c; return domains(c) }
		c := dialFrom(t, New(o), kind, strangerAddr)
		if r := c.do(smtp.VerbNoRelay); r.Code != want || client.NoRelay != (want == 250) {
			t.Errorf("kind %v: %v, given up: %v, want %d", kind, r, client.NoRelay, want)
		}
	}
}

// TestReportedNotRelayed: a recipient elsewhere that a session may not send to is not
// in the queue beside good ones either, as others are that are to be reported.
func TestReportedNotRelayed(t *testing.T) {
	q := &memQueue{}
	o := options(q)
	o.Checker = func(*Client) Checker { return domainPolicy{Client: &Client{}} } // as policy, once the right is given up
	c := dialFrom(t, New(o), Local, strangerAddr)
	c.do("EHLO c.example")
	c.do("MAIL FROM:<bob@us.example> " + smtp.ParamReport)
	for to, want := range map[string]int{"alice@us.example": 250, "x@far.example": 550} {
		if r := c.do("RCPT TO:<" + to + ">"); r.Code != want {
			t.Errorf("%s: %v, want %d", to, r, want)
		}
	}
	c.do("DATA")
	c.do("Subject: x\r\n\r\nx\r\n.")
	if got := q.messages(); len(got) != 1 || len(got[0].To) != 1 || got[0].To[0].Local != "alice" {
		t.Errorf("queued %v, want one for alice alone", got)
	}
}

// TestStatusOfEach: each reply that could have one has an enhanced status code (RFC 2034
// section 4): all but the greeting, those to HELO and EHLO, 354, and what DEBUG shows in
// the first postoffice's form.
func TestStatusOfEach(t *testing.T) {
	c := dialFrom(t, New(options(&memQueue{})), Relay, "127.0.0.1:1")
	c.do("EHLO client.example")
	for _, line := range []string{
		"NOOP", "VRFY alice", "EXPN all", "HELP", "HELP MAIL", "HELP X", "RSET", "RCPT TO:<a@us.example>", "DATA", "STARTTLS", "AUTH PLAIN", "X", "MAIL FROM:<a@b.example> X=1",
		"MAIL FROM:<a@b.example>", "MAIL FROM:<a@b.example>", "RCPT TO:<alice@us.example>", "BDAT 3\r\nx", "BDAT 0 LAST", "QUIT",
	} {
		if r := c.do(line); r.Status == "" {
			t.Errorf("%q: %d %q has no status", line, r.Code, r.Text)
		}
	}
}
