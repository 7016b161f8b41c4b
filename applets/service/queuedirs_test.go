package service

import (
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"postoffice/internal/testenv"
)

// TestQueueDirs: former queue directories are told of while they hold mail, or
// something that isn't a folder has the name of one.
func TestQueueDirs(t *testing.T) {
	dir := t.TempDir()
	path, one, two := filepath.Join(dir, "run"), filepath.Join(dir, "one"), filepath.Join(dir, "two")
	r, err := LockRunDir(path, -1)
	testenv.Must(t, err)
	defer r.Close()
	note := func(queue string, want ...string) {
		t.Helper()
		if left, err := r.NoteQueueDir(queue); err != nil || !slices.Equal(left, want) {
			t.Errorf("%s: %q, %v, want %q", queue, left, err, want)
		}
	}
	for _, queue := range []string{one, two} {
		testenv.Must(t, os.MkdirAll(filepath.Join(queue, "queue"), 0o700))
	}
	note(one)
	mail := filepath.Join(one, "queue", "M")
	testenv.Must(t, os.WriteFile(mail, nil, 0o600))
	note(one)
	if left := QueuesLeft(path, two); !slices.Equal(left, []string{one}) {
		t.Errorf("before the start with another: %q", left)
	}
	note(two, one)
	note(two, one)
	testenv.Must(t, os.Remove(mail))
	testenv.Must(t, syscall.Mkfifo(filepath.Join(one, "hold"), 0o600))
	note(two, one)
	testenv.Must(t, os.Remove(filepath.Join(one, "hold")))
	note(two)
	testenv.Must(t, os.WriteFile(mail, nil, 0o600))
	note(two) // forgotten
	testenv.Must(t, os.RemoveAll(one))
	note(two)
}

// TestQueueDirsAway: a former queue directory on a disk that isn't mounted now is told of
// when it is there again: its mount point is empty, or missing, meanwhile.
func TestQueueDirsAway(t *testing.T) {
	dir := t.TempDir()
	path, one, two, disk := filepath.Join(dir, "run"), filepath.Join(dir, "one"), filepath.Join(dir, "two"), filepath.Join(dir, "disk")
	r, err := LockRunDir(path, -1)
	testenv.Must(t, err)
	defer r.Close()
	note := func(when, queue string, want ...string) {
		t.Helper()
		if left, err := r.NoteQueueDir(queue); err != nil || !slices.Equal(left, want) {
			t.Errorf("%s: %q, %v, want %q", when, left, err, want)
		}
	}
	testenv.Must(t, os.MkdirAll(filepath.Join(one, "queue"), 0o700))
	testenv.Must(t, os.WriteFile(filepath.Join(one, "queue", "M"), nil, 0o600))
	note("at first", one)
	testenv.Must(t, os.Rename(one, disk))
	note("its mount point is missing", two)
	testenv.Must(t, os.Mkdir(one, 0o700))
	note("its mount point is empty", two)
	testenv.Must(t, os.Remove(one))
	testenv.Must(t, os.Rename(disk, one))
	if left := QueuesLeft(path, two); !slices.Equal(left, []string{one}) {
		t.Errorf("it is there again, before the start: %q", left)
	}
	note("at the start", two, one)
	testenv.Must(t, os.Remove(filepath.Join(one, "queue", "M")))
	note("it is empty", two)
	testenv.Must(t, os.WriteFile(filepath.Join(one, "queue", "M"), nil, 0o600))
	note("and forgotten", two)
}
