//go:build e2e

package flow

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"postoffice/internal/e2e/lan"
)

// onQueue runs `postoffice queue` as the site's owner and returns what it printed
// and its exit code.
func onQueue(s *lan.Site, args ...string) (out string, code int) {
	s.T.Helper()
	return onQueueAs(s, s.User, args...)
}

// onQueueAs is onQueue for another account; "" is root.
func onQueueAs(s *lan.Site, user string, args ...string) (out string, code int) {
	s.T.Helper()
	args = append([]string{lan.Binary, "queue", "-C", s.Config}, args...)
	cmd := s.Command(s.T.Context(), args...)
	if user != "" {
		cmd = s.As(s.T.Context(), user, args...)
	}
	b, err := cmd.CombinedOutput()
	if e := (*exec.ExitError)(nil); errors.As(err, &e) {
		return string(b), e.ExitCode()
	} else if err != nil {
		s.T.Fatalf("queue %v: %v\n%s", args, err, b)
	}
	return string(b), 0
}

// wantQueue is onQueue with an expected exit code and text.
func wantQueue(s *lan.Site, code int, text string, args ...string) string {
	s.T.Helper()
	out, got := onQueue(s, args...)
	if got != code || !strings.Contains(out, text) {
		s.T.Errorf("queue %v: exit %d, printed\n%s\nwant exit %d and %q", args, got, out, code, text)
	}
	return out
}

// queued sends a message and returns its ID.
func queued(s *lan.Site, letter, from, to string) string {
	s.T.Helper()
	if out, err := s.TryApplet(letter, "sendmail", "-i", "-f", from, to); err != nil {
		s.T.Fatalf("sendmail: %v\n%s", err, out)
	}
	id := ""
	lan.Until(s.T, 20*time.Second, "the message to "+to+" was tried", func() bool {
		out, _ := onQueue(s, "list", "--json", "--to", to, "--reason", "*refused*")
		var m struct{ ID string }
		err := json.Unmarshal([]byte(out), &m)
		id = m.ID
		return err == nil && id != ""
	})
	return id
}

// octets is a message with octets of every value that a message may have.
func octets() string {
	var b bytes.Buffer
	b.WriteString("Subject: all octets\n\n.\n..\nFrom here\n")
	for c := 1; c < 256; c++ {
		if c != '\r' && c != '\n' {
			b.WriteByte(byte(c))
		}
	}
	b.WriteString("\n" + strings.Repeat("long enough for several pieces\n", 5_000))
	return b.String()
}

// TestQueue does everything to queued messages, in both modes, with and without
// a server. The next server refuses connections until one is there.
func TestQueue(t *testing.T) {
	for _, mode := range lan.Modes {
		for _, served := range []bool{true, false} {
			name := mode.Name + ", no server"
			if served {
				name = mode.Name + ", served"
			}
			t.Run(name, func(t *testing.T) {
				l := lan.New(t)
				l.DNS("one.test. IN A 10.77.0.2", "two.test. IN A 10.77.0.3")
				s := mode.Install(l.Host("one.test"), "relay-host=[10.77.0.3]:2525")
				l.Host("two.test")
				if served {
					s.Serve()
				}
				checkQueue(t, s, served)
			})
		}
	}
}

func checkQueue(t *testing.T, s *lan.Site, served bool) {
	owner := "alice"
	wantQueue(s, 0, "Mail queue is empty.", "list")
	text := octets()
	first := queued(s, text, owner, "b@two.test")
	second := queued(s, "Subject: second\n\n", owner, "c@three.test")

	wantQueue(s, 0, "c@three.test", "list", "--host", "three.*")
	wantQueue(s, 0, first, "list", "--json", "--host", "10.77.0.3", "--to", "B@*", "--from", owner+"*")
	wantQueue(s, 0, "Mail queue is empty.", "list", "--older", "1h")
	wantQueue(s, 0, "attempt 1 was made with [10.77.0.3]:2525", "show", first)
	out := wantQueue(s, 0, "", "cat", first)
	if raw, _ := strings.CutPrefix(text, "Subject: all octets\n"); !strings.HasSuffix(out, raw) || !strings.HasPrefix(out, "Received: ") {
		t.Errorf("cat gives %d octets, not those that were sent", len(out))
	}
	wantQueue(s, 69, `no message "HOH41WQIF40R65" in the queue`, "remove", "HOH41WQIF40R65")

	for _, args := range [][]string{{"sendmail", "-bp"}, {"mailq", "--json"}, {"mailq", second}} {
		if out := s.Applet(args[0], args[1:]...); !strings.Contains(out, second) {
			t.Errorf("%v doesn't show %s:\n%s", args, second, out)
		}
	}
	checkStrangers(t, s, first, served)

	wantQueue(s, 0, first+": would be held\n", "hold", "-n", "--to", "b@*")
	wantQueue(s, 0, first+": held\n", "hold", "--to", "b@*", "--reason", "looks odd")
	wantQueue(s, 0, "(held: looks odd)", "list", "--reason", "looks*")
	wantQueue(s, 69, "it is held; release puts it back", "retry", "-n", first)
	wantQueue(s, 0, first+": released\n", "release", first)
	wantQueue(s, 69, "it is not held", "release", first)
	tried := func() int { out, _ := onQueue(s, "show", first); return strings.Count(out, " was made with ") }
	if served {
		lan.Until(t, 20*time.Second, "the released message was tried", func() bool { return tried() >= 2 })
		wantQueue(s, 0, first+": to be tried now\n", "retry", first)
		lan.Until(t, 20*time.Second, "it was tried once more", func() bool { return tried() >= 3 })
	} else {
		before := tried()
		wantQueue(s, 0, first+": tried\n", "retry", first)
		if now := tried(); now != before+1 {
			t.Errorf("retry made %d attempts, want one", now-before)
		}
	}

	if served {
		checkInFlight(t, s, owner)
	}

	wantQueue(s, 0, `{"id":"`+second+`","action":"remove","ok":true,"code":0}`, "remove", "--json", second)
	wantQueue(s, 0, first+": returned\n", "bounce", first)
	if !served {
		s.Applet("runq")
	}
	lan.Until(t, 20*time.Second, "the sender has the report", func() bool {
		return lan.Contains(s.Mailbox(owner), "returned by an administrator")
	})
	s.Drained(20 * time.Second)
	for _, dir := range []string{"queue", "hold", "corrupt"} {
		if left, err := os.ReadDir(filepath.Join(s.Path("queue"), dir)); err != nil || len(left) > 0 {
			t.Errorf("left in %s: %v, %v", dir, left, err)
		}
	}
}

// checkStrangers: who is neither root nor the owner may look, through a server,
// and change nothing.
func checkStrangers(t *testing.T, s *lan.Site, id string, served bool) {
	t.Helper()
	conf, err := os.ReadFile(s.Config)
	if err != nil {
		t.Fatal(err)
	}
	theirs := *s
	theirs.Config = s.Path("root.cf") // nobody reads another's
	lan.WriteFile(t, theirs.Config, string(conf))
	looking := 69
	if served {
		looking = 0
	}
	for _, tt := range []struct {
		code int
		args []string
	}{
		{looking, []string{"list"}}, {looking, []string{"show", id}},
		{77, []string{"cat", id}}, {77, []string{"hold", id}}, {77, []string{"release", id}}, {77, []string{"retry", id}},
		{77, []string{"bounce", id}}, {77, []string{"remove", id}},
	} {
		if out, code := onQueueAs(&theirs, "bob", tt.args...); code != tt.code || code != 0 && strings.Contains(out, "From here") {
			t.Errorf("bob: queue %v: exit %d, printed\n%s\nwant exit %d", tt.args, code, out, tt.code)
		}
	}
	wantQueue(s, 0, id, "list")
}

// checkInFlight: a message that is being delivered is waited for: it is in the
// mailbox once, and gone when its removal is looked at.
func checkInFlight(t *testing.T, s *lan.Site, user string) {
	t.Helper()
	lock := s.Mailbox(user) + ".lock"
	lan.WriteFile(t, lock, "")
	if out, err := s.TryApplet("Subject: in flight\n\n", "sendmail", user); err != nil {
		t.Fatalf("sendmail: %v\n%s", err, out)
	}
	var m struct{ ID string }
	out, _ := onQueue(s, "list", "--json", "--to", user+"*")
	if err := json.Unmarshal([]byte(out), &m); err != nil {
		t.Fatalf("list: %v\n%s", err, out)
	}
	file, err := os.Open(filepath.Join(s.Path("queue"), "queue", m.ID))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	lan.Until(t, 20*time.Second, "the message is in flight", func() bool {
		err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			err = syscall.Flock(int(file.Fd()), syscall.LOCK_UN)
		}
		return errors.Is(err, syscall.EWOULDBLOCK)
	})
	ended := make(chan int)
	go func() {
		_, code := onQueue(s, "remove", m.ID)
		ended <- code
	}()
	if err := os.Remove(lock); err != nil {
		t.Error(err)
	}
	if code := <-ended; code != 69 {
		t.Errorf("remove of what was in flight: exit %d, want 69: it is delivered", code)
	}
	raw, err := os.ReadFile(s.Mailbox(user))
	if n := strings.Count(string(raw), "Subject: in flight\n"); err != nil || n != 1 {
		t.Errorf("%d copies in the mailbox, %v, want one", n, err)
	}
}
