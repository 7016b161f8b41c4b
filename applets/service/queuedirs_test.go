package service

import (
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
)

// TestQueueDirs: former queue directories are told of while they hold mail, or
// something that isn't a folder has the name of one.
func TestQueueDirs(t *testing.T) {
	dir := t.TempDir()
	path, one, two := filepath.Join(dir, "run"), filepath.Join(dir, "one"), filepath.Join(dir, "two")
	r, err := LockRunDir(path, -1)
	must(t, err)
	defer r.Close()
	note := func(queue string, want ...string) {
		t.Helper()
		if left, err := r.NoteQueueDir(queue); err != nil || !slices.Equal(left, want) {
			t.Errorf("%s: %q, %v, want %q", queue, left, err, want)
		}
	}
	for _, queue := range []string{one, two} {
		must(t, os.MkdirAll(filepath.Join(queue, "queue"), 0o700))
	}
	note(one)
	mail := filepath.Join(one, "queue", "M")
	must(t, os.WriteFile(mail, nil, 0o600))
	note(one)
	if left := QueuesLeft(path, two); !slices.Equal(left, []string{one}) {
		t.Errorf("before the start with another: %q", left)
	}
	note(two, one)
	note(two, one)
	must(t, os.Remove(mail))
	must(t, syscall.Mkfifo(filepath.Join(one, "hold"), 0o600))
	note(two, one)
	must(t, os.Remove(filepath.Join(one, "hold")))
	note(two)
	must(t, os.WriteFile(mail, nil, 0o600))
	note(two) // forgotten
	must(t, os.RemoveAll(one))
	note(two)
}
