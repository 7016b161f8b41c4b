package watched

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// write puts a text into a file that wasn't there, so that it is another one.
func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path+".new", []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// TestFile: a file, one that it names, their changes and their faults.
func TestFile(t *testing.T) {
	dir := t.TempDir()
	path, other := filepath.Join(dir, "file"), filepath.Join(dir, "other")
	synctest.Test(t, func(t *testing.T) {
		var told []string
		parsed := 0
		f := &File[string]{Path: path, Most: 100, Missed: "nothing is known"}
		get := func(want string, wantKnown bool) {
			t.Helper()
			v, known := f.Get(func(text string) string {
				parsed++
				if name, ok := strings.CutPrefix(text, "see "); ok {
					text, _ = f.Named(name)
				}
				return text
			}, func(err error, advice string) { told = append(told, err.Error()+": "+advice) })
			if v != want || known != wantKnown {
				t.Errorf("got %q, %v, want %q, %v; told %q", v, known, want, wantKnown, told)
			}
		}
		next := func() { time.Sleep(LookWait) }
		if err := syscall.Mkfifo(path, 0o600); err != nil {
			t.Fatal(err)
		}
		get("", false)
		next()
		get("", false)
		if len(told) != 1 || !strings.Contains(told[0], "nothing is known") {
			t.Errorf("told %q, want the fault once", told)
		}
		write(t, path, "one")
		get("", false) // it is not looked at yet
		next()
		get("one", true)
		write(t, other, "two")
		write(t, path, "see "+other)
		next()
		get("two", true)
		write(t, other, "three")
		next()
		get("three", true)
		before := parsed
		next()
		get("three", true)
		if parsed != before {
			t.Error("what is the same is parsed again")
		}
		write(t, path, strings.Repeat("x", 101))
		next()
		get("three", true)
		if len(told) != 2 || !strings.Contains(told[1], "what it said before goes on") {
			t.Errorf("told %q, want the second fault", told)
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		next()
		get("", true)
	})
}

// TestCheck: a look without a File.
func TestCheck(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	for _, name := range []string{"", path} {
		if text, err := Check(name, 10, "nothing", false); text != "" || err != nil {
			t.Errorf("%q: %q, %v", name, text, err)
		}
	}
	write(t, path, "\ufefftext") // with the mark of some editors
	if text, err := Check(path, 10, "nothing", false); text != "text" || err != nil {
		t.Errorf("%q, %v", text, err)
	}
	if _, err := Check(path, 3, "nobody is let in", false); err == nil || !strings.Contains(err.Error(), "nobody is let in") {
		t.Errorf("one that is too long: %v", err)
	}
	if _, err := Read(dir, 10); err == nil || errors.Is(err, os.ErrNotExist) {
		t.Errorf("a directory: %v", err)
	}
}

// A file that has to be there is a fault while it isn't, and so is a link that leads to
// nothing; what was read before goes on.
func TestMust(t *testing.T) {
	dir := t.TempDir()
	path, link := filepath.Join(dir, "file"), filepath.Join(dir, "link")
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		for _, f := range []*File[string]{{Path: path, Must: true}, {Path: link}, {Path: path}} {
			f.Most, f.Missed = 100, "nothing is known"
			os.Remove(path)
			told := ""
			get := func() (string, bool) {
				time.Sleep(LookWait)
				return f.Get(func(text string) string { return text }, func(err error, advice string) { told += advice })
			}
			empty := f.Path == path && !f.Must
			if v, known := get(); v != "" || known != empty || (told == "") != empty || !empty && told != "nothing is known; make it, if only by touch "+f.Path+", or mount it" {
				t.Errorf("%+v, missing: %q, %v, told %q", f, v, known, told)
			}
			if _, err := Check(f.Path, 100, "", f.Must); (err == nil) != empty {
				t.Errorf("Check of %+v: %v", f, err)
			}
			write(t, path, "one")
			if v, known := get(); v != "one" || !known {
				t.Errorf("%+v, there: %q, %v", f, v, known)
			}
			os.Remove(path)
			if v, known := get(); (v == "") != empty || !known {
				t.Errorf("%+v, gone: %q, %v", f, v, known)
			}
		}
	})
}
