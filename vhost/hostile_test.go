package vhost

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
)

// TestHostileOwner: whatever the owner of a domain puts in the place of its files is later
// for that domain, is neither waited for nor read as something else, and takes no memory by
// its size; another domain is answered all the while.
func TestHostileOwner(t *testing.T) {
	const secret = "root:$6$secret\nsecret: bob\n"
	dir := newDir(t, "owner:v.example:1:\nowner:w.example:1:\n", "bob:x\n")
	other := filepath.Join(dir, "w.example")
	must(t, os.Mkdir(other, 0o755), os.WriteFile(filepath.Join(other, PasswdFile), []byte("eve:x\n"), 0o600), os.WriteFile(filepath.Join(other, AliasesFile), []byte("all: eve\n"), 0o600))
	elsewhere := filepath.Join(t.TempDir(), "file")
	must(t, os.WriteFile(elsewhere, []byte(secret), 0o600))
	s := New(dir, owners{})
	for _, tt := range []struct {
		name string
		make func(path string) error
	}{
		{"a FIFO", func(path string) error { return syscall.Mkfifo(path, 0o600) }},
		{"a link to another's file", func(path string) error { return os.Symlink(elsewhere, path) }},
		{"a link to a device without end", func(path string) error { return os.Symlink("/dev/zero", path) }},
		{"a link to itself", func(path string) error { return os.Symlink(filepath.Base(path), path) }},
		{"a link to nothing", func(path string) error { return os.Symlink("nothing", path) }},
		{"another name of a file", func(path string) error { return os.Link(elsewhere, path) }},
		{"a directory", func(path string) error { return os.Mkdir(path, 0o755) }},
		{"a socket", func(path string) error {
			fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_DGRAM, 0)
			if err != nil {
				return err
			}
			defer syscall.Close(fd)
			was, err := os.Getwd()
			if err != nil {
				return err
			}
			defer os.Chdir(was) // the path of a socket is short
			return errors.Join(os.Chdir(filepath.Dir(path)), syscall.Bind(fd, &syscall.SockaddrUnix{Name: filepath.Base(path)}))
		}},
		{"4 GiB without a line", func(path string) error {
			f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o600)
			if err != nil {
				return err
			}
			return errors.Join(f.Truncate(4<<30), f.Close())
		}},
		{"octets by chance", func(path string) error {
			return os.WriteFile(path, []byte("\x00\xff\x7fELF: |x\n\n:\n\r\r\n\x00:"), 0o600)
		}},
		{"a file that others may write", func(path string) error {
			return errors.Join(os.WriteFile(path, []byte("bob:x\nbob: eve\n"), 0o600), os.Chmod(path, 0o666))
		}},
	} {
		for _, name := range []string{PasswdFile, AliasesFile, AliasesFile + ".db"} {
			write(t, dir, PasswdFile, "bob:x\n")
			write(t, dir, AliasesFile, "info: bob\n")
			path := filepath.Join(dir, "v.example", name)
			must(t, os.RemoveAll(path))
			if err := tt.make(path); err != nil {
				t.Fatalf("%s: %v", tt.name, err)
			}
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, user := s.User(t.Context(), "v.example", "nobody")
			found, alias := s.Alias(t.Context(), "v.example", "secret")
			runtime.ReadMemStats(&after)
			err := alias
			if name == PasswdFile {
				err = user
			}
			if err == nil || errors.Is(err, ErrNoUser) || errors.Is(err, ErrNoAlias) {
				t.Errorf("%s for %s: %v, %v, want later", tt.name, name, found, err)
			}
			if n := after.TotalAlloc - before.TotalAlloc; n > 64<<20 {
				t.Errorf("%s for %s takes %d octets of memory", tt.name, name, n)
			}
			box, err := s.User(t.Context(), "w.example", "eve")
			if all, aerr := s.Alias(t.Context(), "w.example", "all"); box.Name != "eve" || all.Value != "eve" || err != nil || aerr != nil {
				t.Errorf("%s for %s: another domain: %v, %v, %v, %v", tt.name, name, box, err, all, aerr)
			}
			must(t, os.RemoveAll(path))
		}
	}
}
