package maillog

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"postoffice/internal/smtp"
	"postoffice/internal/testenv"
)

// at is the time of the lines in the tests.
var at = time.Date(2026, 11, 4, 9, 30, 1, 500_000_000, time.FixedZone("", 3600))

// logLine returns the line that one event becomes.
func logLine(form format, level slog.Level, msg string, attrs ...slog.Attr) string {
	var fields []field
	for _, a := range attrs {
		fields = flatten(fields, "", a)
	}
	return string(form.line(at, level, msg, fields))
}

func TestLines(t *testing.T) {
	text := format{program: "smtpd", pid: 7}
	asJSON := format{program: "smtpd", pid: 7, json: true}
	syslog := format{program: "smtpd", pid: 7, syslog: true}
	alice := smtp.Path{Local: "alice", Domain: "b.example"}
	for _, tt := range []struct {
		name  string
		form  format
		level slog.Level
		attrs []slog.Attr
		want  string
	}{
		{"text", text, slog.LevelInfo, []slog.Attr{QueueID("3XK9"), To(alice), Size(12)},
			"2026-11-04T09:30:01.500+01:00 smtpd[7] info: m qid=3XK9 to=<alice@b.example> size=12\n"},
		{"the null reverse-path", text, slog.LevelWarn, []slog.Attr{From(smtp.Path{})},
			"2026-11-04T09:30:01.500+01:00 smtpd[7] warning: m from=<>\n"},
		{"blanks, quotes, nothing", text, slog.LevelError, []slog.Attr{Reason(`say "no"`), Err(nil)},
			`2026-11-04T09:30:01.500+01:00 smtpd[7] error: m reason="say \"no\"" err=""` + "\n"},
		{"times", text, slog.LevelInfo, []slog.Attr{Next(at.Add(time.Hour)), Delay(1234567 * time.Microsecond)},
			"2026-11-04T09:30:01.500+01:00 smtpd[7] info: m next=2026-11-04T10:30:01+01:00 delay=1.235\n"},
		{"syslog", syslog, slog.LevelInfo, []slog.Attr{Reply(smtp.Reply{Code: 451, Status: "4.7.1", Text: "later\nplease"})},
			"<22>Nov  4 09:30:01 smtpd[7]: m reply=\"451 4.7.1 later please\"\n"},
		{"syslog, worse", syslog, slog.LevelError, nil, "<19>Nov  4 09:30:01 smtpd[7]: error: m\n"},
		{"syslog, debug", syslog, slog.LevelDebug, nil, "<23>Nov  4 09:30:01 smtpd[7]: debug: m\n"},
		{"JSON", asJSON, slog.LevelInfo, []slog.Attr{QueueID("3XK9"), Size(12), Delay(time.Second), Helo(`a"b`), Err(errors.New("x\n"))},
			`{"time":"2026-11-04T09:30:01.500+01:00","level":"info","prog":"smtpd","pid":7,"msg":"m","qid":"3XK9","size":12,"delay":1,"helo":"a\"b","err":"x\\x0a"}` + "\n"},
		{"a group", text, slog.LevelInfo, []slog.Attr{slog.Group("peer", slog.Int("port", 25))},
			"2026-11-04T09:30:01.500+01:00 smtpd[7] info: m peer.port=25\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := logLine(tt.form, tt.level, "m", tt.attrs...); got != tt.want {
				t.Errorf("got  %swant %s", got, tt.want)
			}
		})
	}
}

// TestForeignOctets is A25: no control octet, one line, 1,000 octets at most.
func TestForeignOctets(t *testing.T) {
	hostile := []string{
		"\x1b[2J", "root\r\nNov  4 09:30:01 smtpd[1]: forged", "J\xc3\xbcrgen", "\x00\x7f\x80\xff", `\x41`, "%s%n%d",
		strings.Repeat("a", 5000), strings.Repeat("\xff", 5000), strings.Repeat(`"`, 5000), strings.Repeat(`\`, 3000),
	}
	printable := regexp.MustCompile(`^[ -~]+\n$`)
	for _, form := range []format{{program: "p"}, {program: "p", json: true}, {program: "p", syslog: true}, {program: "p", syslog: true, json: true}} {
		for _, h := range hostile {
			var many []slog.Attr
			for range 40 {
				many = append(many, Helo(h))
			}
			for _, attrs := range [][]slog.Attr{{Helo(h)}, many} {
				got := logLine(form, slog.LevelInfo, "client refused", attrs...)
				if len(got) > MaxLine || !printable.MatchString(got) {
					t.Errorf("%+v, %.20q: %d octets: %q", form, h, len(got), got)
				}
				if form.json {
					_, object, _ := strings.Cut(got, "{")
					if err := json.Unmarshal([]byte("{"+object), new(map[string]any)); err != nil {
						t.Errorf("%.20q: no JSON: %v in %q", h, err, got)
					}
				}
			}
		}
	}
	if got := logLine(format{program: "p"}, slog.LevelInfo, "m", Helo("J\xc3\xbcrgen \"\\")); !strings.HasSuffix(got, `helo="J\xc3\xbcrgen \"\x5c"`+"\n") {
		t.Errorf("got %q, want each octet escaped once", got)
	}
	if got := logLine(format{program: "p"}, slog.LevelInfo, "m", Helo("\x1b[2J\xff\\")); !strings.Contains(got, `helo=\x1b[2J\xff\x5c`) {
		t.Errorf("got %q, want ESC, 0xff and the backslash as \\xNN", got)
	}
}

// FuzzLine: whatever is logged is one line that can be read back.
func FuzzLine(f *testing.F) {
	f.Add("client refused", "\x1b[2J", "a b")
	f.Fuzz(func(t *testing.T, msg, helo, reason string) {
		line := logLine(format{program: "p", json: true}, slog.LevelInfo, msg, Helo(helo), Reason(reason))
		var got struct{ Msg, Helo, Reason string }
		if err := json.Unmarshal([]byte(line), &got); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		if len(line) > MaxLine || strings.Count(line, "\n") != 1 {
			t.Errorf("%d octets: %q", len(line), line)
		}
		if len(helo) < 40 && !strings.HasSuffix(got.Helo, dots) && unescape(got.Helo) != helo {
			t.Errorf("logged %q, read back %q", helo, unescape(got.Helo))
		}
	})
}

// unescape undoes \xNN.
func unescape(s string) string {
	return regexp.MustCompile(`\\x[0-9a-f]{2}`).ReplaceAllStringFunc(s, func(e string) string {
		return string([]byte{byte(strings.IndexByte(hex, e[2])<<4 | strings.IndexByte(hex, e[3]))})
	})
}

func TestLevelsAndWith(t *testing.T) {
	var out bytes.Buffer
	log, closer := mustNew(t, Options{Sink: "stderr", Program: "p", Level: slog.LevelInfo, Stderr: &out})
	log.Debug("left out")
	sub := log.With("qid", "A1")
	sub.Info("first", "n", 1)
	sub.WithGroup("g").With("x", "y").Info("second", "n", 2)
	log.Info("third")
	if err := closer.Close(); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"info: first qid=A1 n=1\n", "info: second qid=A1 g.x=y g.n=2\n", "info: third\n"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("log %q lacks %q", out.String(), want)
		}
	}
	if n := strings.Count(out.String(), "\n"); n != 3 {
		t.Errorf("%d lines, want 3: %q", n, out.String())
	}
}

func mustNew(t *testing.T, o Options) (*slog.Logger, Output) {
	t.Helper()
	log, closer, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return log, closer
}

func TestFileIsFollowed(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "log")
	log, closer := mustNew(t, Options{Sink: "file:" + path, Program: "p"})
	q := closer.(*queue)
	steps := []struct {
		name   string
		before func() error
	}{
		{"new", func() error { return nil }},
		{"renamed", func() error { return os.Rename(path, path+".1") }},
		{"removed", func() error { return os.Remove(path) }},
		{"its directory gone for a while", func() error { return os.RemoveAll(dir) }},
	}
	for _, s := range steps[:3] {
		if err := s.before(); err != nil {
			t.Fatal(err)
		}
		log.Info(s.name)
		wantLine(t, path, s.name)
	}
	if err := steps[3].before(); err != nil {
		t.Fatal(err)
	}
	log.Info("nobody sees this")
	waitFor(t, func() bool { return q.dropped.Load() == 1 })
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	log.Info("back")
	wantLine(t, path, "back")
	wantLine(t, path, "warning: log lines lost lost=1")
	if err := closer.Close(); err != nil {
		t.Fatal(err)
	}
	if _, _, err := New(Options{Sink: "file:" + filepath.Join(dir, "no", "log")}); err == nil {
		t.Error("New accepts a file that can't be made")
	}
	if _, _, err := New(Options{Sink: "paper"}); err == nil {
		t.Error("New accepts an unknown sink")
	}
}

// wantLine waits until the file at path has a line with text.
func wantLine(t *testing.T, path, text string) {
	t.Helper()
	waitFor(t, func() bool {
		data, _ := os.ReadFile(path)
		return strings.Contains(string(data), text)
	})
}

// waitFor waits for a condition that another goroutine brings about.
func waitFor(t *testing.T, ok func() bool) {
	t.Helper()
	if !testenv.Eventually(ok) {
		t.Fatal("waited in vain")
	}
}

// TestLinkIsRefused: root's log is no link to where another wants it.
func TestLinkIsRefused(t *testing.T) {
	dir := t.TempDir()
	if err := os.Symlink(filepath.Join(dir, "target"), filepath.Join(dir, "log")); err != nil {
		t.Fatal(err)
	}
	_, closer, err := New(Options{Sink: "file:" + filepath.Join(dir, "log")})
	if err == nil {
		closer.Close()
	}
	if root := os.Geteuid() == 0; root != errors.Is(err, syscall.ELOOP) {
		t.Errorf("root %v: %v", root, err)
	}
}

// TestBlockingSink: a FIFO that nobody empties stops nothing, and afterwards
// the log says how much is missing.
func TestBlockingSink(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := New(Options{Sink: "file:" + path}); err == nil {
		t.Fatal("a FIFO without a reader opened")
	}
	reader, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	log, closer := mustNew(t, Options{Sink: "file:" + path, Program: "p"})
	const lines = 5000 // more than pipe and queue hold
	for i := range lines {
		log.Info("line", Code(i), Reason(strings.Repeat("x", 200)))
	}
	q := closer.(*queue)
	if q.dropped.Load() == 0 {
		t.Fatal("nothing was dropped: the sink didn't block")
	}
	in := bufio.NewReader(reader)
	seen, lost := 0, 0
	for more := 0; seen+lost < lines+more; {
		if seen+lost == lines-int(q.dropped.Load())+more && more == 0 {
			log.Info("line", Code(lines)) // the next line brings the count
			more = 1
		}
		line, err := in.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if _, n, ok := strings.Cut(line, "lost="); ok {
			lost += atoi(t, n)
		} else {
			seen++
		}
	}
	if err := closer.Close(); err != nil {
		t.Error(err)
	}
	reader.Close()
	if lost == 0 {
		t.Error("no line says how many were lost")
	}
}

func atoi(t *testing.T, s string) (n int) {
	t.Helper()
	for _, c := range strings.TrimSpace(s) {
		n = n*10 + int(c-'0')
	}
	return n
}

// TestCloseUnderABlockedSink: closing waits a second and no longer, and leaves
// no goroutine behind where the sink can be closed.
func TestCloseUnderABlockedSink(t *testing.T) {
	before := runtime.NumGoroutine()
	path := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	reader, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	log, closer := mustNew(t, Options{Sink: "file:" + path, Program: "p"})
	for range 2000 {
		log.Info("line", Reason(strings.Repeat("x", 200)))
	}
	if err := closer.Close(); err != nil {
		t.Error(err)
	}
	waitFor(t, func() bool { return runtime.NumGoroutine() <= before })
	log.Info("after the end") // is lost, and no panic
}

// blockedSink takes nothing until it is opened.
type blockedSink struct{ open chan bool }

func (s blockedSink) write(lines [][]byte) (int, error) { <-s.open; return len(lines), nil }
func (s blockedSink) look() error                       { return nil }
func (s blockedSink) close() error                      { close(s.open); return nil }

func TestCloseWaitsASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := startQueue(blockedSink{make(chan bool)}, &format{})
		q.put([]byte("x\n"))
		began := time.Now()
		if err := q.Close(); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took != closeWait {
			t.Errorf("Close took %v, want %v", took, closeWait)
		}
	})
}

func TestSyslogComesAndGoes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	log, closer := mustNew(t, Options{Sink: "syslog", Program: "smtpd", Socket: path})
	defer closer.Close()
	q := closer.(*queue)
	o := Options{Socket: path}
	if o.CheckSyslog() == nil {
		t.Error("a daemon that isn't there can be reached")
	}
	log.Info("nobody there yet")
	waitFor(t, func() bool { return q.dropped.Load() == 1 })

	listen := func() *net.UnixConn {
		t.Helper()
		_ = os.Remove(path)
		daemon, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
		if err != nil {
			t.Fatal(err)
		}
		return daemon
	}
	want := func(daemon *net.UnixConn, pattern string) {
		t.Helper()
		buf := make([]byte, 2048)
		n, err := daemon.Read(buf)
		if err != nil || !regexp.MustCompile(pattern).Match(buf[:n]) {
			t.Errorf("got %q, %v, want %s", buf[:n], err, pattern)
		}
	}
	daemon := listen()
	if err := o.CheckSyslog(); err != nil {
		t.Error(err)
	}
	log.Info("first", QueueID("A1"))
	want(daemon, `^<20>\w{3} [ \d]\d \d\d:\d\d:\d\d smtpd\[\d+\]: warning: log lines lost lost=1$`)
	want(daemon, `^<22>\w{3} [ \d]\d \d\d:\d\d:\d\d smtpd\[\d+\]: first qid=A1$`)
	daemon.Close()
	daemon = listen() // restarted: the old connection is dead
	log.Info("second")
	want(daemon, `: second$`)
	daemon.Close()
}

func TestSyslogOverAStream(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	log, closer := mustNew(t, Options{Sink: "syslog", Program: "smtpd", Socket: path})
	log.Info("over a stream")
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if line, err := bufio.NewReader(conn).ReadString('\n'); err != nil || !strings.HasSuffix(line, ": over a stream\n") {
		t.Errorf("got %q, %v", line, err)
	}
	if err := closer.Close(); err != nil {
		t.Error(err)
	}
}

// TestConcurrentUse is for the race detector.
func TestConcurrentUse(t *testing.T) {
	var out bytes.Buffer
	log, closer := mustNew(t, Options{Sink: "stderr", Program: "p", Stderr: &out})
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for i := range 50 {
				log.With(Proc("x")).Info("line", Attempt(i))
			}
		})
	}
	all.Wait()
	if err := closer.Close(); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(out.String(), "\n"); n != 400 {
		t.Errorf("%d lines, want 400", n)
	}
}

// TestNames holds the names of the attributes, which log readers know.
func TestNames(t *testing.T) {
	var p smtp.Path
	want := "qid session proc client helo user tls from to orig_to size nrcpt msgid relay code dsn reply status delay attempt next filter option file reason err"
	var got []string
	for _, a := range []slog.Attr{QueueID(""), Session(""), Proc(""), Client(""), Helo(""), User(""), TLS(""), From(p), To(p), OrigTo(p),
		Size(0), NRcpt(0), MsgID(""), Relay(""), Code(0), DSN(""), Reply(smtp.Reply{}), Status(Sent), Delay(0), Attempt(0),
		Next(at), Filter(""), Option(""), File(""), Reason(""), Err(nil)} {
		got = append(got, a.Key)
	}
	if strings.Join(got, " ") != want {
		t.Errorf("got  %s\nwant %s", strings.Join(got, " "), want)
	}
}
