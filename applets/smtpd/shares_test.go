package smtpd

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"postoffice/internal/smtp"
)

// A81: two users who ask for 500 sessions each leave half of all, one person's
// uids without an account are one user, and root and the server have their own.
func TestProgramsShares(t *testing.T) {
	var l limits
	o := Options{Nobody: func(uid int) bool { return uid >= 100_000 }}.withDefaults()
	served := func(uid, tries int) (n int) {
		for range tries {
			if _, r := l.program(uid, o); r.IsZero() {
				n++
			} else if r.Code != 421 || r.Status != "4.7.0" {
				t.Errorf("uid %d: %v, want 421 4.7.0", uid, r)
			}
		}
		return n
	}
	for _, tt := range []struct{ uid, want int }{{71000, 250}, {71001, 187}} {
		if got := served(tt.uid, 500); got != tt.want {
			t.Errorf("uid %d has %d sessions, want %d", tt.uid, got, tt.want)
		}
	}
	contained := 0
	for uid := range 5000 {
		contained += served(100_000+uid, 1)
	}
	if contained != 140 {
		t.Errorf("5000 uids without an account have %d sessions, want the 140 of one user", contained)
	}
	if got := served(71002, 500); got != 105 {
		t.Errorf("a user who comes after them has %d sessions, want 105", got)
	}
	for uid := range 100 {
		if served(72000+uid, 1) != 1 {
			t.Errorf("user %d of those who come then is turned away", uid)
		}
	}
	if got := served(0, 240); got != 240 {
		t.Errorf("root has %d sessions of 240", got)
	}
}

// A81: the server's user has places of its own, as it comes for its queue.
func TestProgramsOwn(t *testing.T) {
	var l limits
	o := Options{Programs: 8}.withDefaults()
	for uid := range 100 {
		l.program(1<<20+uid, o)
	}
	if p, r := l.program(os.Geteuid(), o); !r.IsZero() || p.crowded != nil {
		t.Errorf("where all shared places are taken: %v", r)
	}
}

// A place that is left is free again, for whoever comes.
func TestProgramsLeave(t *testing.T) {
	var l limits
	o := Options{Programs: 4}.withDefaults()
	for range 100 {
		p, r := l.program(71000, o)
		if !r.IsZero() {
			t.Fatal(r)
		}
		p.free()
	}
}

// A81: an IPv6 /56 has a quarter of the sessions with strangers and a /48 half,
// however many /64 there are in it; who is trusted, and this machine, have places
// that no stranger takes.
func TestNetworksShares(t *testing.T) {
	var l limits
	o := Options{ClientsPerAddress: 1, Trusted: func(a netip.Addr) (local, trusted bool) {
		return a.IsLoopback() || a == netip.MustParseAddr("2001:db8:1::25"), a.IsPrivate()
	}}.withDefaults()
	served := func(format string, tries int) (n int) {
		for i := range tries {
			if _, r := l.client(netip.MustParseAddr(fmt.Sprintf(format, i)), o); r.IsZero() {
				n++
			}
		}
		return n
	}
	for _, tt := range []struct {
		what, format string
		tries, want  int
	}{
		{"a /56", "2001:db8:1:%x::1", 256, 25},
		{"its /48", "2001:db8:1:%x00::1", 256, 25}, // with the first
		{"another /48", "2001:db8:2:%x00::1", 256, 50},
		{"a stranger more than there are", "192.0.2.%d", 1, 0},
		{"this machine, by its loopback address", "127.0.0.%d", 50, 50},
		{"this machine, by its own address", "2001:db8:1::2%d", 6, 1}, // ::25; the others are strangers
		{"trusted clients", "10.0.0.%d", 110, 100},
	} {
		if got := served(tt.format, tt.tries); got != tt.want {
			t.Errorf("%s: %d sessions of %d, want %d", tt.what, got, tt.tries, tt.want)
		}
	}
}

// What one refused session had counted for is not kept.
func TestNetworksLeave(t *testing.T) {
	var l limits
	o := Options{ClientsPerAddress: 1, Clients: 4}.withDefaults()
	a := netip.MustParseAddr("2001:db8::1")
	for range 3 {
		p, r := l.client(a, o)
		if _, second := l.client(a, o); !r.IsZero() || second.Code != 421 || second.Status != "4.7.0" {
			t.Fatalf("the first: %v, the second, for whom a /56 of one place has none: %v", r, second)
		}
		p.free()
	}
	if l.strangers.Inside() != 0 || l.clients.Inside() != 0 {
		t.Errorf("%d strangers and %d clients are counted when nobody is left", l.strangers.Inside(), l.clients.Inside())
	}
}

// A81: while few places are left, a program that says nothing keeps its own for ten
// seconds, and who comes then is served; otherwise it has five minutes.
func TestIdlePrograms(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := options(&memQueue{})
		o.Programs = 8
		s := New(o)
		uid := 71000
		s.userOf = func(net.Conn) (int, error) { return uid, nil }
		l := servePipes(t, s, Local)
		var idle []*talker
		come := func(n int) {
			for range n {
				uid++
				c, r := l.connect(t, "127.0.0.1:1")
				if r.Code != 220 {
					t.Fatalf("uid %d: %v", uid, r)
				}
				idle = append(idle, c)
			}
		}
		come(5)
		time.Sleep(time.Minute) // nobody waits for these
		if r := idle[0].do("NOOP"); r.Code != 250 {
			t.Errorf("after a minute, with places left: %v", r)
		}
		come(3)
		if _, r := l.connect(t, "127.0.0.1:1"); r.Code != 421 {
			t.Errorf("one too many: %v, want 421", r)
		}
		begun := time.Now()
		ended := make(chan smtp.Reply)
		for _, c := range idle {
			go func() { ended <- c.read() }()
		}
		for range 3 {
			if r := <-ended; r.Code != 421 || r.Status != "4.4.2" {
				t.Errorf("one that was silent: %v, want 421 4.4.2", r)
			}
		}
		if waited := time.Since(begun); waited > 2*idleWait {
			t.Errorf("three places are free after %v", waited)
		}
		synctest.Wait()
		come(1)
		for _, c := range idle {
			c.conn.Close()
		}
		for range 5 {
			<-ended
		}
	})
}

// A81: the same for a client who sends commands and never reads what is said to
// them.
func TestUnread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := options(&memQueue{})
		o.Clients = 1
		l := servePipes(t, New(o), Relay)
		c, _ := l.connect(t, strangerAddr)
		c.send("EHLO x\r\n") // the pipe takes nothing of the reply
		time.Sleep(idleWait)
		synctest.Wait()
		if _, r := l.connect(t, "192.0.2.9:1"); r.Code != 220 {
			t.Errorf("another one: %v", r)
		}
	})
}
