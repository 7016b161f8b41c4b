//go:build e2e

package e2e

import (
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"postoffice/internal/testenv"
)

// btrfs mounts a btrfs of its own on a directory until the test ends. It copies
// on write, so that even an octet that is overwritten needs room; and it is the
// file system whose quota every kernel has that can mount it.
func (h *host) btrfs(dir string, mode os.FileMode, uid, gid int) {
	h.t.Helper()
	image := dir + ".img"
	sh(h.t, "truncate", "-s", "128M", image)
	sh(h.t, "mkfs.btrfs", "-q", "-f", image)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		h.t.Fatal(err)
	}
	sh(h.t, "mount", "-o", "loop", image, dir)
	h.t.Cleanup(func() { exec.Command("umount", "-l", dir).Run() })
	os.Chown(dir, uid, gid)
	os.Chmod(dir, mode)
}

// quota limits what a btrfs holds.
func (h *host) quota(dir, size string) {
	h.t.Helper()
	sh(h.t, "btrfs", "quota", "enable", dir)
	sh(h.t, "btrfs", "quota", "rescan", "-w", dir)
	sh(h.t, "btrfs", "qgroup", "limit", size, "0/5", dir)
}

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
	s.btrfs(s.path("queue"), 0o700, 901, 901)
	s.quota(s.path("queue"), "3M")
	fillAndEmpty(t, s, two, sink, func() func() { return func() { s.quota(s.path("queue"), "none") } })
}

// TestSpoolFullOnBtrfs does it on a btrfs that is full to its last block.
func TestSpoolFullOnBtrfs(t *testing.T) {
	if untested(t) {
		return
	}
	s, two, sink := fullLAN(t)
	s.btrfs(s.path("queue"), 0o700, 901, 901)
	fillAndEmpty(t, s, two, sink, func() func() {
		var all []func()
		for range 3 { // what is written finds its place, or none, with a sync
			all = append(all, s.fill(s.path("queue")))
			sh(t, "sync", "-f", s.path("queue"))
		}
		return func() {
			for _, room := range all {
				room()
			}
		}
	})
}

// fillAndEmpty queues mail, takes all room, submits more, and delivers.
func fillAndEmpty(t *testing.T, s *site, two *host, sink *testenv.Sink, full func() (room func())) {
	s.applet("runq") // makes the queue and its ballast
	k := newKeeper(s, two)
	s.configure("listen="+s.IP+":25", "queue-only", "trusted=10.77.0.2", "minfree=0")
	k.up()
	l := newLedger()
	to := []string{"alice@one.test", "bob@one.test", "x@two.test"}
	for i := range 9 {
		if err := k.send(l, newLetter(to[i%len(to)], 20<<10)); err != nil {
			t.Fatalf("with room: %v", err)
		}
	}
	if _, err := os.Stat(s.path("queue", "ballast")); err != nil {
		t.Fatal(err)
	}
	room := full()
	refused := 0
	for i := 0; refused < 10; i++ { // smaller ones may fit when a large one doesn't
		err := k.send(l, newLetter(to[i%len(to)], 100<<10>>refused))
		if err == nil {
			continue
		}
		refused++
		if !strings.HasPrefix(err.Error(), "refused: 452 ") {
			t.Errorf("no room: %v, want 452", err)
		}
		if got, want := s.files("queue"), len(l.snapshot()); s.files("tmp") != 0 || got != want {
			t.Fatalf("after a refusal: %d files in tmp/, want 0; %d in queue/, want %d", s.files("tmp"), got, want)
		}
	}
	if code, words := k.sendmail(l, "bob", newLetter("alice@one.test", 100<<10)); code != 0 && (code != 75 || words == "") {
		t.Errorf("sendmail without room: exit code %d, said %q, want 75 and why", code, words)
	}
	waiting := s.files("queue")
	k.end()
	s.configure("listen="+s.IP+":25", "trusted=10.77.0.2", "minfree=0")
	k.up()
	t.Cleanup(func() {
		if t.Failed() {
			out, _ := exec.Command("grep", "-v", " info: ", s.log).Output() // none is no error
			t.Logf("what is no info in the log:\n%s\n%s", out, s.applet("mailq"))
		}
	})
	s.drained(30 * time.Second)
	_, err := os.Stat(s.path("queue", "ballast"))
	t.Logf("%d messages were recorded as delivered and removed; the ballast was given up: %v", waiting, err != nil)
	s.roomAgain(k, l, sink, room)
}

// TestMailboxQuota has a mailbox reach a quota while the spool has room: it
// keeps its length to the octet, the message waits, others are not held up, and it
// is delivered once when more is allowed (A45).
func TestMailboxQuota(t *testing.T) {
	if untested(t) {
		return
	}
	s, two, _ := fullLAN(t)
	s.btrfs(s.mail, 0o775|os.ModeSetgid, 0, 8)
	s.quota(s.mail, "1M")
	k := newKeeper(s, two)
	k.up()
	l := newLedger()
	for !contains(s.log, "status=deferred") {
		if len(l.snapshot()) > 40 {
			t.Fatal("the quota never ends")
		}
		n := len(l.snapshot())
		if err := k.send(l, newLetter("alice@one.test", 200<<10)); err != nil {
			t.Fatal(err)
		}
		until(t, 20*time.Second, "it is delivered or not", func() bool {
			log, _ := os.ReadFile(s.log)
			return strings.Count(string(log), "status=sent")+strings.Count(string(log), "status=deferred") > n
		})
	}
	boxes := s.mailboxes()
	for _, d := range boxes["alice"] {
		if !d.whole {
			t.Errorf("octets %d to %d of the mailbox are a torn message", d.from, d.to)
		}
	}
	st, err := os.Stat(s.mailbox("alice"))
	if err != nil {
		t.Fatal(err)
	}
	if all := boxes["alice"]; len(all) == 0 || all[len(all)-1].to != st.Size() {
		t.Errorf("mailbox of %d octets: want it to end with its last whole message", st.Size())
	}
	k.end()
	s.quota(s.mail, "none")
	s.recovered()
	l.outcome(t, l.snapshot(), 0, s.mailboxes(), nil)
}
