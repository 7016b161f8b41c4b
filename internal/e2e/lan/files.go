//go:build e2e

package lan

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postoffice/internal/testenv"
)

// Pause waits without being deaf; false: ctx has ended.
func Pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// ReadDir lists a directory; an error ends the test.
func ReadDir(t *testing.T, dir string) []os.DirEntry {
	t.Helper()
	all, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// patience is what every condition gets, however busy the machine is.
const patience = time.Minute

// Until waits for a condition, at most for the given time, or a minute if that is
// shorter, and ends the test with what when it never comes true.
func Until(t *testing.T, limit time.Duration, what string, cond func() bool) {
	t.Helper()
	limit = max(limit, patience)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(limit); !cond(); <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", limit, what)
		}
	}
}

// Sh runs a command on the machine itself, to its end; a failure ends the test.
func Sh(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %v\n%s", args, err, out)
	}
	return string(out)
}

// WriteFile writes a file, and makes the directories above it.
func WriteFile(t *testing.T, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// Tail returns the last lines of a text.
func Tail(s string, lines int) string {
	all := strings.Split(strings.TrimRight(s, "\n"), "\n")
	if len(all) > lines {
		all = all[len(all)-lines:]
	}
	return strings.Join(all, "\n")
}

// Contains reports whether the file holds the text; a missing file does not.
func Contains(name, text string) bool {
	b, err := os.ReadFile(name)
	return err == nil && bytes.Contains(b, []byte(text))
}

// Says waits for a text in a log, which is written a moment after what it tells of, and
// reports whether it came.
func Says(log, text string) bool {
	return testenv.Eventually(func() bool { return Contains(log, text) })
}
