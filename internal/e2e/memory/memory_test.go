//go:build e2e

package memory

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"postoffice/internal/e2e/lan"
)

const (
	BigMessage = 100 << 20 // octets
	bigGrowth  = 16 << 10  // KiB that a process may grow by while it handles one
)

// repeat is its text again and again.
type repeat struct {
	text string
	at   int
}

func (r *repeat) Read(p []byte) (int, error) {
	n := 0
	for n < len(p) {
		c := copy(p[n:], r.text[r.at:])
		n += c
		r.at = (r.at + c) % len(r.text)
	}
	return n, nil
}

// shapes are bodies that take memory in different ways.
var shapes = []struct{ name, head, line string }{
	{"short lines", "Subject: big\n\n", strings.Repeat("x", 75) + "\n"},
	{"one line", "Subject: big\n\n", "x"},
	{"all header", "", "X-Field: " + strings.Repeat("x", 66) + "\n"},
}

// text is a message of a shape, of at least size octets with line feeds alone,
// with the given line ends.
func text(shape int, size int64, eol string) io.Reader {
	s := shapes[shape]
	lines := (size + int64(len(s.line)) - 1) / int64(len(s.line))
	line := strings.ReplaceAll(s.line, "\n", eol)
	return io.MultiReader(strings.NewReader(strings.ReplaceAll(s.head, "\n", eol)),
		io.LimitReader(&repeat{text: line}, lines*int64(len(line))), strings.NewReader(eol))
}

// MemoryPath is one way of a message through us; run returns when the message
// has arrived and nothing of it is left in a queue.
type MemoryPath struct {
	name  string
	shape int
	Run   func(p MemoryPath, size int64)
}

// MemoryTest is the place of the measurements: one is the site whose memory
// counts in each path, two the next host, which counts too.
type MemoryTest struct {
	*lan.Meter
	T        *testing.T
	One, Two *lan.Site
	Port     string
}

// TestMemoryOfBigMessage sends 100 MB on every path. What counts is the growth of
// VmHWM, the peak of everything resident, over what the same process (or one of
// the same name, for those that end with the message) reaches with messages of
// 16 KiB on all the paths. That is stricter than "grows by": pages of the binary
// that a path touches first are in it, and the paths add up.
func TestMemoryOfBigMessage(t *testing.T) {
	for _, mode := range lan.Modes {
		t.Run(mode.Name, func(t *testing.T) {
			l := lan.New(t)
			l.DNS("one.test. IN A 10.77.0.2", "two.test. IN A 10.77.0.3", "two.test. IN MX 10 two.test.", "down.test. IN A 10.77.0.1")
			one, two := l.Host("one.test"), l.Host("two.test")
			m := &MemoryTest{Meter: &lan.Meter{Hosts: []*lan.Host{one, two}, Peak: map[string]lan.Status{}}, T: t, Port: mode.Port,
				One: mode.Install(one, "size=0", "smtp-port="+mode.Port), Two: mode.Install(two, "size=0")}
			m.One.Serve()
			m.Two.Serve()
			paths := m.paths()
			if m.One.User != "" { // the code is the same, only in one process
				paths = slices.DeleteFunc(paths, func(p MemoryPath) bool { return p.shape != 0 })
			}
			m.measure(paths)
		})
	}
}

// TestMemoryOfBigMessageWithoutDaemon is the same for the tree that root's
// sendmail starts for one message.
func TestMemoryOfBigMessageWithoutDaemon(t *testing.T) {
	h := lan.New(t).Host("one.test")
	m := &MemoryTest{Meter: &lan.Meter{Hosts: []*lan.Host{h}, Peak: map[string]lan.Status{}}, T: t, One: h.Install("size=0")}
	m.Two = m.One
	m.measure([]MemoryPath{{"sendmail without a daemon", 0, func(p MemoryPath, size int64) {
		m.feed(m.One.Command(t.Context(), lan.Applet("sendmail"), "-C", m.One.Config, "-i", "alice@one.test"), text(p.shape, size, "\n"))
		m.arrived(m.One, size)
		h.Gone(20 * time.Second)
	}}})
}

func (m *MemoryTest) paths() []MemoryPath {
	return []MemoryPath{
		{"SMTP to mailbox", 0, m.SmtpIn},
		{"SMTP to mailbox", 1, m.SmtpIn},
		{"SMTP to mailbox", 2, m.SmtpIn},
		{"sendmail to mailbox", 0, m.sendmailLocal},
		{"sendmail to mailbox", 1, m.sendmailLocal},
		{"sendmail to the next host", 0, m.sendmailRemote},
		{"sendmail to the next host", 1, m.sendmailRemote},
		{"sendmail to the next host", 2, m.sendmailRemote},
		{"sendmail -bs to mailbox", 0, m.sessionLocal},
		{"bounce from the next host", 0, m.bounce},
		{"bounce from the next host", 2, m.bounce},
		{"mailq while it waits", 0, m.waiting},
	}
}

// measure runs the paths and prints, for each process, the path on which it grew most.
func (m *MemoryTest) measure(paths []MemoryPath) {
	all := func() {
		for _, p := range paths {
			p.Run(p, 16<<10)
		}
	}
	all()
	base := m.During(all)
	type record struct {
		grown int
		text  string
	}
	worst := map[string]record{}
	for _, p := range paths {
		for name, now := range m.During(func() { p.Run(p, BigMessage) }) {
			b := base[name]
			grown := now.Peak - b.Peak
			line := fmt.Sprintf("%-26s grew by %5d KiB to %5d (anonymous %d → %d, file %d → %d) with %s, %s",
				name, grown, now.Peak, b.Anon, now.Anon, b.File, now.File, p.name, shapes[p.shape].name)
			if grown > bigGrowth {
				m.T.Errorf("%s: at most %d are allowed", line, bigGrowth)
			}
			if old, ok := worst[name]; !ok || grown > old.grown {
				worst[name] = record{grown, line}
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(worst)) {
		m.T.Log(worst[name].text)
	}
}

// arrived waits until the mailbox of alice holds size octets and the queues are
// empty, then removes the mailbox.
func (m *MemoryTest) arrived(s *lan.Site, size int64) {
	m.T.Helper()
	lan.Until(m.T, 2*time.Minute, fmt.Sprintf("alice has %d octets at %s", size, s.Name), func() bool {
		st, err := os.Stat(s.Mailbox("alice"))
		return err == nil && st.Size() >= size && empty(m.One.Path("queue", "queue")) && empty(m.Two.Path("queue", "queue"))
	})
	os.Remove(s.Mailbox("alice"))
}

func empty(dir string) bool {
	names, err := os.ReadDir(dir)
	return err == nil && len(names) == 0
}

func (m *MemoryTest) SmtpIn(p MemoryPath, size int64) {
	conn, err := m.Two.Dial(net.JoinHostPort(m.One.IP, m.Port))
	if err != nil {
		m.T.Fatal(err)
	}
	d, err := lan.NewDialogue(conn, "two.test")
	if err != nil {
		m.T.Fatal(err)
	}
	m.converse(d, "<x@two.test>", conn, text(p.shape, size, "\r\n"))
	m.arrived(m.One, size)
}

// converse sends one message to alice in an open session and looks at
// the memory while its end is still missing.
func (m *MemoryTest) converse(d *lan.Dialogue, from string, w io.Writer, message io.Reader) {
	m.T.Helper()
	for _, step := range [][2]string{{"MAIL FROM:" + from, "250"}, {"RCPT TO:<alice@" + m.One.Name + ">", "250"}, {"DATA", "354"}} {
		if err := d.Expect(step[0], step[1]); err != nil {
			m.T.Fatal(err)
		}
	}
	d.Conn.SetDeadline(time.Now().Add(2 * time.Minute))
	out := bufio.NewWriterSize(w, 64<<10)
	if _, err := io.Copy(out, message); err != nil {
		m.T.Fatal(err)
	}
	if err := out.Flush(); err != nil {
		m.T.Fatal(err)
	}
	m.Look()
	if _, err := io.WriteString(w, ".\r\n"); err != nil {
		m.T.Fatal(err)
	}
	reply, err := d.R.ReadString('\n')
	if err != nil || !strings.HasPrefix(reply, "250 ") {
		m.T.Fatalf("after the message: %q, %v", reply, err)
	}
	d.Quit()
}

// submit gives a message to sendmail as alice.
func (m *MemoryTest) submit(message io.Reader, args ...string) {
	m.T.Helper()
	m.feed(m.One.As(m.T.Context(), "alice", append([]string{lan.Applet("sendmail"), "-C", m.One.Config, "-i"}, args...)...), message)
}

// feed runs sendmail with a message and looks at its memory before it lets it
// see the end.
func (m *MemoryTest) feed(cmd *exec.Cmd, message io.Reader) {
	m.T.Helper()
	var printed lan.Buffer
	cmd.Stdout, cmd.Stderr = &printed, &printed
	in, err := cmd.StdinPipe()
	if err != nil {
		m.T.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		m.T.Fatal(err)
	}
	if _, err := io.Copy(in, message); err != nil {
		m.T.Errorf("feed sendmail: %v", err)
	}
	m.Look()
	in.Close()
	if err := cmd.Wait(); err != nil {
		m.T.Fatalf("sendmail: %v\n%s", err, printed.String())
	}
}

func (m *MemoryTest) sendmailLocal(p MemoryPath, size int64) {
	m.submit(text(p.shape, size, "\n"), "alice@one.test")
	m.arrived(m.One, size)
}

func (m *MemoryTest) sendmailRemote(p MemoryPath, size int64) {
	m.submit(text(p.shape, size, "\n"), "alice@two.test")
	m.arrived(m.Two, size)
}

// sessionLocal speaks SMTP with sendmail -bs through its standard input and output.
func (m *MemoryTest) sessionLocal(p MemoryPath, size int64) {
	cmd := m.One.As(m.T.Context(), "alice", lan.Applet("sendmail"), "-C", m.One.Config, "-bs")
	ours, theirs := net.Pipe()
	cmd.Stdin, cmd.Stdout = theirs, theirs
	if err := cmd.Start(); err != nil {
		m.T.Fatal(err)
	}
	d, err := lan.NewDialogue(ours, "localhost")
	if err != nil {
		m.T.Fatal(err)
	}
	m.converse(d, "<alice@one.test>", ours, text(p.shape, size, "\r\n"))
	cmd.Wait()
	m.arrived(m.One, size)
}

// bounce sends a message that the next host refuses: its report returns, with all
// of it.
func (m *MemoryTest) bounce(p MemoryPath, size int64) {
	m.submit(text(p.shape, size, "\n"), "-f", "alice@one.test", "nosuch@two.test")
	lan.Until(m.T, 2*time.Minute, "alice has a report", func() bool { return lan.Contains(m.One.Mailbox("alice"), "multipart/report") })
	m.arrived(m.One, size)
}

// waiting lets a message wait for a host whose port is closed, and lists it.
func (m *MemoryTest) waiting(p MemoryPath, size int64) {
	m.submit(text(p.shape, size, "\n"), "alice@down.test")
	var id string
	lan.Until(m.T, time.Minute, "the message is deferred", func() bool {
		line := m.One.Applet("mailq", "--json")
		_, rest, _ := strings.Cut(line, `"id":"`)
		id, _, _ = strings.Cut(rest, `"`)
		return id != "" && strings.Contains(line, `"state":"deferred"`)
	})
	m.list()
	m.list("--json")
	m.list(id)
	if err := os.Remove(m.One.Path("queue", "queue", id)); err != nil {
		m.T.Fatal(err)
	}
}

// list runs mailq with a full pipe as its output, so that it is still there when
// all its work but the writing is done, and looks at it then.
func (m *MemoryTest) list(args ...string) {
	m.T.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		m.T.Fatal(err)
	}
	defer r.Close()
	room, err := unix.FcntlInt(w.Fd(), unix.F_SETPIPE_SZ, os.Getpagesize())
	if err != nil {
		m.T.Fatal(err)
	}
	if _, err := w.Write(make([]byte, room)); err != nil {
		m.T.Fatal(err)
	}
	args = append([]string{lan.Applet("mailq"), "-C", m.One.Config}, args...)
	cmd := m.One.Command(m.T.Context(), args...)
	if m.One.User != "" {
		cmd = m.One.As(m.T.Context(), m.One.User, args...)
	}
	cmd.Stdout = w
	if err := cmd.Start(); err != nil {
		m.T.Fatal(err)
	}
	w.Close()
	lan.Until(m.T, time.Minute, "mailq writes", func() bool { return writes(cmd.Process.Pid, 1) })
	m.Look()
	if _, err := io.Copy(io.Discard, r); err != nil {
		m.T.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		m.T.Fatalf("mailq %v: %v", args, err)
	}
}

// writes reports whether a thread of the process is in write(2) to the descriptor.
func writes(pid, fd int) bool {
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/syscall", pid))
	if err != nil {
		return false
	}
	call := fmt.Sprintf("%d %#x ", unix.SYS_WRITE, fd)
	return slices.ContainsFunc(threads, func(name string) bool {
		now, err := os.ReadFile(name)
		return err == nil && strings.HasPrefix(string(now), call)
	})
}
