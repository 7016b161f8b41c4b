package smtpd

import (
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"postoffice/internal/smtp"
	"postoffice/internal/testenv"
)

// denying is a Checker that refuses a client at the connection, or at HELO.
type denying struct {
	Accepting
	at      string // "connect", "HELO", or "HELO for now"
	replied *[]string
}

var denied = smtp.Reply{Code: 554, Status: "5.7.1", Text: "no mail is taken from you: too much of it"}

func (d denying) Connect(context.Context) Verdict {
	if d.at == "connect" {
		return Verdict{Reply: denied, Refuse: true}
	}
	return Verdict{}
}

func (d denying) Helo(context.Context) Verdict {
	if d.at == "HELO for now" {
		return Verdict{Reply: smtp.Reply{Code: 450, Status: "4.7.1", Text: denied.Text}, Refuse: true}
	}
	return Verdict{Reply: smtp.Reply{Code: 550, Status: "5.7.1", Text: denied.Text}, Refuse: true}
}

func (d denying) Replied(verb, line string, r smtp.Reply) smtp.Reply {
	*d.replied = append(*d.replied, verb)
	return smtp.Reply{}
}

// TestBarred: a client that was refused hears why at each command, after a while,
// and the fifth ends it; QUIT is answered at once (B23).
func TestBarred(t *testing.T) {
	for at, code := range map[string]int{"connect": 503, "HELO": 503, "HELO for now": 450} {
		synctest.Test(t, func(t *testing.T) {
			var replied []string
			o := options(&memQueue{})
			o.Checker = func(*Client) Checker { return denying{at: at, replied: &replied} }
			s := New(o)
			begin := func() *talker {
				conn, end := peerOf(s, Relay, strangerAddr)
				t.Cleanup(func() {
					conn.Close()
					<-end
				})
				c := &talker{t: t, conn: conn, r: newReader(conn)}
				if at == "connect" {
					if r := c.want(554); !strings.Contains(r.Text, denied.Text) {
						t.Errorf("greeting %v", r)
					}
					return c
				}
				c.want(220)
				if r := c.do("EHLO us.example"); r.Code != 550 && code == 503 || r.Code != 450 && code == 450 {
					t.Errorf("EHLO: %v", r)
				}
				return c
			}
			start := time.Now()
			if r := begin().do("QUIT"); r.Code != 221 || time.Since(start) != 0 {
				t.Errorf("%s: QUIT: %v after %v", at, r, time.Since(start))
			}
			c := begin()
			for i, line := range []string{"EHLO x", "MAIL FROM:<a@b.example>", "RCPT TO:<alice@us.example>", "DATA", "NOOP"} {
				start := time.Now()
				r := c.do(line)
				want := code
				if i == maxBarred-1 {
					want = 421
				}
				if r.Code != want || r.Status != fmt.Sprintf("%d.7.1", want/100) || !strings.Contains(r.Text, denied.Text) || time.Since(start) != barredWait {
					t.Errorf("%s: %s: %v after %v, want %d after %v", at, line, r, time.Since(start), want, barredWait)
				}
			}
			if len(replied) == 0 || replied[0] != "CONN" {
				t.Errorf("%s: the Checker was told of %v", at, replied)
			}
		})
	}
}

// TestBarredShare: clients that were refused have a part of the places, and who
// comes beyond that is sent away; the end of the server keeps nobody waiting.
func TestBarredShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var replied []string
		o := options(&memQueue{})
		o.Clients = 4
		o.Checker = func(c *Client) Checker {
			if c.Addr.Addr().String() == "192.0.2.200" {
				return Accepting{}
			}
			return denying{at: "connect", replied: &replied}
		}
		s := New(o)
		l := servePipes(t, s, Relay)
		first, r := l.connect(t, "192.0.2.1:1")
		if r.Code != 554 {
			t.Fatalf("the first: %v", r)
		}
		for range 3 {
			c, r := l.connect(t, "192.0.2.2:1")
			if r.Code != 554 || !c.read().IsZero() {
				t.Errorf("beyond the share: %v, and the connection stays", r)
			}
			synctest.Wait()
		}
		other, r := l.connect(t, "192.0.2.200:1")
		if r.Code != 220 {
			t.Errorf("another client: %v", r)
		}
		go other.read()
		first.send("NOOP\r\n")
		go func() {
			for !first.read().IsZero() { // 503, then 421
			}
		}()
		synctest.Wait()
		start := time.Now()
		if err := s.Shutdown(context.Background()); err != nil || time.Since(start) > lingerWait {
			t.Errorf("shutdown: %v after %v", err, time.Since(start))
		}
	})
}

// TestBarredHangup: a client that was refused and hangs up while it waits for an
// answer has its place no longer, also where more of its commands have come.
func TestBarredHangup(t *testing.T) {
	o := options(&memQueue{})
	o.Checker = func(*Client) Checker { return denying{at: "connect", replied: new([]string)} }
	s := New(o)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	begin := func() (*talker, chan error) {
		conn, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		accepted, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		end := make(chan error, 1)
		go func() { end <- s.ServeConn(t.Context(), accepted, Relay) }()
		c := &talker{t: t, conn: conn, r: newReader(conn)}
		c.want(554)
		return c, end
	}
	stays, stayEnd := begin()
	stays.send("NOOP\r\n")
	answered := make(chan smtp.Reply, 1)
	go func() { answered <- stays.read() }()
	goes, end := begin()
	goes.send("NOOP\r\nNOOP\r\n")
	goes.conn.Close()
	select {
	case err := <-end:
		if err != io.EOF {
			t.Errorf("it ended with %v, want %v", err, io.EOF)
		}
	case r := <-answered:
		t.Errorf("one that stayed was answered first: %v", r)
	}
	stays.conn.Close()
	<-stayEnd
}

// TestMark: mail of a client that is only just accepted carries the reason, which the
// log has too, and its folder goes with it.
func TestMark(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := &memQueue{}
		o := options(q)
		var lines testenv.Log
		o.Log = lines.Logger()
		o.Checker = func(c *Client) Checker { return marking{domainPolicy{Client: c}} }
		c := dial(t, New(o))
		c.envelope("a@b.example", "alice@us.example")
		c.send("Subject: x\r\n\r\nhello\r\n.\r\n")
		c.want(250)
		got := q.all[0]
		if !strings.Contains(got.Data, "\nX-Spam: no name\n") || got.Mark.Folder != "junk" {
			t.Errorf("%+v\n%s", got.Mark, got.Data)
		}
		if !strings.Contains(lines.String(), `reason="marked: no name"`) {
			t.Errorf("the log has\n%s", &lines)
		}
	})
}

// marking is a Checker that accepts, with a mark.
type marking struct{ domainPolicy }

func (marking) Connect(context.Context) Verdict {
	return Verdict{Greeting: "\nwe take it, and mark it", Mark: Mark{Reason: "no name", Folder: "junk"}}
}

// patient are the options of a server that greets strangers after five seconds.
func patient(log *testenv.Log, q Queue) Options {
	o := proxied(log)
	o.Queue, o.GreetDelay = q, 5*time.Second
	return o
}

// Who waits for the greeting gets it after that time, which its place in the line of its
// address counts for; this machine, who is trusted, submission and a proxy's own
// connections don't wait.
func TestGreetDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log testenv.Log
		o := patient(&log, &memQueue{})
		o.ClientsPerAddress = 1
		s := New(o)
		l := servePipes(t, s, Relay)
		submission := servePipes(t, s, Submission)
		greeted := func(l *pipeListener, addr string, want time.Duration) *talker {
			t.Helper()
			start := time.Now()
			c, r := l.connect(t, addr)
			if r.Code != 220 || time.Since(start) != want {
				t.Errorf("%s: %v after %v, want 220 after %v", addr, r, time.Since(start), want)
			}
			return c
		}
		greeted(l, "127.0.0.1:1", 0)
		greeted(l, "10.1.1.1:1", 0)
		greeted(submission, "192.0.2.8:1", 0)
		c := greeted(l, strangerAddr, o.GreetDelay)
		start := time.Now()
		l.introduced(t, localV2).want(220)
		l.introduced(t, headerOf("10.1.1.1")).want(220)
		if time.Since(start) != 0 {
			t.Errorf("a proxy and a trusted client behind it: after %v", time.Since(start))
		}
		start = time.Now()
		two, three := l.arrive(t, strangerAddr), l.introduced(t, headerOf("192.0.2.9"))
		go func() {
			time.Sleep(3 * time.Second)
			c.do("QUIT")
		}()
		three.want(220)
		if two.want(220); time.Since(start) != o.GreetDelay {
			t.Errorf("who waited for its turn meanwhile, and a stranger behind a proxy: greeted after %v, want %v", time.Since(start), o.GreetDelay)
		}
	})
}

// Who speaks before the greeting is told so and loses the connection, and runs no
// command; or its mail is marked. Who goes away, and the server's end, end the wait.
func TestEarlyTalk(t *testing.T) {
	for _, after := range []time.Duration{0, 3 * time.Second} {
		for _, tag := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				var log testenv.Log
				q := &memQueue{}
				o := patient(&log, q)
				o.TagEarly = tag
				l := servePipes(t, New(o), Relay)
				start := time.Now()
				c := l.arrive(t, strangerAddr)
				go func() {
					time.Sleep(after)
					c.send("EHLO x\r\n")
				}()
				if tag {
					c.want(220)
					c.want(250)
					c.envelope("a@b.example", "alice@us.example")
					c.do("\r\n.")
					if all := q.messages(); len(all) != 1 || all[0].Mark.Reason == "" {
						t.Errorf("tagged: stored %v", all)
					}
					return
				}
				if r := c.read(); r.Code != 554 || r.Status != "5.5.1" || time.Since(start) != after {
					t.Errorf("%v after %v, want 554 5.5.1 after %v", r, time.Since(start), after)
				}
				if r := c.read(); !r.IsZero() || !strings.Contains(log.String(), "client refused") {
					t.Errorf("%v, want the end; log %s", r, &log)
				}
			})
		}
	}
	synctest.Test(t, func(t *testing.T) {
		var log testenv.Log
		s := New(patient(&log, &memQueue{}))
		l := servePipes(t, s, Relay)
		l.arrive(t, strangerAddr).conn.Close()
		synctest.Wait()
		if strings.Contains(log.String(), "level=INFO") {
			t.Errorf("who goes away at once: %s", &log)
		}
		c := l.arrive(t, strangerAddr)
		synctest.Wait()
		start := time.Now()
		go s.Shutdown(context.Background())
		if r := c.read(); r.Code != 421 || time.Since(start) != 0 {
			t.Errorf("at the end: %v after %v, want 421 at once", r, time.Since(start))
		}
	})
}

// A14: beyond the soft limit each reply of a stranger waits, without a buffer, and beyond
// the hard one the session ends; a message forgives. This machine and who is trusted
// don't wait.
func TestErrorDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log testenv.Log
		o := proxied(&log)
		o.SoftErrors, o.HardErrors, o.ErrorDelay = 3, 6, 2*time.Second
		s := New(o)
		for addr, delayed := range map[string]bool{strangerAddr: true, "10.1.1.1:1": false, "127.0.0.1:1": false} {
			c := dialFrom(t, s, Relay, addr)
			for i := range 7 {
				start := time.Now()
				r := c.do("NONSENSE")
				want := time.Duration(0)
				if delayed && i+1 > o.SoftErrors {
					want = o.ErrorDelay
				}
				if code := map[bool]int{true: 500, false: 421}[i < o.HardErrors]; r.Code != code || time.Since(start) != want {
					t.Errorf("%s: error %d: %v after %v, want %d after %v", addr, i+1, r, time.Since(start), code, want)
				}
			}
		}
		c := dialFrom(t, s, Relay, strangerAddr)
		for range o.SoftErrors {
			c.do("NONSENSE")
		}
		c.envelope("a@b.example", "alice@us.example")
		c.do("\r\n.")
		start := time.Now()
		if c.do("NONSENSE"); time.Since(start) != 0 {
			t.Errorf("after a message: %v", time.Since(start))
		}
	})
}
