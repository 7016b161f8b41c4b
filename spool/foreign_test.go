package spool

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// intruders are what a queue may hold besides messages, under names that look
// like a message's (A32, R32).
var intruders = []struct {
	name string
	make func(t *testing.T, path string, good []byte)
	root bool // only root can make it
}{
	{name: "empty", make: writing(func([]byte) []byte { return nil })},
	{name: "zeros", make: writing(func(b []byte) []byte { return make([]byte, len(b)) })},
	{name: "random", make: writing(func([]byte) []byte { return []byte("\x8f\x01\x00no message\n") })},
	{name: "not finished", make: writing(func(b []byte) []byte { return append(unfinished(), b[len(unfinished()):]...) })},
	{name: "first line torn", make: writing(func(b []byte) []byte { return b[:20] })},
	{name: "envelope cut", make: writing(func(b []byte) []byte { return b[:len(unfinished())+30] })},
	{name: "data cut", make: writing(func(b []byte) []byte { return b[:len(b)-1] })},
	{name: "data changed", make: writing(func(b []byte) []byte { b[len(b)-2] ^= 1; return b })},
	{name: "recipient is a program", make: writing(func(b []byte) []byte {
		return []byte(strings.Replace(string(b), "to - <r0@example.org>", "to - |touch /tmp/x   ", 1)) // A18
	})},
	{name: "unknown state", make: writing(func(b []byte) []byte {
		return []byte(strings.Replace(string(b), "to - <r0", "to x <r0", 1))
	})},
	{name: "symbolic link", make: func(t *testing.T, path string, good []byte) {
		must(t, os.Symlink("/etc/passwd", path))
	}},
	{name: "dangling link", make: func(t *testing.T, path string, good []byte) {
		must(t, os.Symlink("nowhere", path))
	}},
	{name: "FIFO", make: func(t *testing.T, path string, good []byte) {
		must(t, syscall.Mkfifo(path, 0o600))
	}},
	{name: "directory", make: func(t *testing.T, path string, good []byte) {
		must(t, os.Mkdir(path, 0o700))
	}},
	{name: "sparse, 10 GB", make: func(t *testing.T, path string, good []byte) {
		must(t, os.WriteFile(path, nil, 0o600))
		must(t, os.Truncate(path, 10<<30))
	}},
	{name: "10 GB behind a message", make: func(t *testing.T, path string, good []byte) {
		must(t, os.WriteFile(path, good, 0o600))
		must(t, os.Truncate(path, 10<<30))
	}},
	{name: "mode 000", make: func(t *testing.T, path string, good []byte) {
		must(t, os.WriteFile(path, good, 0o600))
		must(t, os.Chmod(path, 0))
	}},
	{name: "writable by others", make: func(t *testing.T, path string, good []byte) {
		must(t, os.WriteFile(path, good, 0o600))
		must(t, os.Chmod(path, 0o666))
	}},
	{name: "another owner", root: true, make: func(t *testing.T, path string, good []byte) {
		must(t, os.WriteFile(path, good, 0o600))
		must(t, os.Chown(path, 1, 1))
	}},
}

func writing(change func(good []byte) []byte) func(*testing.T, string, []byte) {
	return func(t *testing.T, path string, good []byte) {
		must(t, os.WriteFile(path, change(append([]byte{}, good...)), 0o600))
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestA32Intruders: among 100 good messages all others are set aside and
// listed with a reason, none is deleted, and the good ones are delivered.
func TestA32Intruders(t *testing.T) {
	q, dir := tempQueue(t)
	var id ID
	for i := range 100 {
		id = accept(t, q, envelopeFor(1), letterOf(token(fmt.Sprint("good", i), 1, 100, false)))
	}
	good, err := os.ReadFile(filepath.Join(dir, "queue", string(id)))
	must(t, err)
	want := map[ID]string{}
	for i, x := range intruders {
		if x.root && os.Geteuid() != 0 {
			continue
		}
		id := ID(fmt.Sprintf("0000000000%04d", i))
		x.make(t, filepath.Join(dir, "queue", string(id)), good)
		want[id] = x.name
	}
	for _, name := range []string{"README", ".nfs0001", "00000000000001.bak", "core"} { // other programs' files
		must(t, os.WriteFile(filepath.Join(dir, "queue", name), good, 0o600))
	}
	for id, name := range want {
		s, err := q.Read(id)
		if name == "data changed" {
			continue // Claim sees it, a listing does not read the data
		}
		if err != nil || !s.Damaged || s.Reason == "" || s.Location != Active {
			t.Errorf("%s, before it is met: %+v, %v", name, s, err)
		}
	}

	delivered := 0
	must(t, deliverAll(q, func(line string) {
		if strings.HasPrefix(line, "took ") {
			delivered++
		}
	}))
	if delivered != 100 {
		t.Errorf("%d messages delivered, want 100", delivered)
	}
	if n := entries(t, q); n[Active] != 0 || n[Corrupt] != len(want) {
		t.Errorf("entries %v, want %d corrupt", n, len(want))
	}
	for id, name := range want {
		s, err := q.Read(id)
		if err != nil || !s.Damaged || s.Location != Corrupt {
			t.Errorf("%s: %+v, %v", name, s, err)
			continue
		}
		t.Logf("%-24s %s", name, s.Reason)
		if err := q.Release(id); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: release: %v, want ErrCorrupt", name, err)
		}
	}
}

// TestA32Mended: what a person has mended goes back into the queue.
func TestA32Mended(t *testing.T) {
	q, dir := tempQueue(t)
	id := accept(t, q, envelopeFor(1), text)
	must(t, os.Chmod(filepath.Join(dir, "queue", string(id)), 0o660))
	if _, err := q.Claim(id); !errors.Is(err, ErrCorrupt) {
		t.Fatalf("claim: %v, want ErrCorrupt", err)
	}
	must(t, os.Chmod(filepath.Join(dir, "corrupt", string(id)), 0o640))
	must(t, q.Release(id))
	if got := body(t, claim(t, q, id)); got != text {
		t.Errorf("data %q", got)
	}
}

// TestNewerFormat: a file of a later version stays where it is.
func TestNewerFormat(t *testing.T) {
	q, dir := tempQueue(t)
	name := filepath.Join(dir, "queue", "00000000000001")
	must(t, os.WriteFile(name, []byte("postoffice 2 envelope=1\nwhatever\n"), 0o600))
	if _, err := q.Claim("00000000000001"); !errors.Is(err, ErrLater) {
		t.Errorf("claim: %v, want ErrLater", err)
	}
	if _, err := os.Stat(name); err != nil {
		t.Error(err)
	}
}
