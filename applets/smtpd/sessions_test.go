package smtpd

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"postoffice/internal/testenv"
)

// TestSessions: each session is to be seen with its client, its state, since when,
// and what has come, and one that has ended no more.
func TestSessions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := options(&memQueue{})
		o.ClientsPerAddress = 1
		o.Account = func(int) (string, string, error) { return "joe", "", nil }
		s := New(o)
		s.userOf = func(net.Conn) (int, error) { return 71000, nil }
		l, programs := servePipes(t, s, Relay), servePipes(t, s, Local)
		begun := time.Now()
		want := func(what string, want ...string) {
			t.Helper()
			synctest.Wait()
			var got []string
			for is := range s.Sessions() {
				got = append(got, fmt.Sprint(is.Client, " ", is.UID, " ", is.State, " ", is.Hello, " ", is.QueueID, " ", is.Received, " ", is.Begun.Sub(begun), " ", is.Since.Sub(begun)))
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s:\n%s\nwant\n%s", what, strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
		}
		want("nobody")
		c, _ := l.connect(t, strangerAddr)
		want("greeted", "unknown[192.0.2.7]:40000 -1 connected   0 0s 0s")
		time.Sleep(time.Second)
		c.do("EHLO \x1b[31m")
		want("HELO", "unknown[192.0.2.7]:40000 -1 connected   12 0s 0s")
		c.do("EHLO x")
		want("EHLO", "unknown[192.0.2.7]:40000 -1 idle x  20 0s 1s")
		time.Sleep(time.Second)
		c.do("MAIL FROM:<a@b.example>")
		want("MAIL", "unknown[192.0.2.7]:40000 -1 envelope x Q1 45 0s 2s")
		c.do("RCPT TO:<bob@us.example>")
		time.Sleep(time.Second)
		c.do("DATA")
		want("DATA", "unknown[192.0.2.7]:40000 -1 data x Q1 77 0s 3s")
		p, _ := programs.connect(t, "127.0.0.1:1")
		second := l.arrive(t, "192.0.2.7:40001")
		want("three", "unknown[192.0.2.7]:40000 -1 data x Q1 77 0s 3s", "joe[uid 71000] 71000 connected   0 3s 3s", "unknown[192.0.2.7]:40001 -1 waiting   0 3s 3s")
		p.do("QUIT")
		c.conn.Close()
		second.want(220)
		want("the last", "unknown[192.0.2.7]:40001 -1 connected   0 3s 3s")
	})
}

// TestEndSession: a session is ended by its ID in each state, with 421 and a line in
// the log that says by whom, and nothing of another's ends.
func TestEndSession(t *testing.T) {
	for _, state := range []string{Waiting, Connected, Idle, Envelope, Data, Refused} {
		synctest.Test(t, func(t *testing.T) {
			var lines testenv.Log
			q := &memQueue{}
			o := options(q)
			o.ClientsPerAddress = 1
			o.Log = lines.Logger()
			o.Checker = func(c *Client) Checker {
				if state == Refused && c.Addr.Port() == 2 {
					return denying{at: "connect", replied: new([]string)}
				}
				return domainPolicy{Client: c}
			}
			s := New(o)
			l := servePipes(t, s, Relay)
			other, _ := l.connect(t, "192.0.2.8:1")
			if state == Waiting {
				l.connect(t, "192.0.2.7:1")
			}
			c := l.arrive(t, "192.0.2.7:2")
			if state != Waiting {
				c.read()
			}
			for _, line := range map[string][]string{
				Idle: {"HELO x"}, Envelope: {"HELO x", "MAIL FROM:<>"},
				Data: {"HELO x", "MAIL FROM:<>", "RCPT TO:<bob@us.example>", "DATA"},
			}[state] {
				c.do(line)
			}
			if state == Refused {
				c.send("NOOP\r\n")
			}
			synctest.Wait()
			id := ""
			for is := range s.Sessions() {
				if strings.HasSuffix(is.Client, ":2") && is.State == state {
					id = is.ID
				}
			}
			start := time.Now()
			if !s.End(id, "amy") || !s.End(id, "bob") || s.End("NOSUCH", "amy") {
				t.Fatalf("%s: session %q can't be ended, or one that there isn't can", state, id)
			}
			r := c.read()
			for state == Refused && r.Code == 503 {
				r = c.read()
			}
			after, most := time.Since(start), time.Duration(0)
			if state == Data {
				most = shutdownGrace
			}
			if r.Code != 421 || r.Status != "4.3.2" || after > most || !c.read().IsZero() {
				t.Errorf("%s: %v after %v, want 421 4.3.2 within %v, and the end", state, r, after, most)
			}
			synctest.Wait()
			if log := lines.String(); state != Waiting && (strings.Count(log, "session ended") != 1 || !strings.Contains(log, `reason="by amy"`)) {
				t.Errorf("%s: log\n%s", state, log)
			}
			if r := other.do("NOOP"); r.Code != 250 || q.unfinished() > 0 || len(q.messages()) > 0 {
				t.Errorf("%s: another's session: %v; %d messages open", state, r, q.unfinished())
			}
		})
	}
}

// A message whose final dot has come is stored and acknowledged, whoever ends its
// session meanwhile.
func TestEndSessionStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := &memQueue{}
		s := New(options(q))
		q.committing = func(context.Context) {
			for is := range s.Sessions() {
				s.End(is.ID, "amy")
			}
			time.Sleep(3 * time.Second)
		}
		l := servePipes(t, s, Relay)
		c, _ := l.connect(t, strangerAddr)
		c.envelope("a@b.example", "bob@us.example")
		c.send("\r\nx\r\n.\r\n")
		if first, second := c.read(), c.read(); first.Code != 250 || second.Code != 421 || len(q.messages()) != 1 {
			t.Errorf("%v, then %v, and %d messages, want 250, 421 and one", first, second, len(q.messages()))
		}
	})
}
