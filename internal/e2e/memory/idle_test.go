//go:build e2e

package memory

import (
	"net"
	"strings"
	"testing"
	"time"

	"postoffice/internal/e2e/lan"
)

const (
	idleTree    = 40 << 10 // KiB of all processes of an idle server together
	liveSession = 10 << 10 // octets of one idle connection that are in use

	// idleSession is what one idle connection may take of a server as we ship it. It
	// lives on some 3 KiB of heap and a stack of 4 KiB. The collector lets the heap grow
	// by what lives in it and the stacks, and one collection halves a stack that was
	// larger: 2·3 + 4 + 2·4 KiB, and the same of what the server had before.
	idleSession = 20 << 10

	// left is what a server that had 2,000 sessions may have more than before when they
	// have gone, in KiB. They took 27 MiB, and Go's runtime keeps 1.6 KiB of each.
	left = 7 << 10
)

// TestIdleMemoryOfTree weighs the root tree when it has delivered its first
// message, and when it has nothing left to do after 1,000 over 20 sessions.
func TestIdleMemoryOfTree(t *testing.T) {
	l := lan.New(t)
	one, two := l.Host("one.test"), l.Host("two.test")
	s := one.Install("clients=50")
	s.Serve()
	if err := letters(two, one.IP+":25", 1); err != nil {
		t.Fatal(err)
	}
	s.Drained(time.Minute)
	fresh, each := one.PSS()
	t.Logf("after 1 message: %d KiB:%s", fresh, each)

	done := make(chan error, 20)
	for range cap(done) {
		go func() {
			done <- letters(two, one.IP+":25", 50)
		}()
	}
	for range cap(done) {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	s.Drained(time.Minute)
	worked, each := one.PSS()
	t.Logf("after 1,000 messages: %d KiB:%s", worked, each)
	if most := max(fresh, worked); most > idleTree {
		t.Errorf("all processes together take %d KiB, at most %d are allowed", most, idleTree)
	}
}

// letters sends n messages of 4 KiB to alice@one.test in one session.
func letters(h *lan.Host, address string, n int) error {
	conn, err := h.Dial(address)
	if err != nil {
		return err
	}
	d, err := lan.NewDialogue(conn, h.Name)
	if err != nil {
		return err
	}
	defer d.Quit()
	message := "Subject: memory\n\n" + strings.Repeat(strings.Repeat("x", 63)+"\n", 64)
	for range n {
		if err := d.Send("x@"+h.Name, "alice@one.test", message); err != nil {
			return err
		}
	}
	return nil
}

// TestIdleMemoryOfSessions opens 2,000 sessions from another host, has each say
// EHLO and go through a transaction up to RCPT and back, and weighs what is no
// file of all processes while they wait. Kernel memory, socket buffers for one,
// isn't in it.
//
// What a server has is what lives and what the collector has not come to, and how
// much that is depends on the moment. So one server collects whenever a tenth has
// been added (GOGC=10): its weight is what lives, within a tenth. It is a user's,
// since the processes of the root tree get no environment. The other one is as we
// ship it.
func TestIdleMemoryOfSessions(t *testing.T) {
	const sessions = 2000
	for _, tt := range []struct {
		name  string
		limit int // octets of one session
		port  string
		start func(h *lan.Host) *lan.Site
	}{
		{"what lives", liveSession, "2525", func(h *lan.Host) *lan.Site {
			s := h.InstallFor(lan.Alice, "clients=3000")
			s.Start(s.As(t.Context(), s.User, "env", "GOGC=10", lan.Applet("smtpd"), "-bD", "-C", s.Config))
			s.Listening("2525")
			return s
		}},
		{"as shipped", idleSession, "25", func(h *lan.Host) *lan.Site {
			s := h.Install("clients=3000")
			s.Serve()
			return s
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := lan.New(t)
			one, two := l.Host("one.test"), l.Host("two.test")
			s := tt.start(one)
			if err := letters(two, one.IP+":"+tt.port, 1); err != nil {
				t.Fatal(err)
			}
			s.Drained(time.Minute)
			before := one.Anon()
			var open []net.Conn
			for range sessions {
				conn, err := two.Dial(one.IP + ":" + tt.port)
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				open = append(open, conn)
				if err := lan.Idle(conn, "alice@one.test"); err != nil {
					t.Fatal(err)
				}
			}
			after := one.Anon()
			per := (after - before) << 10 / sessions
			t.Logf("%d idle sessions: %d KiB before, %d with them: %d octets each", sessions, before, after, per)
			if per > tt.limit {
				t.Errorf("an idle session takes %d octets, at most %d are allowed", per, tt.limit)
			}
			for _, conn := range open {
				conn.Close()
			}
			lan.Until(t, time.Minute, "a server whose clients have gone gives their memory back", func() bool { return one.Anon() <= before+left })
		})
	}
}
