//go:build e2e

package peers

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"postoffice/internal/e2e/lan"
	"postoffice/internal/e2e/letters"
)

// A mail reader takes letters out of a mailbox while others arrive.

// TestMuttWhileMailArrives moves everything from the mailbox to an archive with
// mutt, again and again, while mail arrives.
func TestMuttWhileMailArrives(t *testing.T) {
	s, client := readerSite(t)
	m := newMutt(s, "alice")
	f := letters.NewFleet(s, client, 32<<10, "alice@one.test")
	f.Trickle(4, 50*time.Millisecond, s.IP+":25")
	rounds := 0
	for end := time.Now().Add(time.Minute); (rounds < 12 || len(f.Snapshot()) < 500) && time.Now().Before(end); rounds++ {
		lan.Until(t, 30*time.Second, "mail arrives", m.hasMail)
		m.moveAll(t)
	}
	f.Stop()
	s.Drained(time.Minute)
	t.Logf("%d sessions of mutt moved %d of %d letters", rounds, len(letters.ReadMailbox(t, m.archive)), len(f.Snapshot()))
	f.OnceEach(t, append(letters.ReadMailbox(t, m.archive), letters.ReadMailbox(t, s.Mailbox("alice"))...))
	m.moveAll(t)
	f.OnceEach(t, letters.ReadMailbox(t, m.archive))
}

// TestDovecotWhileMailArrives reads and expunges with Dovecot's IMAP server
// while mail arrives.
func TestDovecotWhileMailArrives(t *testing.T) {
	s, client := readerSite(t)
	d := newDovecot(s, "bob")
	f := letters.NewFleet(s, client, 32<<10, "bob@one.test")
	f.Trickle(4, 50*time.Millisecond, s.IP+":25")
	var taken []letters.Delivery
	rounds := 0
	for end := time.Now().Add(time.Minute); (rounds < 100 || len(f.Snapshot()) < 500) && time.Now().Before(end); rounds++ {
		taken = append(taken, d.takeAll(t)...)
		lan.Pause(f.Ctx, letters.Span(0, 50*time.Millisecond))
	}
	f.Stop()
	s.Drained(time.Minute)
	t.Logf("%d rounds of Dovecot took %d of %d letters", rounds, len(taken), len(f.Snapshot()))
	f.OnceEach(t, append(taken, d.takeRest(t)...))
}

// TestMaildirWhileMailArrives has Dovecot and mutt take letters out of Maildirs
// while others arrive; readers and writer need no lock (A47).
func TestMaildirWhileMailArrives(t *testing.T) {
	s, client := readerSite(t, "mailbox=~/Maildir/")
	f := letters.NewFleet(s, client, 32<<10, "bob@one.test")
	f.Trickle(4, 50*time.Millisecond, s.IP+":25")
	lan.Until(t, 30*time.Second, "mail arrives", func() bool { return len(lan.InMaildir(t, s.Path("home", "bob", "Maildir"))) > 0 })
	d := newDovecotAt(s, "bob", "maildir:"+s.Path("home", "bob", "Maildir"))
	var taken []letters.Delivery
	rounds := 0
	for end := time.Now().Add(time.Minute); (rounds < 50 || len(f.Snapshot()) < 300) && time.Now().Before(end); rounds++ {
		taken = append(taken, d.takeAll(t)...)
		lan.Pause(f.Ctx, letters.Span(0, 50*time.Millisecond))
	}
	f.Stop()
	s.Drained(time.Minute)
	taken = append(taken, d.takeRest(t)...)
	t.Logf("%d rounds of Dovecot took %d of %d letters", rounds, len(taken), len(f.Snapshot()))
	f.OnceEach(t, taken)

	alice := letters.NewFleet(s, client, 32<<10, "alice@one.test")
	alice.Trickle(2, 0, s.IP+":25")
	m := newMutt(s, "alice")
	m.openMaildir(s.Path("home", "alice", "Maildir"))
	for moved := 0; moved < 3 || len(alice.Snapshot()) < 100; moved++ {
		lan.Until(t, 30*time.Second, "mail arrives", m.hasMail)
		m.moveAll(t)
	}
	alice.Stop()
	s.Drained(time.Minute)
	m.moveAll(t)
	alice.OnceEach(t, letters.ReadMailbox(t, m.archive))
}

// TestReadersCount has bounces, text that looks like a From_ line, and an
// unended message in a mailbox: mutt and Dovecot see as many messages as were
// delivered (R10, A27).
func TestReadersCount(t *testing.T) {
	s, client := readerSite(t)
	conn, err := client.Dial(s.IP + ":25")
	if err != nil {
		t.Fatal(err)
	}
	d, err := lan.NewDialogue(conn, "client.test")
	if err != nil {
		t.Fatal(err)
	}
	defer d.Quit()
	for i, from := range []string{"", `"a From b Mon Jan"@x.example`, "writer@client.test", `"From "@x.example`, "x=y%z@x.example"} {
		text := fmt.Sprintf("Subject: number %d\n\nFrom x\n\nFrom writer@client.test Tue Nov 24 23:00:00 2026\n\n>From x\nend", i)
		for _, to := range []string{"alice", "bob"} {
			if err := d.Send(from, to+"@one.test", text); err != nil {
				t.Fatalf("from %q: %v", from, err)
			}
		}
	}
	s.Drained(20 * time.Second)

	m := newMutt(s, "alice")
	m.moveAll(t)
	raw, _ := os.ReadFile(m.archive)
	if n := strings.Count("\n"+string(raw), "\nFrom "); n != 5 {
		t.Errorf("mutt moved %d messages, want 5:\n%s", n, raw)
	}
	v := newDovecot(s, "bob")
	if got := v.takeAll(t); len(got) != 5 {
		t.Errorf("Dovecot saw %d messages, want 5", len(got))
	}
}

func readerSite(t *testing.T, settings ...string) (s *lan.Site, client *lan.Host) {
	l := lan.New(t)
	l.DNS("one.test. IN A 10.77.0.2", "one.test. IN MX 10 one.test.")
	s = l.Host("one.test").Install(settings...)
	client = l.Host("client.test")
	s.Serve()
	return s, client
}

// mutt is an unpacked mutt of a user's.
type mutt struct {
	s       *lan.Site
	command []string
	box     string
	archive string
}

// openMaildir makes mutt read a Maildir instead of the mailbox.
func (m *mutt) openMaildir(path string) {
	for i, arg := range m.command {
		m.command[i] = strings.ReplaceAll(arg, " -f "+m.box, " -f "+path)
	}
	m.box = path
}

func newMutt(s *lan.Site, user string) *mutt {
	root, libs := lan.UnpackAll(s.T, "mutt")
	home := s.Path("home", user)
	rc := filepath.Join(home, "muttrc")
	// What stays open when mail arrives in between is quit again.
	lan.WriteFile(s.T, rc, strings.ReplaceAll(`set folder=HOME mbox_type=mbox move=no confirmappend=no confirmcreate=no
set delete=yes quit=yes sleep_time=0 beep=no wait_key=no mark_old=no header_cache=""
set dotlock_program="`+root+`/usr/bin/mutt_dotlock"
push "<tag-pattern>~A<enter><tag-prefix-cond><save-message>=archive<enter><end-cond>`+strings.Repeat("<quit>", 50)+`"
`, "HOME", home))
	run := strings.Join([]string{"setpriv", "--reuid", user, "--regid", user, "--clear-groups",
		filepath.Join(root, "usr/bin/mutt"), "-n", "-F", rc, "-f", s.Mailbox(user)}, " ")
	return &mutt{s: s, box: s.Mailbox(user), archive: filepath.Join(home, "archive"),
		command: []string{"env", "TERM=xterm", "HOME=" + home, "LD_LIBRARY_PATH=" + libs,
			"script", "-qec", run, "/dev/null"}}
}

// hasMail says whether the mailbox has a message. Nobody but mutt takes one.
func (m *mutt) hasMail() bool {
	st, err := os.Stat(m.box)
	if err == nil && st.IsDir() {
		return len(lan.InMaildir(m.s.T, m.box)) > 0
	}
	return err == nil && st.Size() > 0
}

// moveAll runs mutt, which moves all messages to the archive and ends. Where
// there is none, mutt would forget the keys that are pushed, and stay.
func (m *mutt) moveAll(t *testing.T) {
	t.Helper()
	if !m.hasMail() {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	cmd := m.s.Host.Command(ctx, m.command...)
	stdin, err := cmd.StdinPipe() // open until mutt has ended: it must not see an end of its terminal
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	var out lan.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.WaitDelay = time.Second
	if err := cmd.Run(); err != nil {
		t.Fatalf("mutt: %v\n%q", err, out.String())
	}
}

// dovecot is an IMAP session of a user's with an unpacked Dovecot, on a pipe.
type dovecot struct {
	s   *lan.Site
	in  io.Writer
	out *bufio.Reader
	n   int // commands so far

	expunged []int // messages that the last command says are gone, by their numbers then
	fetched  int   // messages that takeAll has read
}

func newDovecot(s *lan.Site, user string) *dovecot {
	return newDovecotAt(s, user, "mbox:"+s.Path("home", user)+"/folders:INBOX="+s.Mailbox(user))
}

// newDovecotAt reads mail at a place that it calls location.
func newDovecotAt(s *lan.Site, user, location string) *dovecot {
	s.T.Helper()
	root, libs := lan.UnpackAll(s.T, "dovecot-imapd") // with dovecot-core
	core := filepath.Join(filepath.Dir(root), "dovecot-core")
	home := s.Path("home", user)
	conf := filepath.Join(home, "dovecot.conf")
	lan.WriteFile(s.T, conf, strings.Join([]string{
		"base_dir = " + home + "/run",
		"mail_location = " + location,
		"mbox_read_locks = fcntl", "mbox_write_locks = dotlock fcntl", // as Debian has it
		"mail_privileged_group = mail", "first_valid_uid = 1", "ssl = no", "protocols = imap",
		"log_path = " + home + "/log", "stats_writer_socket_path =", "import_environment = LD_LIBRARY_PATH",
	}, "\n")+"\n")
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	s.T.Cleanup(cancel)
	cmd := s.Host.Command(ctx, "env", "USER="+user, "HOME="+home, "LD_LIBRARY_PATH="+libs,
		"setpriv", "--reuid", user, "--regid", "mail", "--clear-groups",
		filepath.Join(core, "usr/bin/doveconf"), "-c", conf, "-f", "service=imap", "-m", "imap", "-e",
		filepath.Join(root, "usr/lib/dovecot/imap"))
	d := dovecotOn(s, cmd)
	s.T.Cleanup(func() {
		if s.T.Failed() {
			log, _ := os.ReadFile(home + "/log")
			s.T.Logf("Dovecot's log:\n%s", lan.Tail(string(log), 20))
		}
	})
	d.command(s.T, "SELECT INBOX")
	return d
}

// dovecotOn starts the server and reads its greeting.
func dovecotOn(s *lan.Site, cmd *exec.Cmd) *dovecot {
	s.T.Helper()
	in, err := cmd.StdinPipe()
	if err != nil {
		s.T.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		s.T.Fatal(err)
	}
	var stderr lan.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		s.T.Fatal(err)
	}
	s.T.Cleanup(func() {
		in.Close() // ends it
		cmd.Wait()
	})
	d := &dovecot{s: s, in: in, out: bufio.NewReader(out)}
	if line, err := d.out.ReadString('\n'); !strings.HasPrefix(line, "* PREAUTH") {
		s.T.Fatalf("dovecot: %q, %v: %s", line, err, stderr.String())
	}
	return d
}

// removed is the answer that a message is gone, by its number (RFC 3501 section 7.4.1).
var removed = regexp.MustCompile(`^\* (\d+) EXPUNGE\r\n$`)

// literal announces octets at the end of an IMAP line.
var literal = regexp.MustCompile(`\{(\d+)\}\r\n$`)

// command gives an IMAP command and returns the literals of the answer.
func (d *dovecot) command(t *testing.T, line string) (literals []string) {
	t.Helper()
	d.n++
	d.expunged = nil
	tag := fmt.Sprintf("c%d", d.n)
	if _, err := io.WriteString(d.in, tag+" "+line+"\r\n"); err != nil {
		t.Fatalf("dovecot: %s: %v", line, err)
	}
	for {
		answer, err := d.out.ReadString('\n')
		if err != nil {
			t.Fatalf("dovecot: %s: %v", line, err)
		}
		if m := removed.FindStringSubmatch(answer); m != nil {
			n, _ := strconv.Atoi(m[1])
			d.expunged = append(d.expunged, n)
		}
		if m := literal.FindStringSubmatch(answer); m != nil {
			n, _ := strconv.Atoi(m[1])
			octets := make([]byte, n)
			if _, err := io.ReadFull(d.out, octets); err != nil {
				t.Fatalf("dovecot: %s: %v", line, err)
			}
			literals = append(literals, string(octets))
		}
		if rest, ok := strings.CutPrefix(answer, tag+" "); ok {
			if !strings.HasPrefix(rest, "OK ") {
				t.Fatalf("dovecot: %s: %s", line, rest)
			}
			return literals
		}
	}
}

// takeAll reads all messages, and removes them. It returns those that Dovecot says are
// removed: a flag that it sets while another program appends may be lost, which it tells
// (FETCH with the flags that there are), and the message stays for the next time.
func (d *dovecot) takeAll(t *testing.T) (taken []letters.Delivery) {
	t.Helper()
	d.command(t, "NOOP")
	var all []letters.Delivery
	for _, text := range d.command(t, "UID FETCH 1:* (BODY.PEEK[])") {
		all = append(all, letters.Read(strings.ReplaceAll(text, "\r\n", "\n")))
	}
	if d.fetched = len(all); d.fetched == 0 {
		return nil
	}
	d.command(t, fmt.Sprintf(`STORE 1:%d +FLAGS.SILENT (\Deleted)`, len(all))) // what was fetched, not what has arrived since
	d.command(t, "EXPUNGE")
	for _, n := range d.expunged { // the numbers behind it are less by one from then on
		if n < 1 || n > len(all) {
			t.Fatalf("dovecot removed message %d, of %d that were to be", n, d.fetched)
		}
		taken = append(taken, all[n-1])
		all = slices.Delete(all, n-1, n)
	}
	return taken
}

// takeRest is takeAll until the mailbox is empty.
func (d *dovecot) takeRest(t *testing.T) (taken []letters.Delivery) {
	t.Helper()
	lan.Until(t, time.Minute, "Dovecot has removed all messages", func() bool {
		taken = append(taken, d.takeAll(t)...)
		return d.fetched == 0
	})
	return taken
}
