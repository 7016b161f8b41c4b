//go:build e2e

// These tests give files to other users, which takes root.

package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestDefaultFile is section 2.2 of the original's behaviour: nobody but root
// can have written the default file or any directory above it.
func TestDefaultFile(t *testing.T) {
	// The directory must itself be below directories of root's alone, so it
	// can't be in /tmp.
	top, err := os.MkdirTemp("/root", "config-test-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(top)
	good := func(t *testing.T) string {
		dir := filepath.Join(top, strings.NewReplacer("/", "_", " ", "_").Replace(t.Name()))
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		name := filepath.Join(dir, "cf")
		if err := os.WriteFile(name, []byte("qreturn=1d\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		return name
	}
	for _, tt := range []struct {
		name  string
		spoil func(name string) error
		want  string // "" is fine
	}{
		{"as it should be", func(string) error { return nil }, ""},
		{"group 0 may write", func(name string) error { return os.Chmod(name, 0o664) }, ""},
		{"sticky directory of a group", func(name string) error {
			return errors.Join(os.Chown(filepath.Dir(name), 0, 8), os.Chmod(filepath.Dir(name), 0o775|os.ModeSticky))
		}, ""},
		{"link to a good file", func(name string) error {
			return errors.Join(os.Rename(name, name+".real"), os.Symlink(name+".real", name))
		}, ""},
		{"owner", func(name string) error { return os.Chown(name, 1000, 0) }, "owner is uid 1000"},
		{"group", func(name string) error { return errors.Join(os.Chown(name, 0, 8), os.Chmod(name, 0o664)) }, "group 8 may write"},
		{"everybody", func(name string) error { return os.Chmod(name, 0o646) }, "everybody may write"},
		{"directory of a user", func(name string) error { return os.Chown(filepath.Dir(name), 1000, 0) }, "is not a secure path: its owner is uid 1000"},
		{"directory of a group", func(name string) error {
			return errors.Join(os.Chown(filepath.Dir(name), 0, 8), os.Chmod(filepath.Dir(name), 0o775))
		}, "is not a secure path: group 8"},
		{"directory of everybody", func(name string) error { return os.Chmod(filepath.Dir(name), 0o777|os.ModeSticky) }, "is not a secure path: everybody"},
		{"FIFO", func(name string) error { return errors.Join(os.Remove(name), syscall.Mkfifo(name, 0o644)) }, "not a regular file"},
		{"directory", func(name string) error { return errors.Join(os.Remove(name), os.Mkdir(name, 0o755)) }, "not a regular file"},
		{"link into a directory of everybody", func(name string) error {
			bad := filepath.Join(filepath.Dir(name), "bad")
			return errors.Join(os.Mkdir(bad, 0o755), os.Chmod(bad, 0o777), os.Rename(name, bad+"/cf"), os.Symlink(bad+"/cf", name))
		}, "is not a secure path: everybody"},
		{"link to nothing", func(name string) error { return errors.Join(os.Remove(name), os.Symlink("gone.cf", name)) }, "is a link to gone.cf, which leads to nothing"},
		{"link in a circle", func(name string) error { return errors.Join(os.Remove(name), os.Symlink(name, name)) }, "can't stat"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			name := good(t)
			if err := tt.spoil(name); err != nil {
				t.Fatal(err)
			}
			f, err := openDefault(name, 0)
			if f != nil {
				f.Close()
			}
			switch {
			case tt.want == "" && err != nil:
				t.Errorf("refused: %v", err)
			case tt.want != "" && (!errors.Is(err, ErrInsecure) || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
	if _, err := openDefault(filepath.Join(top, "missing"), 0); err != os.ErrNotExist {
		t.Errorf("missing file: %v, want %v", err, os.ErrNotExist)
	}
	for _, name := range []string{"cf", "/" + strings.Repeat("x", maxPath)} {
		if _, err := openDefault(name, 0); !errors.Is(err, ErrInsecure) {
			t.Errorf("%.20q: %v, want %v", name, err, ErrInsecure)
		}
	}
}

// TestNamedFile: a -C file is root's or the caller's, and no one else may
// write it.
func TestNamedFile(t *testing.T) {
	for _, tt := range []struct {
		name  string
		spoil func(name string) error
		uid   int
		kind  error // nil is fine
	}{
		{"root's, by root", func(string) error { return nil }, 0, nil},
		{"root's, by a user", func(string) error { return nil }, 1000, nil},
		{"the user's, by himself", func(n string) error { return os.Chown(n, 1000, 1000) }, 1000, nil},
		{"the user's, by root", func(n string) error { return os.Chown(n, 1000, 1000) }, 0, ErrInsecure},
		{"another user's", func(n string) error { return os.Chown(n, 1001, 1001) }, 1000, ErrInsecure},
		{"open to all", func(n string) error { return os.Chmod(n, 0o666) }, 0, ErrInsecure},
		{"open to a group", func(n string) error { return errors.Join(os.Chown(n, 1000, 8), os.Chmod(n, 0o660)) }, 1000, ErrInsecure},
		{"missing", os.Remove, 0, ErrUnreadable},
		{"FIFO", func(n string) error { return errors.Join(os.Remove(n), syscall.Mkfifo(n, 0o600)) }, 0, ErrInsecure},
		{"directory", func(n string) error { return errors.Join(os.Remove(n), os.Mkdir(n, 0o755)) }, 0, ErrInsecure},
	} {
		t.Run(tt.name, func(t *testing.T) {
			name := filepath.Join(t.TempDir(), "cf")
			if err := errors.Join(os.WriteFile(name, []byte("qreturn=1d\n"), 0o600), tt.spoil(name)); err != nil {
				t.Fatal(err)
			}
			c, err := Load(Options{File: name, UID: tt.uid}) // of a FIFO: a read would wait without end
			if !errors.Is(err, tt.kind) || (err == nil) != (tt.kind == nil) {
				t.Errorf("got %v, want %v", err, tt.kind)
			}
			if err == nil && c.QReturn != day {
				t.Errorf("qreturn %v: the file was not read", c.QReturn)
			}
		})
	}
}
