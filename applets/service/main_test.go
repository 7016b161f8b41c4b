//go:build linux

package service

import (
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"postoffice/internal/testenv"
)

// TestMain is also every process that the tests start.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == firstRole { // unshare(1) gives it its argv[0]
		os.Exit(fakeFirst())
	}
	os.Exit(testenv.Main(m.Run, func(argv0 string) func() int {
		return map[string]func() int{MasterRole: func() int { return fakeMaster(os.Args[1:]) }, workerRole: fakeWorker}[argv0]
	}))
}

// safeLog is a log that can be read while it is written, and waited for.
type safeLog struct {
	mu      sync.Mutex // guards what follows
	text    strings.Builder
	changed chan struct{}
}

func (l *safeLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.changed != nil {
		close(l.changed)
		l.changed = nil
	}
	return l.text.Write(p)
}

func (l *safeLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// wait returns when text has been logged n times.
func (l *safeLog) wait(t *testing.T, text string, n int) {
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

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// openFiles lists this process's descriptors that lead to a file.
func openFiles() string {
	var list []string
	entries, _ := os.ReadDir("/proc/self/fd")
	for _, e := range entries {
		if name, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil && strings.HasPrefix(name, "/") && !strings.HasPrefix(name, "/proc/") {
			list = append(list, name)
		}
	}
	return strings.Join(list, " ")
}

func countFiles(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	must(t, err)
	return len(entries)
}
