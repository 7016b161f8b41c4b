package testenv

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Main returns the exit code of the TestMain of every package whose code starts
// /proc/self/exe with a role in argv[0], such as "postoffice: server": in a test
// that is the test binary, which would run the tests again, and those would start
// it again, without end. It runs what role returns for argv[0]; an argv[0] that is a
// role, with ": " in it, and for which that is nil, ends at once with exit code 70.
// Under any other name it runs the tests. TestRoles of internal/house holds the
// packages to it.
func Main(tests func() int, role func(argv0 string) func() int) int {
	argv0 := os.Args[0]
	if !strings.Contains(argv0, ": ") {
		return tests()
	}
	if role != nil {
		if run := role(argv0); run != nil {
			return run()
		}
	}
	fmt.Fprintf(os.Stderr, "this is a test binary, which can't be %q: give that role a line in the package's TestMain\n", argv0)
	return 70 // EX_SOFTWARE of sysexits(3)
}

// NeedsRoot fails a test that somebody else runs than root; what is why, as "starts processes
// as other users". make quick leaves out the tests that ask, for an ordinary user:
// testdata/tools/rooted.go finds them.
func NeedsRoot(t testing.TB, what string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatalf("this test %s: run it as root", what)
	}
}

// Eventually waits until ok says so. On a busy machine everything takes long: after
// a minute without it is false.
func Eventually(ok func() bool) bool {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(time.Minute); !ok(); <-tick.C {
		if time.Now().After(end) {
			return false
		}
	}
	return true
}

// Stop stops processes, and returns when none of their threads runs any more: after
// kill(2) one may go on for a while on another processor. A process that is gone has
// stopped.
func Stop(pids ...int) error {
	for _, pid := range pids {
		if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil && !errors.Is(err, syscall.ESRCH) {
			return err
		}
	}
	moving := 0
	if Eventually(func() bool {
		moving = 0
		for _, pid := range pids {
			moving += threadsMoving(pid)
		}
		return moving == 0
	}) {
		return nil
	}
	return fmt.Errorf("%d threads don't stop", moving)
}

// threadsMoving counts the threads of a process that are not stopped.
func threadsMoving(pid int) (n int) {
	stats, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	for _, name := range stats {
		text, err := os.ReadFile(name)
		if err != nil {
			continue // it has ended
		}
		if _, behind, _ := strings.Cut(string(text), ") "); behind != "" && strings.IndexByte("TtZX", behind[0]) < 0 {
			n++
		}
	}
	return n
}

// OwnAddress is an address of this machine that no other process uses: a port of
// it that was free, or is given up for a moment, is nobody else's meanwhile. A port of
// 127.0.0.1 may become that of any program's connection.
func OwnAddress() string {
	pid := os.Getpid()
	return fmt.Sprintf("127.%d.%d.%d", 1+pid>>16&63, pid>>8&255, pid&255)
}

// Must ends a test for an error.
func Must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Log is a log that can be read while it is written, and waited for. The zero value is
// ready.
type Log struct {
	mu      sync.Mutex // guards what follows
	text    strings.Builder
	changed chan struct{}
}

// Write implements io.Writer.
func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.changed != nil {
		close(l.changed)
		l.changed = nil
	}
	return l.text.Write(p)
}

// String is what was logged so far.
func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// Take is String, and forgets it.
func (l *Log) Take() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.text.Reset()
	return l.text.String()
}

// Logger writes lines of every level into it.
func (l *Log) Logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// Wait returns when text has been logged n times.
func (l *Log) Wait(t testing.TB, text string, n int) {
	t.Helper()
	limit := time.After(time.Minute)
	for {
		l.mu.Lock()
		if strings.Count(l.text.String(), text) >= n {
			l.mu.Unlock()
			return
		}
		if l.changed == nil {
			l.changed = make(chan struct{})
		}
		c := l.changed
		l.mu.Unlock()
		select {
		case <-c:
		case <-limit:
			t.Fatalf("%q was not logged %d times", text, n)
		}
	}
}

// Descriptors is how many this process has open.
func Descriptors() int {
	names, _ := os.ReadDir("/proc/self/fd")
	return len(names)
}

// OpenFiles are this process's descriptors that lead to a file.
func OpenFiles() string {
	var list []string
	entries, _ := os.ReadDir("/proc/self/fd")
	for _, e := range entries {
		if name, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil && strings.HasPrefix(name, "/") && !strings.HasPrefix(name, "/proc/") {
			list = append(list, name)
		}
	}
	return strings.Join(list, " ")
}

// ByJSON returns a value as another process gets it that reads it as JSON.
func ByJSON[T any](tb testing.TB, v T) (read T) {
	tb.Helper()
	text, err := json.Marshal(v)
	if err == nil {
		err = json.Unmarshal(text, &read)
	}
	if err != nil {
		tb.Fatal(err)
	}
	return read
}
