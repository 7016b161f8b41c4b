package crashfs_test

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync"
	"testing"

	"postoffice/internal/disk"
	"postoffice/internal/disk/crashfs"
)

// The programs that the model is tried on: each stores messages in /q, as a
// file m-N, and acknowledges each. They differ in what they leave out.

const body = "one line of a message\nand another one\n"

// steps is what a program does.
type steps struct {
	tmp     bool // write in /q/tmp, then rename
	sync    bool
	dirSync bool
}

// store writes one message.
func store(d disk.FS, name string, s steps) (err error) {
	q, err := d.OpenDir("/q")
	if err != nil {
		return err
	}
	defer closing(&err, q)
	at := q
	if s.tmp {
		if at, err = q.OpenDir("tmp"); err != nil {
			return err
		}
		defer closing(&err, at)
	}
	f, err := at.Create(name, 0o600)
	if err != nil {
		return err
	}
	if err := put(f, s); err != nil {
		return errors.Join(err, f.Close(), at.Unlink(name))
	}
	if err := f.Close(); err != nil {
		return errors.Join(err, at.Unlink(name))
	}
	if s.tmp {
		if err := at.RenameNoReplace(name, q, name); err != nil {
			return errors.Join(err, at.Unlink(name))
		}
	}
	if s.dirSync {
		if err := q.Sync(); err != nil {
			return errors.Join(err, q.Unlink(name))
		}
	}
	return nil
}

func put(f disk.File, s steps) error {
	for _, line := range strings.SplitAfter(body, "\n") {
		if _, err := f.Write([]byte(line)); err != nil {
			return err
		}
	}
	if s.sync {
		return f.Sync()
	}
	return nil
}

func closing(err *error, c interface{ Close() error }) {
	*err = errors.Join(*err, c.Close())
}

// program stores n messages.
func program(n int, s steps) crashfs.Scenario {
	return func(d disk.FS, ack func(string)) error {
		for i := range n {
			name := fmt.Sprintf("m-%d", i)
			if err := store(d, name, s); err != nil {
				return err
			}
			ack(name)
		}
		return nil
	}
}

// whole: what was acknowledged is there whole; what is there is whole.
func whole(t testing.TB, d disk.FS, acked []string) {
	f := d.(*crashfs.FS)
	for _, name := range acked {
		if got, err := f.ReadFile("/q/" + name); err != nil || string(got) != body {
			t.Fatalf("%s was acknowledged: got %q, %v, want %q", name, got, err, body)
		}
	}
	q, err := d.OpenDir("/q")
	if err != nil {
		t.Fatal(err)
	}
	for name, err := range q.Names() {
		if err != nil {
			t.Fatal(err)
		}
		i, err := q.Lstat(name)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := f.ReadFile("/q/" + name); i.Mode.IsRegular() && string(got) != body {
			t.Errorf("%s: got %q, %v, want %q", name, got, err, body)
		}
	}
}

var queue = crashfs.Run{Prepare: func(f *crashfs.FS) { f.MkdirAll("/q/tmp", 0o700) }}

// quiet is a testing.TB that takes failures as answers.
type quiet struct {
	testing.TB
	mu     sync.Mutex
	lines  []string
	failed bool
}

func (q *quiet) add(failed bool, line string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.lines, q.failed = append(q.lines, line), q.failed || failed
}

func (q *quiet) Helper()                           {}
func (q *quiet) Logf(format string, args ...any)   { q.add(false, fmt.Sprintf(format, args...)) }
func (q *quiet) Errorf(format string, args ...any) { q.add(true, fmt.Sprintf(format, args...)) }
func (q *quiet) Fatalf(format string, args ...any) { q.Errorf(format, args...); panic(q) }
func (q *quiet) Fatal(args ...any)                 { q.Fatalf("%v", args) }
func (q *quiet) FailNow()                          { q.add(true, ""); panic(q) }

// finds reports whether run fails its test, and with what.
func finds(t testing.TB, run func(testing.TB)) (found bool, said string) {
	q := &quiet{TB: t}
	defer func() {
		if p := recover(); p != nil && p != any(q) {
			panic(p)
		}
		found, said = q.failed, strings.Join(q.lines, "\n")
	}()
	run(q)
	return
}

func notExist(err error) bool { return errors.Is(err, fs.ErrNotExist) }
