package smtpd

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"postoffice/internal/testenv"
)

// crowded is a server with four places for strangers, two of them taken by clients that
// go on sending commands, for as long as the test lasts.
func crowded(t *testing.T) (s *Server, l *pipeListener, end func()) {
	done, work := make(chan bool), sync.WaitGroup{}
	var log testenv.Log
	o := proxied(&log)
	o.Clients, o.ClientsPerAddress = 4, 1
	s = New(o)
	l = servePipes(t, s, Relay)
	for i := range 2 {
		c, _ := l.connect(t, fmt.Sprintf("198.51.100.%d:1", i+1))
		work.Go(func() {
			for {
				select {
				case <-done:
					return
				case <-time.After(5 * time.Second):
				}
				c.do("EHLO x")
				for _, line := range []string{"MAIL FROM:<a@b.example>", "RCPT TO:<alice@us.example>", "DATA", "\r\n."} {
					c.do(line)
				}
			}
		})
	}
	return s, l, func() {
		close(done)
		work.Wait()
	}
}

// trickle sends octets one by one, n in a second, until the connection ends.
func trickle(c *talker, n int) {
	for {
		if _, err := c.conn.Write([]byte("x" + strings.Repeat(" ", n-1))); err != nil {
			return
		}
		time.Sleep(time.Second)
	}
}

// A81: where few places are left, who sends a line or a message octet by octet loses its
// own like one who is silent; who sends a message at a fair pace keeps it, and so do
// this machine and who is trusted.
func TestCrowdedTrickle(t *testing.T) {
	for _, tt := range []struct {
		name, addr string
		data       bool
		pace       int // octets in a second
		ends       bool
	}{
		{"a line", "192.0.2.1:1", false, 1, true},
		{"a message", "192.0.2.1:1", true, 1, true},
		{"a message at a fair pace", "192.0.2.1:1", true, 2000, false},
		{"a trusted client's message", "10.1.1.1:1", true, 20, false},
		{"this machine's message", "127.0.0.1:1", true, 20, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			_, l, end := crowded(t)
			defer end()
			c, _ := l.connect(t, tt.addr)
			if tt.data {
				c.envelope("a@b.example", "alice@us.example")
			}
			start := time.Now()
			ended := make(chan time.Duration, 1)
			go func() {
				if r := c.read(); r.Code == 421 && r.Status == "4.4.2" {
					ended <- time.Since(start)
				}
			}()
			var writer sync.WaitGroup
			defer writer.Wait()
			defer c.conn.Close()
			writer.Go(func() { trickle(c, tt.pace) })
			select {
			case after := <-ended:
				if !tt.ends || after > 2*idleWait {
					t.Errorf("%s: ended after %v, want that: %v", tt.name, after, tt.ends)
				}
			case <-time.After(time.Minute):
				if tt.ends {
					t.Errorf("%s: not ended after a minute", tt.name)
				}
			}
		})
	}
}

// A81: an address that had a place for nothing while few were left doesn't get one of the
// last again for some time, and others do; when there are enough it gets one.
func TestCrowdedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, l, end := crowded(t)
		defer end()
		idle, r := l.connect(t, "192.0.2.1:1")
		if r.Code != 220 {
			t.Fatal(r)
		}
		idle.want(421)
		synctest.Wait()
		c, r := l.connect(t, "192.0.2.1:1") // two of four are taken
		if r.Code != 220 {
			t.Fatalf("where half of the places are free: %v", r)
		}
		c.do("QUIT")
		synctest.Wait()
		other, r := l.connect(t, "192.0.2.2:1")
		if r.Code != 220 {
			t.Errorf("another one: %v", r)
		}
		if _, r := l.connect(t, "192.0.2.1:1"); r.Code != 421 || r.Status != "4.3.2" {
			t.Errorf("who was silent, for the last place: %v, want 421 4.3.2", r)
		}
		if all := s.Limited(); len(all) != 1 || all[0].Network.String() != "192.0.2.1/32" {
			t.Errorf("limited: %v", all)
		}
		last, r := l.connect(t, "192.0.2.3:1")
		if r.Code != 220 {
			t.Errorf("a third one, for the last place: %v", r)
		}
		for _, c := range []*talker{other, last} {
			c.envelope("a@b.example", "alice@us.example")
			c.do("\r\n.")
			c.do("QUIT")
		}
		time.Sleep(wasteWait)
		one, r := l.connect(t, "192.0.2.3:1")
		if r.Code != 220 {
			t.Errorf("one that has sent: %v", r)
		}
		if c, r := l.connect(t, "192.0.2.1:1"); r.Code != 220 {
			t.Errorf("who was silent, after %v: %v", wasteWait, r)
		} else {
			c.do("QUIT")
		}
		one.do("QUIT")
	})
}
