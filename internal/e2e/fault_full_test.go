//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"postoffice/internal/testenv"
)

// tmpfs mounts a small file system on a directory until the test ends.
func (h *host) tmpfs(dir, options string) {
	h.t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		h.t.Fatal(err)
	}
	sh(h.t, "mount", "-t", "tmpfs", "-o", options, "tmpfs", dir)
	h.t.Cleanup(func() { exec.Command("umount", "-l", dir).Run() })
}

// fill fills the file system of dir to the last octet and returns what makes
// room again.
func (h *host) fill(dir string) (room func()) {
	h.t.Helper()
	name := filepath.Join(dir, "filler")
	f, err := os.Create(name)
	if err != nil {
		h.t.Fatal(err)
	}
	defer f.Close()
	for size := 1 << 16; size > 0; size /= 2 {
		for err = nil; err == nil; {
			_, err = f.Write(make([]byte, size))
		}
		if !errors.Is(err, syscall.ENOSPC) {
			h.t.Fatal(err)
		}
	}
	return func() { os.Remove(name) }
}

const spoolOwner = "mode=700,uid=901,gid=901"

// fullLAN is a site, the next host and its sink.
func fullLAN(t *testing.T, settings ...string) (s *site, two *host, sink *testenv.Sink) {
	l := newLAN(t)
	l.dns("one.test. IN A 10.77.0.3", "one.test. IN MX 10 one.test.", "two.test. IN A 10.77.0.2", "two.test. IN MX 10 two.test.")
	two = l.host("two.test")
	sink = &testenv.Sink{}
	go sink.Serve(two.listen("25"))
	t.Cleanup(sink.Close)
	return l.host("one.test").install(append(settings, "trusted=10.77.0.2", "minfree=0")...), two, sink
}

// send sends one letter over SMTP in a session of its own and notes what was said.
func (k *keeper) send(l *ledger, x letter) error {
	k.t.Helper()
	conn, err := k.from.dial(net.JoinHostPort(k.IP, k.port))
	if err != nil {
		k.t.Fatal(err)
	}
	defer conn.Close()
	d, err := newDialogue(conn, "writer.two.test")
	if err != nil {
		k.t.Fatal(err)
	}
	l.begin(x)
	err = d.send("writer@two.test", x.to, x.text)
	l.end(x, err)
	d.quit()
	return err
}

// sendmail submits one letter as user and returns the exit code.
func (k *keeper) sendmail(l *ledger, user string, x letter, prefix ...string) (code int, words string) {
	k.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := k.as(ctx, user, append(prefix, applet("sendmail"), "-C", k.cf, "-i", "-f", "writer@two.test", x.to)...)
	cmd.Stdin = strings.NewReader(x.text)
	l.begin(x)
	out, err := cmd.CombinedOutput()
	l.end(x, err)
	return cmd.ProcessState.ExitCode(), string(out)
}

// files counts what is in a directory of the spool.
func (s *site) files(dir string) int { return len(readDir(s.t, s.path("queue", dir))) }

// TestSpoolFull fills the spool to its last octet or inode: what finds no room
// gets 452 or exit code 75 and leaves nothing; what was accepted is delivered
// once, recorded and removed although there is no room for anything (A29, A31,
// A35).
func TestSpoolFull(t *testing.T) {
	sizes := []string{"size=1m", "size=4m,nr_inodes=40"}
	if *faults == "long" {
		sizes = append(sizes, "size=2m", "size=16m", "size=64m", "size=64m,nr_inodes=2000")
	}
	for _, size := range sizes {
		t.Run(size, func(t *testing.T) { spoolFull(t, size) })
	}
}

func spoolFull(t *testing.T, size string) {
	s, two, sink := fullLAN(t)
	s.tmpfs(s.path("queue"), size+","+spoolOwner)
	k := newKeeper(s, two)
	s.configure("listen="+s.IP+":25", "queue-only", "trusted=10.77.0.2", "minfree=0")
	k.up()
	l := newLedger()
	to := []string{"alice@one.test", "bob@one.test", "x@two.test"}
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
	room := func() {}
	if !strings.Contains(size, "nr_inodes") {
		room = s.fill(s.path("queue"))
	}
	if code, words := k.sendmail(l, "bob", newLetter("alice@one.test", 100)); code != 75 || words == "" {
		t.Errorf("sendmail without room: exit code %d, said %q, want 75 and why", code, words)
	}
	k.end()
	s.configure("listen="+s.IP+":25", "trusted=10.77.0.2", "minfree=0")
	k.up()
	s.drained(30 * time.Second)
	s.roomAgain(k, l, sink, room)
}

// roomAgain makes room, after which a letter is taken again, and holds what was
// delivered against what was acknowledged.
func (s *site) roomAgain(k *keeper, l *ledger, sink *testenv.Sink, room func()) {
	s.t.Helper()
	room()
	if err := k.send(l, newLetter("alice@one.test", 1000)); err != nil {
		s.t.Errorf("there is room again: %v", err)
	}
	s.drained(30 * time.Second)
	k.end()
	s.recovered()
	l.outcome(s.t, l.snapshot(), 0, s.mailboxes(), map[string][]delivery{"sink": readSink(sink)})
}

// TestNoRoomForBounce has the next host refuse a message while the spool is full:
// the report finds no room, so nothing is recorded and nothing lost; when there
// is room, the sender gets one report (R32, A31).
func TestNoRoomForBounce(t *testing.T) {
	s, two, sink := fullLAN(t)
	sink.Answer = func(ev testenv.Event) testenv.Action {
		if ev.Verb == "RCPT" {
			return testenv.Action{Reply: "550 5.1.1 nobody of this name"}
		}
		return testenv.Action{}
	}
	s.tmpfs(s.path("queue"), "size=3m,"+spoolOwner)
	s.configure("listen="+s.IP+":25", "queue-only", "trusted=10.77.0.2", "minfree=0")
	k := newKeeper(s, two)
	k.up()
	if out, err := s.tryApplet("Subject: refused\n\nhello\n", "sendmail", "-f", "alice@one.test", "x@two.test"); err != nil {
		t.Fatalf("sendmail: %v\n%s", err, out)
	}
	k.end()
	room := s.fill(s.path("queue"))
	s.applet("runq")
	s.gone(30 * time.Second)
	if left := s.files("queue"); left != 1 || len(readMailbox(t, s.mailbox("alice"))) != 0 {
		t.Errorf("without room for the report: %d messages in the queue, want 1, and alice has %d", left, len(readMailbox(t, s.mailbox("alice"))))
	}
	room()
	for range 2 {
		s.applet("runq")
		s.gone(30 * time.Second)
	}
	got := readMailbox(t, s.mailbox("alice"))
	if len(got) != 1 || !got[0].bounce || s.explained() != 0 {
		t.Errorf("with room: alice has %v and %d messages are left, want one report and none", got, s.files("queue"))
	}
}

// TestMailboxFull has no room, or no inode, for a mailbox while the spool has
// enough: the mailbox keeps its length to the octet, the message waits, and it is
// delivered once when there is room (A45).
func TestMailboxFull(t *testing.T) {
	s, two, _ := fullLAN(t)
	const room = "nr_inodes=5,mode=2775,gid=8"
	s.tmpfs(s.mail, "size=64k,"+room)
	old := "From old@two.test Thu Jan  1 00:00:00 2026\nSubject: old\n\nold\n\n"
	if err := os.WriteFile(s.mailbox("alice"), []byte(old), 0o660); err != nil {
		t.Fatal(err)
	}
	os.Chown(s.mailbox("alice"), 2001, 8)
	k := newKeeper(s, two)
	k.up()
	l := newLedger()
	large := newLetter("alice@one.test", 1)
	large.text = strings.Replace(large.text, "\n\n", "\nX-Pad: "+strings.Repeat(strings.Repeat("x", 70)+"\n\t", 1500)+"\n\n", 1)
	if err := k.send(l, large); err != nil {
		t.Fatal(err)
	}
	until(t, 20*time.Second, "the delivery is deferred", func() bool { return contains(s.log, "status=deferred") })
	if got, err := os.ReadFile(s.mailbox("alice")); err != nil || string(got) != old {
		t.Errorf("mailbox of %d octets has %d now (%v), want the same ones", len(old), len(got), err)
	}
	for _, to := range []string{"bob@one.test", "carol@one.test"} { // of five inodes alice and her lock had two, the root one
		if err := k.send(l, newLetter(to, 50)); err != nil {
			t.Fatal(err)
		}
	}
	inodes := func() { // takes all inodes that are left
		for i := 0; ; i++ {
			if err := os.WriteFile(filepath.Join(s.mail, fmt.Sprint("inode", i)), nil, 0o600); err != nil {
				return
			}
		}
	}
	s.delivered(l, 2)
	inodes()
	third := newLetter("nobody@one.test", 50)
	if err := k.send(l, third); err != nil {
		t.Fatal(err)
	}
	until(t, 20*time.Second, "the mailbox without an inode is deferred", func() bool {
		log, _ := os.ReadFile(s.log)
		return bytes.Contains(log, []byte("to=<nobody@one.test> relay=local")) && bytes.Contains(log, []byte("status=deferred"))
	})
	k.end()
	spare, _ := filepath.Glob(filepath.Join(s.mail, "inode*"))
	for _, name := range spare {
		os.Remove(name)
	}
	sh(t, "mount", "-o", "remount,size=4m,nr_inodes=50", s.mail)
	s.recovered()
	places := s.mailboxes()
	places["alice"] = places["alice"][1:] // the old message
	l.outcome(t, l.snapshot(), 0, places, nil)
}

// delivered waits until n letters are in mailboxes.
func (s *site) delivered(l *ledger, n int) {
	s.t.Helper()
	until(s.t, 20*time.Second, fmt.Sprint(n, " letters are delivered"), func() bool {
		got := 0
		for _, u := range people {
			for _, d := range readMailbox(s.t, s.mailbox(u.Name)) {
				if d.whole && l.known(d.token) {
					got++
				}
			}
		}
		return got >= n
	})
}

// TestFileSizeLimit runs the tree with RLIMIT_FSIZE: a message or a mailbox that
// would pass it meets EFBIG, never a signal; the message is refused for now, the
// mailbox keeps its length (A45), and smaller mail goes on. sendmail's own limit
// is of no matter (A68).
func TestFileSizeLimit(t *testing.T) {
	s, two, _ := fullLAN(t)
	old := "From old@two.test Thu Jan  1 00:00:00 2026\nSubject: old\n\n" + strings.Repeat("old\n", 500<<10/4) + "\n"
	if err := os.WriteFile(s.mailbox("alice"), []byte(old), 0o660); err != nil {
		t.Fatal(err)
	}
	os.Chown(s.mailbox("alice"), 2001, 8)
	k := newKeeper(s, two)
	k.prefix = []string{"prlimit", "--fsize=524288", "--"}
	k.up()
	l := newLedger()
	large := newLetter("bob@one.test", 10)
	large.text += strings.Repeat("padding\n", 1<<17)
	if err := k.send(l, large); err == nil || !strings.HasPrefix(err.Error(), "refused: 45") {
		t.Errorf("a message over the limit: %v, want 452 or 451", err)
	}
	if n := s.files("tmp") + s.files("queue"); n != 0 {
		t.Errorf("it left %d files, want none", n)
	}
	grows := newLetter("alice@one.test", 1)
	grows.text = strings.Replace(grows.text, "\n\n", "\nX-Pad: "+strings.Repeat(strings.Repeat("x", 70)+"\n\t", 1500)+"\n\n", 1)
	if err := k.send(l, grows); err != nil {
		t.Fatal(err)
	}
	until(t, 20*time.Second, "the delivery is deferred", func() bool { return contains(s.log, "status=deferred") })
	if st, err := os.Stat(s.mailbox("alice")); err != nil || st.Size() != int64(len(old)) {
		t.Errorf("mailbox of %d octets: %v (%v), want the same length", len(old), st.Size(), err)
	}
	if code, words := k.sendmail(l, "carol", newLetter("bob@one.test", 4000), "prlimit", "--fsize=1024", "--"); code != 0 {
		t.Errorf("sendmail with a limit of its own: exit code %d: %s", code, words)
	}
	s.delivered(l, 1)
	k.end()
	s.recovered()
	places := s.mailboxes()
	places["alice"] = places["alice"][1:]
	l.outcome(t, l.snapshot(), 0, places, nil)
}
