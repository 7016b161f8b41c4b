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

	"postoffice/internal/peer"
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
		if n := q.held.Holders(); n != 0 {
			t.Errorf("something of %d is counted when nothing comes", n)
		}
	})
}

// A35: the room is looked at again as a message comes, also a program's.
func TestRoomLookedAtAgain(t *testing.T) {
	for _, k := range []Kind{Relay, Local} {
		synctest.Test(t, func(t *testing.T) {
			q := &memQueue{}
			c := dialFrom(t, New(options(q)), k, strangerAddr)
			c.envelope("s@x.example", "alice@us.example")
			q.mu.Lock()
			q.room = fmt.Errorf("full")
			q.mu.Unlock()
			time.Sleep(roomAge)
			go c.send(lines(1) + ".\r\n")
			if r := c.read(); r.Code != 452 {
				t.Errorf("kind %v: %v, want 452", k, r)
			}
		})
	}
}

// TestRoomIsLittle: where there is no plenty each look is at the disk.
func TestRoomIsLittle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := tight(64)
		c := dialFrom(t, New(options(q)), Relay, strangerAddr)
		c.envelope("s@x.example", "alice@us.example")
		q.mu.Lock()
		q.room = fmt.Errorf("full")
		q.mu.Unlock()
		go c.send(lines(1) + ".\r\n")
		if r := c.read(); r.Code != 452 {
			t.Errorf("%v, want 452", r)
		}
	})
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
		q := tight(64)
		o := options(q)
		o.Trusted = func(netip.Addr) (local, trusted bool) { return true, true }
		s := New(o)
		uid := 1001
		s.userOf = func(net.Conn) (int, error) { return uid, nil }
		begin := func(k Kind, mebibytes int) *talker {
			c := dialFrom(t, s, k, "127.0.0.1:4000")
			c.envelope("s@x.example", "alice@us.example")
			c.send(lines(mebibytes)[16<<10:]) // its end comes between two looks
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
		if n := q.held.Holders(); n != 0 {
			t.Errorf("something of %d is counted when nothing comes", n)
		}
	})
}

// A81: what a client has in the queue counts with what comes: a user is told how much
// it is and what to do, others go on, and the user too when it is gone. What was left
// in maildrop/ is there already, and takes nothing more.
func TestQueuedShares(t *testing.T) {
	q := tight(60)
	o := options(q)
	s := New(o)
	uid := 1001
	s.userOf = func(net.Conn) (int, error) { return uid, nil }
	queued := peer.Amount{Octets: 30 * mebi, Files: 17}
	user := o.withDefaults().places().Users().Holder(1001)
	q.held.Add(user, queued)
	q.kept = 30 * mebi
	say := func(k Kind, from, command string, want int, words string) {
		t.Helper()
		c := dialFrom(t, s, k, from)
		defer c.conn.Close()
		c.do("EHLO us.example")
		if r := c.do(command); r.Code != want || !strings.Contains(r.Text, words) {
			t.Errorf("uid %d, %s: %v, want %d with %q", uid, command, r, want, words)
		}
	}
	const any, big = "MAIL FROM:<s@x.example>", "MAIL FROM:<s@x.example> SIZE=7340032"
	const words = "17 messages of yours with 30720 KiB wait in the queue, your share of its room: see them with mailq"
	say(Local, strangerAddr, any, 452, words)
	say(Local, strangerAddr, big, 452, words)
	uid = 1002
	say(Local, strangerAddr, big, 250, "")
	say(Local, strangerAddr, "MAIL FROM:<s@x.example> SIZE=20971520", 452, "at most half of the room")
	say(Relay, strangerAddr, any, 250, "")
	say(Relay, strangerAddr, big, 250, "")
	say(Relay, strangerAddr, "MAIL FROM:<s@x.example> SIZE=16777216", 452, "from your network")
	uid = 0
	say(Local, strangerAddr, "MAIL FROM:<s@x.example> SIZE=20971520", 250, "")
	uid = 1001
	q.held.Add(user, peer.Amount{}.Minus(queued))
	say(Local, strangerAddr, big, 250, "")
}

// A81: of many messages that come at once, each too small to be looked at while it
// comes, no more are queued than fit into the share.
func TestSmallOnesCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := tight(1)
		o := options(q)
		user := o.withDefaults().places().Users().Holder(1001)
		s := New(o)
		s.userOf = func(net.Conn) (int, error) { return 1001, nil }
		var all []*talker
		for range 40 {
			c := dialFrom(t, s, Local, strangerAddr)
			c.envelope("s@x.example", "alice@us.example")
			all = append(all, c)
		}
		text := strings.Repeat(strings.Repeat("x", 62)+"\r\n", 20<<10/64)
		queued := int64(0)
		for _, c := range all {
			go c.send(text + ".\r\n")
			r := c.read()
			if synctest.Wait(); r.Code != 250 {
				continue
			}
			queued += int64(len(text))
			q.held.Add(user, peer.Amount{Octets: int64(len(text)), Files: 1}) // as the queue does
		}
		if queued < mebi/2-64<<10 || queued > mebi/2 {
			t.Errorf("%d KiB of a MiB are queued, want half", queued>>10)
		}
	})
}

// A35: what was left in maildrop/ has its room there until it is in the queue.
func TestRoomOfMaildrop(t *testing.T) {
	for _, tt := range []struct {
		uid    int
		absent bool
		size   int64
		ok     bool
	}{{1001, true, 20, true}, {1001, true, 41, false}, {1001, false, 21, false}, {1001, false, 20, true}, {0, false, 40, true}} {
		o := options(tight(40)).withDefaults()
		s := &session{server: &Server{ctx: t.Context()}, o: o, client: Client{Kind: Local, UID: tt.uid, Absent: tt.absent}}
		if err := s.fits(t.Context(), peer.Amount{Octets: tt.size * mebi, Files: 1}); (err == nil) != tt.ok {
			t.Errorf("%+v: %v", tt, err)
		}
		if s.claimOf(&s.share.text, peer.Amount{Octets: mebi}, false); tt.absent && s.o.Queue.Held(t.Context()).Holders() != 0 {
			t.Errorf("%+v is counted as it comes", tt)
		}
	}
}
