//go:build e2e

package memory

import (
	"strings"
	"testing"
	"time"

	"postoffice/internal/e2e/lan"
)

const (
	idleTree    = 40 << 10 // KiB of all processes of an idle server together
	idleSession = 12 << 10 // octets of one idle connection
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
// EHLO and go through a transaction up to RCPT and back, and weighs the server
// while they wait. Kernel memory, socket buffers for one, isn't in it.
func TestIdleMemoryOfSessions(t *testing.T) {
	const sessions = 2000
	l := lan.New(t)
	one, two := l.Host("one.test"), l.Host("two.test")
	s := one.Install("clients=3000")
	s.Serve()
	if err := letters(two, one.IP+":25", 1); err != nil {
		t.Fatal(err)
	}
	s.Drained(time.Minute)
	before, _ := one.PSS()
	for range sessions {
		conn, err := two.Dial(one.IP + ":25")
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if err := lan.Idle(conn, "alice@one.test"); err != nil {
			t.Fatal(err)
		}
	}
	after, each := one.PSS()
	per := (after - before) << 10 / sessions
	t.Logf("%d idle sessions: %d KiB before, %d with them (%s ): %d octets each", sessions, before, after, each, per)
	if per > idleSession {
		t.Errorf("an idle session takes %d octets, at most %d are allowed", per, idleSession)
	}
}
