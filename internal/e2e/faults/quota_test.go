//go:build e2e

package faults

import (
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"postoffice/internal/e2e/lan"
	"postoffice/internal/e2e/letters"
	"postoffice/internal/testenv"
)

// untested says why a test that mounts a btrfs does nothing on this machine.
func untested(t *testing.T) bool {
	why := noLoops("btrfs")
	if why != "" {
		t.Logf("NOT TESTED: this machine can't mount a file: %s", why)
	}
	return why != ""
}

// TestSpoolQuota has the spool reach a quota: what passes it gets 452 or exit
// code 75 and leaves nothing; what was accepted before is delivered once, recorded
// and removed although not one octet more is allowed (A29, A31).
func TestSpoolQuota(t *testing.T) {
	if untested(t) {
		return
	}
	s, two, sink := fullLAN(t)
	s.Btrfs(s.Path("queue"), 0o700, 901, 901)
	s.Quota(s.Path("queue"), "3M")
	fillAndEmpty(t, s, two, sink, func() func() { return func() { s.Quota(s.Path("queue"), "none") } })
}

// TestSpoolFullOnBtrfs does it on a btrfs that is full to its last block.
func TestSpoolFullOnBtrfs(t *testing.T) {
	if untested(t) {
		return
	}
	s, two, sink := fullLAN(t)
	s.Btrfs(s.Path("queue"), 0o700, 901, 901)
	fillAndEmpty(t, s, two, sink, func() func() {
		var all []func()
		for range 3 { // what is written finds its place, or none, with a sync
			all = append(all, s.Fill(s.Path("queue")))
			lan.Sh(t, "sync", "-f", s.Path("queue"))
		}
		return func() {
			for _, room := range all {
				room()
			}
		}
	})
}

// fillAndEmpty queues mail, takes all room, submits more, and delivers.
func fillAndEmpty(t *testing.T, s *lan.Site, two *lan.Host, sink *testenv.Sink, full func() (room func())) {
	s.Applet("runq") // makes the queue and its ballast
	k := newKeeper(s, two)
	s.Configure("listen="+s.IP+":25", "queue-only", "trusted=10.77.0.2", "minfree=0")
	k.up()
	l := letters.NewLedger()
	to := []string{"alice@one.test", "bob@one.test", "x@two.test"}
	for i := range 9 {
		if err := k.send(l, letters.New(to[i%len(to)], 20<<10)); err != nil {
			t.Fatalf("with room: %v", err)
		}
	}
	if _, err := os.Stat(s.Path("queue", "ballast")); err != nil {
		t.Fatal(err)
	}
	room := full()
	sendUntilFull(s, k, l, to)
	if code, words := k.sendmail(l, "bob", letters.New("alice@one.test", 100<<10)); code != 0 && (code != 75 || words == "") {
		t.Errorf("sendmail without room: exit code %d, said %q, want 75 and why", code, words)
	}
	waiting := files(s, "queue")
	k.end()
	s.Configure("listen="+s.IP+":25", "trusted=10.77.0.2", "minfree=0")
	k.up()
	t.Cleanup(func() {
		if t.Failed() {
			out, _ := exec.Command("grep", "-v", " info: ", s.Log).Output() // none is no error
			t.Logf("what is no info in the log:\n%s\n%s", out, s.Applet("mailq"))
		}
	})
	s.Drained(30 * time.Second)
	_, err := os.Stat(s.Path("queue", "ballast"))
	t.Logf("%d messages were recorded as delivered and removed; the ballast was given up: %v", waiting, err != nil)
	roomAgain(s, k, l, sink, room)
}

// TestMailboxQuota has a mailbox reach a quota while the spool has room: it
// keeps its length to the octet, the message waits, others are not held up, and it
// is delivered once when more is allowed (A45).
func TestMailboxQuota(t *testing.T) {
	if untested(t) {
		return
	}
	s, two, _ := fullLAN(t)
	s.Btrfs(s.Mail, 0o775|os.ModeSetgid, 0, 8)
	s.Quota(s.Mail, "1M")
	k := newKeeper(s, two)
	k.up()
	l := letters.NewLedger()
	for !lan.Contains(s.Log, "status=deferred") {
		if len(l.Snapshot()) > 40 {
			t.Fatal("the quota never ends")
		}
		n := len(l.Snapshot())
		if err := k.send(l, letters.New("alice@one.test", 200<<10)); err != nil {
			t.Fatal(err)
		}
		lan.Until(t, 20*time.Second, "it is delivered or not", func() bool {
			log, _ := os.ReadFile(s.Log)
			return strings.Count(string(log), "status=sent")+strings.Count(string(log), "status=deferred") > n
		})
	}
	boxes := mailboxes(s)
	for _, d := range boxes["alice"] {
		if !d.Whole {
			t.Errorf("octets %d to %d of the mailbox are a torn message", d.From, d.To)
		}
	}
	st, err := os.Stat(s.Mailbox("alice"))
	if err != nil {
		t.Fatal(err)
	}
	if all := boxes["alice"]; len(all) == 0 || all[len(all)-1].To != st.Size() {
		t.Errorf("mailbox of %d octets: want it to end with its last whole message", st.Size())
	}
	k.end()
	s.Quota(s.Mail, "none")
	recovered(s)
	l.Outcome(t, l.Snapshot(), 0, mailboxes(s), nil)
}
