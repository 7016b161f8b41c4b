//go:build e2e

package e2e

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
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const (
	bigMessage = 100 << 20 // octets
	bigGrowth  = 16 << 10  // KiB that a process may grow by while it handles one
)

// status is what /proc/PID/status says about memory, in KiB. Peak is the most
// that was resident since the last reset, file pages (the binary itself)
// included; of these Anon is what the process allocated.
type status struct{ Peak, Anon, File int }

// statusOf reads it; false: the process is gone.
func statusOf(pid int) (status, bool) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return status{}, false
	}
	var s status
	for line := range strings.Lines(string(text)) {
		name, rest, _ := strings.Cut(line, ":")
		field := map[string]*int{"VmHWM": &s.Peak, "RssAnon": &s.Anon, "RssFile": &s.File}[name]
		if field == nil {
			continue
		}
		if *field, err = strconv.Atoi(strings.Fields(rest)[0]); err != nil {
			return status{}, false
		}
	}
	return s, s.Peak > 0
}

// meter follows the peaks of all processes of the binary on some hosts. The
// kernel keeps a process's peak, so one late look at a process says all; the
// ticker is there for those that end by themselves.
type meter struct {
	hosts []*host

	mu   sync.Mutex
	peak map[string]status // by host and name; the greatest of all processes of one name
}

// look takes what every process has reached.
func (m *meter) look() {
	for _, h := range m.hosts {
		for pid, name := range h.family() {
			s, ok := statusOf(pid)
			if !ok {
				continue
			}
			key := h.Name + " " + filepath.Base(name)
			m.mu.Lock()
			old := m.peak[key]
			m.peak[key] = status{max(old.Peak, s.Peak), max(old.Anon, s.Anon), max(old.File, s.File)}
			m.mu.Unlock()
		}
	}
}

// during forgets all peaks, the kernel's too, and returns those of f.
func (m *meter) during(f func()) map[string]status {
	for _, h := range m.hosts {
		for pid := range h.family() {
			os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", pid), []byte("5"), 0) // proc(5): reset VmHWM; gone is gone
		}
	}
	m.mu.Lock()
	m.peak = map[string]status{}
	m.mu.Unlock()
	end, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for {
			m.look()
			select {
			case <-end:
				return
			case <-tick.C:
			}
		}
	}()
	f()
	close(end)
	<-done
	m.look()
	return m.peak
}

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

// memoryPath is one way of a message through us; run returns when the message
// has arrived and nothing of it is left in a queue.
type memoryPath struct {
	name  string
	shape int
	run   func(p memoryPath, size int64)
}

// memoryTest is the place of the measurements: one is the site whose memory
// counts in each path, two the next host, which counts too.
type memoryTest struct {
	*meter
	t        *testing.T
	one, two *site
	port     string
}

// TestMemoryOfBigMessage sends 100 MB on every path. What counts is the growth of
// VmHWM, the peak of everything resident, over what the same process (or one of
// the same name, for those that end with the message) reaches with messages of
// 16 KiB on all the paths. That is stricter than "grows by": pages of the binary
// that a path touches first are in it, and the paths add up.
func TestMemoryOfBigMessage(t *testing.T) {
	for _, mode := range modes {
		t.Run(mode.name, func(t *testing.T) {
			l := newLAN(t)
			l.dns("one.test. IN A 10.77.0.2", "two.test. IN A 10.77.0.3", "two.test. IN MX 10 two.test.", "down.test. IN A 10.77.0.1")
			one, two := l.host("one.test"), l.host("two.test")
			m := &memoryTest{meter: &meter{hosts: []*host{one, two}, peak: map[string]status{}}, t: t, port: mode.port,
				one: mode.install(one, "smtp-port="+mode.port), two: mode.install(two)}
			m.one.serve()
			m.two.serve()
			paths := m.paths()
			if m.one.user != "" { // the code is the same, only in one process
				paths = slices.DeleteFunc(paths, func(p memoryPath) bool { return p.shape != 0 })
			}
			m.measure(paths)
		})
	}
}

// TestMemoryOfBigMessageWithoutDaemon is the same for the tree that root's
// sendmail starts for one message.
func TestMemoryOfBigMessageWithoutDaemon(t *testing.T) {
	h := newLAN(t).host("one.test")
	m := &memoryTest{meter: &meter{hosts: []*host{h}, peak: map[string]status{}}, t: t, one: h.install()}
	m.two = m.one
	m.measure([]memoryPath{{"sendmail without a daemon", 0, func(p memoryPath, size int64) {
		m.feed(m.one.command(t.Context(), applet("sendmail"), "-C", m.one.cf, "-i", "alice@one.test"), text(p.shape, size, "\n"))
		m.arrived(m.one, size)
		h.gone(20 * time.Second)
	}}})
}

func (m *memoryTest) paths() []memoryPath {
	return []memoryPath{
		{"SMTP to mailbox", 0, m.smtpIn},
		{"SMTP to mailbox", 1, m.smtpIn},
		{"SMTP to mailbox", 2, m.smtpIn},
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
func (m *memoryTest) measure(paths []memoryPath) {
	all := func() {
		for _, p := range paths {
			p.run(p, 16<<10)
		}
	}
	all()
	base := m.during(all)
	type record struct {
		grown int
		text  string
	}
	worst := map[string]record{}
	for _, p := range paths {
		for name, now := range m.during(func() { p.run(p, bigMessage) }) {
			b := base[name]
			grown := now.Peak - b.Peak
			line := fmt.Sprintf("%-26s grew by %5d KiB to %5d (anonymous %d → %d, file %d → %d) with %s, %s",
				name, grown, now.Peak, b.Anon, now.Anon, b.File, now.File, p.name, shapes[p.shape].name)
			if grown > bigGrowth {
				m.t.Errorf("%s: at most %d are allowed", line, bigGrowth)
			}
			if old, ok := worst[name]; !ok || grown > old.grown {
				worst[name] = record{grown, line}
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(worst)) {
		m.t.Log(worst[name].text)
	}
}

// arrived waits until the mailbox of alice holds size octets and the queues are
// empty, then removes the mailbox.
func (m *memoryTest) arrived(s *site, size int64) {
	m.t.Helper()
	until(m.t, 2*time.Minute, fmt.Sprintf("alice has %d octets at %s", size, s.Name), func() bool {
		st, err := os.Stat(s.mailbox("alice"))
		return err == nil && st.Size() >= size && empty(m.one.path("queue", "queue")) && empty(m.two.path("queue", "queue"))
	})
	os.Remove(s.mailbox("alice"))
}

func empty(dir string) bool {
	names, err := os.ReadDir(dir)
	return err == nil && len(names) == 0
}

func (m *memoryTest) smtpIn(p memoryPath, size int64) {
	conn, err := m.two.dial(net.JoinHostPort(m.one.IP, m.port))
	if err != nil {
		m.t.Fatal(err)
	}
	d, err := newDialogue(conn, "two.test")
	if err != nil {
		m.t.Fatal(err)
	}
	m.converse(d, "<x@two.test>", conn, text(p.shape, size, "\r\n"))
	m.arrived(m.one, size)
}

// converse sends one message to alice in an open session and looks at
// the memory while its end is still missing.
func (m *memoryTest) converse(d *dialogue, from string, w io.Writer, message io.Reader) {
	m.t.Helper()
	for _, step := range [][2]string{{"MAIL FROM:" + from, "250"}, {"RCPT TO:<alice@" + m.one.Name + ">", "250"}, {"DATA", "354"}} {
		if err := d.expect(step[0], step[1]); err != nil {
			m.t.Fatal(err)
		}
	}
	d.conn.SetDeadline(time.Now().Add(2 * time.Minute))
	out := bufio.NewWriterSize(w, 64<<10)
	if _, err := io.Copy(out, message); err != nil {
		m.t.Fatal(err)
	}
	if err := out.Flush(); err != nil {
		m.t.Fatal(err)
	}
	m.look()
	if _, err := io.WriteString(w, ".\r\n"); err != nil {
		m.t.Fatal(err)
	}
	reply, err := d.r.ReadString('\n')
	if err != nil || !strings.HasPrefix(reply, "250 ") {
		m.t.Fatalf("after the message: %q, %v", reply, err)
	}
	d.quit()
}

// submit gives a message to sendmail as alice.
func (m *memoryTest) submit(message io.Reader, args ...string) {
	m.t.Helper()
	m.feed(m.one.as(m.t.Context(), "alice", append([]string{applet("sendmail"), "-C", m.one.cf, "-i"}, args...)...), message)
}

// feed runs sendmail with a message and looks at its memory before it lets it
// see the end.
func (m *memoryTest) feed(cmd *exec.Cmd, message io.Reader) {
	m.t.Helper()
	var printed syncBuffer
	cmd.Stdout, cmd.Stderr = &printed, &printed
	in, err := cmd.StdinPipe()
	if err != nil {
		m.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		m.t.Fatal(err)
	}
	if _, err := io.Copy(in, message); err != nil {
		m.t.Errorf("feed sendmail: %v", err)
	}
	m.look()
	in.Close()
	if err := cmd.Wait(); err != nil {
		m.t.Fatalf("sendmail: %v\n%s", err, printed.String())
	}
}

func (m *memoryTest) sendmailLocal(p memoryPath, size int64) {
	m.submit(text(p.shape, size, "\n"), "alice@one.test")
	m.arrived(m.one, size)
}

func (m *memoryTest) sendmailRemote(p memoryPath, size int64) {
	m.submit(text(p.shape, size, "\n"), "alice@two.test")
	m.arrived(m.two, size)
}

// sessionLocal speaks SMTP with sendmail -bs through its standard input and output.
func (m *memoryTest) sessionLocal(p memoryPath, size int64) {
	cmd := m.one.as(m.t.Context(), "alice", applet("sendmail"), "-C", m.one.cf, "-bs")
	ours, theirs := net.Pipe()
	cmd.Stdin, cmd.Stdout = theirs, theirs
	if err := cmd.Start(); err != nil {
		m.t.Fatal(err)
	}
	d, err := newDialogue(ours, "localhost")
	if err != nil {
		m.t.Fatal(err)
	}
	m.converse(d, "<alice@one.test>", ours, text(p.shape, size, "\r\n"))
	cmd.Wait()
	m.arrived(m.one, size)
}

// bounce sends a message that the next host refuses: its report returns.
func (m *memoryTest) bounce(p memoryPath, size int64) {
	m.submit(text(p.shape, size, "\n"), "-f", "alice@one.test", "nosuch@two.test")
	until(m.t, time.Minute, "alice has a report", func() bool { return contains(m.one.mailbox("alice"), "multipart/report") })
	if st, err := os.Stat(m.one.mailbox("alice")); err == nil && st.Size() > 1<<20 {
		m.t.Errorf("the report has %d octets: it should hold the header alone", st.Size())
	}
	m.arrived(m.one, 1)
}

// waiting lets a message wait for a host whose port is closed, and lists it.
func (m *memoryTest) waiting(p memoryPath, size int64) {
	m.submit(text(p.shape, size, "\n"), "alice@down.test")
	var id string
	until(m.t, time.Minute, "the message is deferred", func() bool {
		line := m.one.applet("mailq", "--json")
		_, rest, _ := strings.Cut(line, `"id":"`)
		id, _, _ = strings.Cut(rest, `"`)
		return id != "" && strings.Contains(line, `"state":"deferred"`)
	})
	m.list()
	m.list("--json")
	m.list(id)
	if err := os.Remove(m.one.path("queue", "queue", id)); err != nil {
		m.t.Fatal(err)
	}
}

// list runs mailq with a full pipe as its output, so that it is still there when
// all its work but the writing is done, and looks at it then.
func (m *memoryTest) list(args ...string) {
	m.t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		m.t.Fatal(err)
	}
	defer r.Close()
	room, err := unix.FcntlInt(w.Fd(), unix.F_SETPIPE_SZ, os.Getpagesize())
	if err != nil {
		m.t.Fatal(err)
	}
	if _, err := w.Write(make([]byte, room)); err != nil {
		m.t.Fatal(err)
	}
	args = append([]string{applet("mailq"), "-C", m.one.cf}, args...)
	cmd := m.one.command(m.t.Context(), args...)
	if m.one.user != "" {
		cmd = m.one.as(m.t.Context(), m.one.user, args...)
	}
	cmd.Stdout = w
	if err := cmd.Start(); err != nil {
		m.t.Fatal(err)
	}
	w.Close()
	until(m.t, time.Minute, "mailq writes", func() bool { return writes(cmd.Process.Pid, 1) })
	m.look()
	if _, err := io.Copy(io.Discard, r); err != nil {
		m.t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		m.t.Fatalf("mailq %v: %v", args, err)
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
