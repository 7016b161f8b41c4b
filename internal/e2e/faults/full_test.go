//go:build e2e

package faults

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postoffice/internal/e2e/lan"
	"postoffice/internal/e2e/letters"
	"postoffice/internal/testenv"
)

const spoolOwner = "mode=700,uid=901,gid=901"

// fullLAN is a site, the next host and its sink.
func fullLAN(t *testing.T, settings ...string) (s *lan.Site, two *lan.Host, sink *testenv.Sink) {
	l := lan.New(t)
	l.DNS("one.test. IN A 10.77.0.3", "one.test. IN MX 10 one.test.", "two.test. IN A 10.77.0.2", "two.test. IN MX 10 two.test.")
	two = l.Host("two.test")
	sink = &testenv.Sink{}
	go sink.Serve(two.Listen("25"))
	t.Cleanup(sink.Close)
	return l.Host("one.test").Install(append(settings, "trusted=10.77.0.2", "minfree=0")...), two, sink
}

// send sends one letter over SMTP in a session of its own and notes what was said.
func (k *keeper) send(l *letters.Ledger, x letters.Letter) error {
	k.T.Helper()
	conn, err := k.from.Dial(net.JoinHostPort(k.IP, k.port))
	if err != nil {
		k.T.Fatal(err)
	}
	defer conn.Close()
	d, err := lan.NewDialogue(conn, "writer.two.test")
	if err != nil {
		k.T.Fatal(err)
	}
	l.Begin(x)
	err = d.Send("writer@two.test", x.To, x.Text)
	l.End(x, err)
	d.Quit()
	return err
}

// sendmail submits one letter as user and returns the exit code.
func (k *keeper) sendmail(l *letters.Ledger, user string, x letters.Letter, prefix ...string) (code int, words string) {
	k.T.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := k.As(ctx, user, append(prefix, lan.Applet("sendmail"), "-C", k.Config, "-i", "-f", "writer@two.test", x.To)...)
	cmd.Stdin = strings.NewReader(x.Text)
	l.Begin(x)
	out, err := cmd.CombinedOutput()
	l.End(x, err)
	return cmd.ProcessState.ExitCode(), string(out)
}

// files counts what is in a directory of the spool.
func files(s *lan.Site, dir string) int { return len(lan.ReadDir(s.T, s.Path("queue", dir))) }

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

// TestSpoolSmall: a spool on a file system smaller than minfree takes mail, and
// the server says what it keeps free instead.
func TestSpoolSmall(t *testing.T) {
	s, two, _ := fullLAN(t)
	s.Tmpfs(s.Path("queue"), "size=8m,"+spoolOwner)
	k := newKeeper(s, two)
	s.Configure("listen="+s.IP+":25", "trusted=10.77.0.2", "minfree=10m")
	k.up()
	l := letters.NewLedger()
	if err := k.send(l, letters.New("alice@one.test", 100)); err != nil {
		t.Errorf("refused: %v", err)
	}
	if !lan.Says(s.Log, "option reduced option=minfree") {
		t.Error("the log says nothing of minfree")
	}
}

// sendUntilFull sends mail until ten messages were refused for want of room, each in
// words, and nothing of them is left.
func sendUntilFull(s *lan.Site, k *keeper, l *letters.Ledger, to []string) {
	s.T.Helper()
	refused := 0
	for i := 0; refused < 10; i++ { // smaller ones may fit when a large one doesn't
		err := k.send(l, letters.New(to[i%len(to)], 100<<10>>refused))
		if err == nil {
			continue
		}
		refused++
		if !strings.HasPrefix(err.Error(), "refused: 452 ") {
			s.T.Errorf("no room: %v, want 452", err)
		}
		if got, want := files(s, "queue"), len(l.Snapshot()); files(s, "tmp") != 0 || got != want {
			s.T.Fatalf("after a refusal: %d files in tmp/, want 0; %d in queue/, want %d", files(s, "tmp"), got, want)
		}
	}
}

func spoolFull(t *testing.T, size string) {
	s, two, sink := fullLAN(t)
	s.Tmpfs(s.Path("queue"), size+","+spoolOwner)
	k := newKeeper(s, two)
	s.Configure("listen="+s.IP+":25", "queue-only", "trusted=10.77.0.2", "minfree=0")
	k.up()
	l := letters.NewLedger()
	to := []string{"alice@one.test", "bob@one.test", "x@two.test"}
	sendUntilFull(s, k, l, to)
	room := func() {}
	if strings.Contains(size, "nr_inodes") { // a network's share is gone; root has no bound
		for code := 0; code == 0; {
			code, _ = k.sendmail(l, "root", letters.New("alice@one.test", 100))
		}
	} else {
		room = s.Fill(s.Path("queue"))
	}
	if code, words := k.sendmail(l, "bob", letters.New("alice@one.test", 100)); code != 75 || words == "" {
		t.Errorf("sendmail without room: exit code %d, said %q, want 75 and why", code, words)
	}
	k.end()
	s.Configure("listen="+s.IP+":25", "trusted=10.77.0.2", "minfree=0")
	k.up()
	s.Drained(30 * time.Second)
	roomAgain(s, k, l, sink, room)
}

// roomAgain makes room, after which a letter is taken again, and holds what was
// delivered against what was acknowledged.
func roomAgain(s *lan.Site, k *keeper, l *letters.Ledger, sink *testenv.Sink, room func()) {
	s.T.Helper()
	room()
	if err := k.send(l, letters.New("alice@one.test", 1000)); err != nil {
		s.T.Errorf("there is room again: %v", err)
	}
	s.Drained(30 * time.Second)
	k.end()
	recovered(s)
	l.Outcome(s.T, l.Snapshot(), 0, mailboxes(s), map[string][]letters.Delivery{"sink": letters.ReadSink(sink)})
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
	s.Tmpfs(s.Path("queue"), "size=3m,"+spoolOwner)
	s.Configure("listen="+s.IP+":25", "queue-only", "trusted=10.77.0.2", "minfree=0")
	k := newKeeper(s, two)
	k.up()
	if out, err := s.TryApplet("Subject: refused\n\nhello\n", "sendmail", "-f", "alice@one.test", "x@two.test"); err != nil {
		t.Fatalf("sendmail: %v\n%s", err, out)
	}
	k.end()
	room := s.Fill(s.Path("queue"))
	s.Applet("runq")
	s.Gone(30 * time.Second)
	if left := files(s, "queue"); left != 1 || len(letters.ReadMailbox(t, s.Mailbox("alice"))) != 0 {
		t.Errorf("without room for the report: %d messages in the queue, want 1, and alice has %d", left, len(letters.ReadMailbox(t, s.Mailbox("alice"))))
	}
	room()
	for range 2 {
		s.Applet("runq")
		s.Gone(30 * time.Second)
	}
	got := letters.ReadMailbox(t, s.Mailbox("alice"))
	if len(got) != 1 || !got[0].Bounce || explained(s) != 0 {
		t.Errorf("with room: alice has %v and %d messages are left, want one report and none", got, files(s, "queue"))
	}
}

// TestMailboxFull has no room, or no inode, for a mailbox while the spool has
// enough: the mailbox keeps its length to the octet, the message waits, and it is
// delivered once when there is room (A45).
func TestMailboxFull(t *testing.T) {
	s, two, _ := fullLAN(t)
	const room = "nr_inodes=5,mode=2775,gid=8"
	s.Tmpfs(s.Mail, "size=64k,"+room)
	old := "From old@two.test Thu Jan  1 00:00:00 2026\nSubject: old\n\nold\n\n"
	if err := os.WriteFile(s.Mailbox("alice"), []byte(old), 0o660); err != nil {
		t.Fatal(err)
	}
	os.Chown(s.Mailbox("alice"), 2001, 8)
	k := newKeeper(s, two)
	k.up()
	l := letters.NewLedger()
	large := letters.New("alice@one.test", 1)
	large.Text = strings.Replace(large.Text, "\n\n", "\nX-Pad: "+strings.Repeat(strings.Repeat("x", 70)+"\n\t", 1500)+"\n\n", 1)
	if err := k.send(l, large); err != nil {
		t.Fatal(err)
	}
	lan.Until(t, 20*time.Second, "the delivery is deferred", func() bool { return lan.Contains(s.Log, "status=deferred") })
	if got, err := os.ReadFile(s.Mailbox("alice")); err != nil || string(got) != old {
		t.Errorf("mailbox of %d octets has %d now (%v), want the same ones", len(old), len(got), err)
	}
	for _, to := range []string{"bob@one.test", "carol@one.test"} { // of five inodes alice and her lock had two, the root one
		if err := k.send(l, letters.New(to, 50)); err != nil {
			t.Fatal(err)
		}
	}
	inodes := func() { // takes all inodes that are left
		for i := 0; ; i++ {
			if err := os.WriteFile(filepath.Join(s.Mail, fmt.Sprint("inode", i)), nil, 0o600); err != nil {
				return
			}
		}
	}
	delivered(s, l, 2)
	inodes()
	third := letters.New("nobody@one.test", 50)
	if err := k.send(l, third); err != nil {
		t.Fatal(err)
	}
	lan.Until(t, 20*time.Second, "the mailbox without an inode is deferred", func() bool {
		log, _ := os.ReadFile(s.Log)
		return bytes.Contains(log, []byte("to=<nobody@one.test> relay=local")) && bytes.Contains(log, []byte("status=deferred"))
	})
	k.end()
	spare, _ := filepath.Glob(filepath.Join(s.Mail, "inode*"))
	for _, name := range spare {
		os.Remove(name)
	}
	lan.Sh(t, "mount", "-o", "remount,size=4m,nr_inodes=50", s.Mail)
	recovered(s)
	places := mailboxes(s)
	places["alice"] = places["alice"][1:] // the old message
	l.Outcome(t, l.Snapshot(), 0, places, nil)
}

// delivered waits until n letters are in mailboxes.
func delivered(s *lan.Site, l *letters.Ledger, n int) {
	s.T.Helper()
	lan.Until(s.T, 20*time.Second, fmt.Sprint(n, " letters are delivered"), func() bool {
		got := 0
		for _, u := range lan.People {
			for _, d := range letters.ReadMailbox(s.T, s.Mailbox(u.Name)) {
				if d.Whole && l.Known(d.Token) {
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
	if err := os.WriteFile(s.Mailbox("alice"), []byte(old), 0o660); err != nil {
		t.Fatal(err)
	}
	os.Chown(s.Mailbox("alice"), 2001, 8)
	k := newKeeper(s, two)
	k.prefix = []string{"prlimit", "--fsize=524288", "--"}
	k.up()
	l := letters.NewLedger()
	large := letters.New("bob@one.test", 10)
	large.Text += strings.Repeat("padding\n", 1<<17)
	if err := k.send(l, large); err == nil || !strings.HasPrefix(err.Error(), "refused: 45") {
		t.Errorf("a message over the limit: %v, want 452 or 451", err)
	}
	if n := files(s, "tmp") + files(s, "queue"); n != 0 {
		t.Errorf("it left %d files, want none", n)
	}
	grows := letters.New("alice@one.test", 1)
	grows.Text = strings.Replace(grows.Text, "\n\n", "\nX-Pad: "+strings.Repeat(strings.Repeat("x", 70)+"\n\t", 1500)+"\n\n", 1)
	if err := k.send(l, grows); err != nil {
		t.Fatal(err)
	}
	lan.Until(t, 20*time.Second, "the delivery is deferred", func() bool { return lan.Contains(s.Log, "status=deferred") })
	if st, err := os.Stat(s.Mailbox("alice")); err != nil || st.Size() != int64(len(old)) {
		t.Errorf("mailbox of %d octets: %v (%v), want the same length", len(old), st.Size(), err)
	}
	if code, words := k.sendmail(l, "carol", letters.New("bob@one.test", 4000), "prlimit", "--fsize=1024", "--"); code != 0 {
		t.Errorf("sendmail with a limit of its own: exit code %d: %s", code, words)
	}
	delivered(s, l, 1)
	k.end()
	recovered(s)
	places := mailboxes(s)
	places["alice"] = places["alice"][1:]
	l.Outcome(t, l.Snapshot(), 0, places, nil)
}
