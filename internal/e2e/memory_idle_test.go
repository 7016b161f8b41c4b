//go:build e2e

package e2e

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

const (
	idleTree    = 40 << 10 // KiB of all processes of an idle server together
	idleSession = 12 << 10 // octets of one idle connection
)

// pssOf is the proportional share of memory of a process in KiB: its own pages,
// and its part of those that it shares, the binary above all. false: it is gone.
func pssOf(pid int) (int, bool) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		return 0, false
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "Pss:"); ok {
			kb, err := strconv.Atoi(strings.Fields(rest)[0])
			return kb, err == nil
		}
	}
	return 0, false
}

// pss is that of all processes of the binary on the host together, and what
// each has.
func (h *host) pss() (sum int, each string) {
	for pid, name := range h.family() {
		kb, ok := pssOf(pid)
		if !ok {
			continue
		}
		sum += kb
		each += fmt.Sprintf(" %s %d", name[strings.LastIndexByte(name, '/')+1:], kb)
	}
	return sum, each
}

// TestIdleMemoryOfTree weighs the root tree when it has delivered its first
// message, and when it has nothing left to do after 1,000 over 20 sessions.
func TestIdleMemoryOfTree(t *testing.T) {
	l := newLAN(t)
	one, two := l.host("one.test"), l.host("two.test")
	s := one.install("clients=50")
	s.serve()
	if err := two.letters(one.IP+":25", 1); err != nil {
		t.Fatal(err)
	}
	s.drained(time.Minute)
	fresh, each := one.pss()
	t.Logf("after 1 message: %d KiB:%s", fresh, each)

	done := make(chan error, 20)
	for range cap(done) {
		go func() {
			done <- two.letters(one.IP+":25", 50)
		}()
	}
	for range cap(done) {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	s.drained(time.Minute)
	worked, each := one.pss()
	t.Logf("after 1,000 messages: %d KiB:%s", worked, each)
	if most := max(fresh, worked); most > idleTree {
		t.Errorf("all processes together take %d KiB, at most %d are allowed", most, idleTree)
	}
}

// letters sends n messages of 4 KiB to alice@one.test in one session.
func (h *host) letters(address string, n int) error {
	conn, err := h.dial(address)
	if err != nil {
		return err
	}
	d, err := newDialogue(conn, h.Name)
	if err != nil {
		return err
	}
	defer d.quit()
	message := "Subject: memory\n\n" + strings.Repeat(strings.Repeat("x", 63)+"\n", 64)
	for range n {
		if err := d.send("x@"+h.Name, "alice@one.test", message); err != nil {
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
	l := newLAN(t)
	one, two := l.host("one.test"), l.host("two.test")
	s := one.install("clients=3000")
	s.serve()
	if err := two.letters(one.IP+":25", 1); err != nil {
		t.Fatal(err)
	}
	s.drained(time.Minute)
	before, _ := one.pss()
	for range sessions {
		conn, err := two.dial(one.IP + ":25")
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if err := waits(conn, "alice@one.test"); err != nil {
			t.Fatal(err)
		}
	}
	after, each := one.pss()
	per := (after - before) << 10 / sessions
	t.Logf("%d idle sessions: %d KiB before, %d with them (%s ): %d octets each", sessions, before, after, each, per)
	if per > idleSession {
		t.Errorf("an idle session takes %d octets, at most %d are allowed", per, idleSession)
	}
}

// waits leaves a session in the state between two transactions.
func waits(conn net.Conn, to string) error {
	d, err := newDialogue(conn, "two.test")
	if err != nil {
		return err
	}
	for _, line := range []string{"MAIL FROM:<x@two.test>", "RCPT TO:<" + to + ">", "RSET"} {
		if err := d.expect(line, "250"); err != nil {
			return err
		}
	}
	return nil
}
