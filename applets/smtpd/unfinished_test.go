package smtpd

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"postoffice/internal/smtp"
)

const mebi = 1 << 20

// tight returns a queue on a disk with so many MiB.
func tight(mebibytes int64) *memQueue {
	q := &memQueue{}
	q.spare = func() int64 {
		q.mu.Lock()
		defer q.mu.Unlock()
		return mebibytes*mebi - q.kept
	}
	return q
}

// lines are n MiB of a message.
func lines(n int) string { return strings.Repeat(strings.Repeat("x", 62)+"\r\n", n*mebi/64) }

// A35: what one stranger has begun to send leaves room for others, also while it
// is not ended, and is free again when it is.
func TestUnfinishedShares(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := tight(64)
		s := New(options(q))
		const one = "192.0.2.7:4000"
		hog := dialFrom(t, s, Relay, one)
		hog.envelope("s@x.example", "alice@us.example")
		hog.send(lines(15))
		second := dialFrom(t, s, Relay, one)
		second.envelope("s@x.example", "alice@us.example")
		go second.send(lines(15) + ".\r\n")
		if r := second.read(); r.Code != 452 || r.Status != "4.3.1" {
			t.Errorf("a second one of one network: %v, want 452 4.3.1", r)
		}
		synctest.Wait()
		if used := 64*mebi - q.spare(); used > 17*mebi {
			t.Errorf("one network holds %d octets, want a quarter of 64 MiB", used)
		}
		for i := range 3 {
			c := dialFrom(t, s, Relay, fmt.Sprintf("198.51.100.%d:4000", i+1))
			c.envelope("s@x.example", "alice@us.example")
			go c.send(lines(4) + ".\r\n")
			if r := c.read(); r.Code != 250 {
				t.Errorf("another one's: %v, want 250", r)
			}
		}
		go hog.send(".\r\n")
		if r := hog.read(); r.Code != 250 {
			t.Errorf("the first one: %v, want 250", r)
		}
		synctest.Wait()
		if octets, networks, _ := s.places.Unfinished.Held(); octets != 0 || networks != 0 {
			t.Errorf("%d octets of %d networks are counted when nothing comes", octets, networks)
		}
	})
}

// A35: the room is looked at again as a message comes, also a program's.
func TestRoomLookedAtAgain(t *testing.T) {
	for _, k := range []Kind{Relay, Local} {
		q := &memQueue{}
		c := dialFrom(t, New(options(q)), k, strangerAddr)
		c.envelope("s@x.example", "alice@us.example")
		q.mu.Lock()
		q.room = fmt.Errorf("full")
		q.mu.Unlock()
		go c.send(lines(1) + ".\r\n")
		if r := c.read(); r.Code != 452 {
			t.Errorf("kind %v: %v, want 452", k, r)
		}
	}
}

// A35: a stranger who sends 58 MiB to a spool of 64 and then 100 octets every five
// seconds is told within ten seconds that there is no room; others' mail is taken
// before, meanwhile and afterwards.
func TestNoRoomAndSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(options(tight(64)))
		n := 0
		take := func() {
			n++
			c := dialFrom(t, s, Relay, fmt.Sprintf("198.51.100.%d:4000", n))
			c.envelope("s@x.example", "alice@us.example")
			go c.send(lines(1) + ".\r\n")
			if r := c.read(); r.Code != 250 {
				t.Errorf("another one's message %d: %v, want 250", n, r)
			}
		}
		take()
		c := dial(t, s)
		c.envelope("s@x.example", "alice@us.example")
		last := make(chan smtp.Reply, 1)
		go func() { last <- c.read() }()
		c.send(lines(58))
		begun := time.Now()
		for done := false; !done && time.Since(begun) < time.Minute; {
			take()
			time.Sleep(5 * time.Second)
			c.conn.SetWriteDeadline(time.Now().Add(time.Second))
			fmt.Fprint(c.conn, strings.Repeat("y", 98)+"\r\n")
			select {
			case r := <-last:
				done = true
				if r.Code != 421 || r.Status != "4.3.1" {
					t.Errorf("the stranger hears %v, want 421 4.3.1", r)
				}
			default:
			}
		}
		if took := time.Since(begun); took > lostWait+5*time.Second {
			t.Errorf("the stranger is told after %v, want %v", took, lostWait)
		}
		take()
	})
}

// A35: who has sent much at once gets no credit for that: what is held comes on
// at a MiB in ten minutes.
func TestHeldSlowly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := &memQueue{}
		c := dial(t, New(options(q)))
		c.envelope("s@x.example", "alice@us.example")
		c.send(lines(8))
		c.conn.SetReadDeadline(time.Time{})
		go io.Copy(io.Discard, c.conn) // its last words
		begun := time.Now()
		for time.Since(begun) < 11*time.Minute && q.unfinished() > 0 {
			time.Sleep(5 * time.Second)
			c.conn.SetWriteDeadline(time.Now().Add(time.Second))
			fmt.Fprint(c.conn, strings.Repeat("y", 98)+"\r\n")
			synctest.Wait()
		}
		if q.unfinished() > 0 {
			t.Error("100 octets in five seconds hold 8 MiB for more than eleven minutes")
		}
		if held := time.Since(begun); held < 9*time.Minute {
			t.Errorf("ended after %v", held)
		}
	})
}

// A35, A81: a user of this machine who holds messages back leaves as much room as they
// have, and so do all by TCP together; others' and root's are taken meanwhile.
func TestUnfinishedOfPrograms(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := options(tight(64))
		o.Trusted = func(netip.Addr) (local, trusted bool) { return true, true }
		s := New(o)
		uid := 1001
		s.userOf = func(net.Conn) (int, error) { return uid, nil }
		begin := func(k Kind, mebibytes int) *talker {
			c := dialFrom(t, s, k, "127.0.0.1:4000")
			c.envelope("s@x.example", "alice@us.example")
			c.send(lines(mebibytes))
			return c
		}
		end := func(c *talker, want int) {
			t.Helper()
			go c.send(".\r\n")
			if r := c.read(); r.Code != want {
				t.Errorf("uid %d: %v, want %d", uid, r, want)
			}
		}
		hog := begin(Local, 31)
		end(begin(Local, 3), 452)
		uid = 1002
		end(begin(Local, 12), 250)
		byTCP := begin(Relay, 10) // 11 MiB are free
		end(begin(Relay, 2), 452)
		uid = 0
		end(begin(Local, 5), 250)
		end(byTCP, 250)
		end(hog, 250)
		synctest.Wait()
		if octets, _, users := s.places.Unfinished.Held(); octets != 0 || users != 0 {
			t.Errorf("%d octets of strangers' and those of %d users are counted when nothing comes", octets, users)
		}
	})
}

// A35: what was left in maildrop/ has its room already: it is not counted.
func TestUnfinishedOfMaildrop(t *testing.T) {
	s := &session{server: &Server{}, o: &Options{}}
	for _, c := range []Client{{Kind: Local, UID: 1001, Absent: true}, {Kind: Local, UID: 0}} {
		if s.client = c; s.holderOf() != (holder{}) {
			t.Errorf("%+v is counted for %+v", c, s.holderOf())
		}
	}
}
