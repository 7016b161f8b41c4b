package smtpd

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"postoffice/applets/smtpd/rates"
	"postoffice/internal/testenv"
)

// limitedTo are the options of a server that takes n of one kind from an address in a
// minute.
func limitedTo(log *testenv.Log, k rates.Kind, n int) Options {
	o := proxied(log)
	o.Rates.Per, o.Rates.Most[k] = time.Minute, n
	return o
}

// More connections than an address may make get 421, and the log one line for all of
// them; others, this machine, who is trusted and a proxy are not counted.
func TestRateConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log testenv.Log
		s := New(limitedTo(&log, rates.Connections, 3))
		l := servePipes(t, s, Relay)
		come := func(addr string, want int) {
			t.Helper()
			c, r := l.connect(t, addr)
			if r.Code != want || want == 421 && (r.Status != "4.7.1" || !strings.HasSuffix(r.Text, "try again in 20 seconds")) {
				t.Errorf("%s: %v, want %d", addr, r, want)
			}
			if c.do("QUIT"); want == 220 {
				synctest.Wait()
			}
		}
		for i := range 6 {
			come("127.0.0.1:1", 220)
			come("10.1.1.1:1", 220)
			l.introduced(t, localV2).want(220)
			l.introduced(t, headerOf("10.1.1.2")).want(220)
			if i < 3 {
				come("192.0.2.7:1", 220)
				l.introduced(t, headerOf("192.0.2.8")).want(220)
				continue
			}
			come("192.0.2.7:1", 421)
			l.introduced(t, headerOf("192.0.2.8")).want(421)
		}
		if n := strings.Count(log.String(), "client refused"); n != 6 || strings.Count(log.String(), `level=INFO msg="client refused"`) != 2 {
			t.Errorf("%d refusals in the log, want 6, two of them of level INFO: %s", n, &log)
		}
		come("192.0.2.9:1", 220)
		time.Sleep(20 * time.Second)
		come("192.0.2.7:1", 220)
		come("192.0.2.7:1", 421)
		if all := s.Limited(); len(all) != 1 || all[0].Refused != 1 || all[0].Network.String() != "192.0.2.7/32" {
			t.Errorf("limited: %v", all)
		}
	})
}

// More messages, recipients or names that there are not get 450 and are told when to come
// again; where too many names were unknown those that there are aren't told either.
func TestRateMail(t *testing.T) {
	for _, tt := range []struct {
		kind  rates.Kind
		lines []string
		codes []int
	}{
		{rates.Messages, []string{"MAIL FROM:<a@b.example>", "RSET", "MAIL FROM:<a@b.example>", "RSET", "MAIL FROM:<a@b.example>"}, []int{250, 250, 250, 250, 450}},
		{rates.Recipients, []string{"MAIL FROM:<a@b.example>", "RCPT TO:<alice@us.example>", "RCPT TO:<nobody@us.example>", "RCPT TO:<bob@us.example>"}, []int{250, 250, 550, 450}},
		{rates.Unknown, []string{"MAIL FROM:<a@b.example>", "RCPT TO:<x1@us.example>", "RCPT TO:<alice@us.example>", "RCPT TO:<x2@us.example>",
			"RCPT TO:<x3@us.example>", "RCPT TO:<bob@us.example>"}, []int{250, 550, 250, 550, 450, 450}},
	} {
		for _, addr := range []string{strangerAddr, "10.1.1.1:1", "127.0.0.1:1"} {
			synctest.Test(t, func(t *testing.T) {
				var log testenv.Log
				s := New(limitedTo(&log, tt.kind, 2))
				c := dialFrom(t, s, Relay, addr)
				c.do("EHLO x")
				for i, line := range tt.lines {
					r := c.do(line)
					want := tt.codes[i]
					if addr != strangerAddr && want == 450 {
						want = 250
						if strings.Contains(line, "x3") {
							want = 550
						}
					}
					if r.Code != want || want == 450 && (r.Status != "4.7.1" || !strings.HasSuffix(r.Text, fmt.Sprintf("too many %s from your address or its network lately, try again in 30 seconds", tt.kind))) {
						t.Errorf("%s: %s: %v, want %d", addr, line, r, want)
					}
				}
				if n := len(s.Limited()); addr != strangerAddr && n != 0 || addr == strangerAddr && n != 1 {
					t.Errorf("%s: limited: %v", addr, s.Limited())
				}
			})
		}
	}
}
