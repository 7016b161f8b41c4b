package smtpd

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"postoffice/internal/smtp"
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

func (d denying) Replied(verb, line string, r smtp.Reply) {
	*d.replied = append(*d.replied, verb)
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

// TestMark: mail of a client that is only just accepted carries the reason, which the
// log has too, and its folder goes with it.
func TestMark(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := &memQueue{}
		o := options(q)
		var lines logLines
		o.Log = lines.logger()
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
