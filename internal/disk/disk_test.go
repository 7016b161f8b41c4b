package disk_test

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"postoffice/internal/disk"
	"postoffice/internal/disk/crashfs"
)

// place is a file system with an empty directory to work in.
type place struct {
	name string
	fs   disk.FS
	path string
	real bool
}

// places are both real implementations, each on the temporary directory's
// file system and on a tmpfs, and the model.
func places(t *testing.T) []place {
	model := crashfs.New()
	model.MkdirAll("/q", 0o700)
	all := []place{{"model", model, "/q", false}}
	for _, parent := range []string{os.TempDir(), "/dev/shm"} {
		for name, real := range map[string]disk.FS{"OS": disk.OS(), "portable": disk.Portable()} {
			dir, err := os.MkdirTemp(parent, "disk-test-")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = os.RemoveAll(dir) })
			all = append(all, place{name + " on " + parent, real, dir, true})
		}
	}
	return all
}

// everywhere runs f in each place.
func everywhere(t *testing.T, f func(t *testing.T, p place, d disk.Dir)) {
	t.Helper()
	for _, p := range places(t) {
		t.Run(p.name, func(t *testing.T) {
			d, err := p.fs.OpenDir(p.path)
			if err != nil {
				t.Fatal(err)
			}
			f(t, p, d)
			if err := d.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// must fails the test on an error.
func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func create(t *testing.T, d disk.Dir, name, data string) disk.File {
	t.Helper()
	f := must[disk.File](t)(d.Create(name, 0o600))
	must[int](t)(f.Write([]byte(data)))
	return f
}

func read(t *testing.T, f disk.File) string {
	t.Helper()
	i := must[disk.Info](t)(f.Stat())
	return string(must[[]byte](t)(io.ReadAll(io.NewSectionReader(f, 0, i.Size))))
}

func names(t *testing.T, d disk.Dir) (all []string) {
	t.Helper()
	for name, err := range d.Names() {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, name)
	}
	slices.Sort(all)
	return all
}

func wantErr(t *testing.T, what string, got, want error) {
	t.Helper()
	if !errors.Is(got, want) || (got == nil) != (want == nil) {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

func TestFile(t *testing.T) {
	everywhere(t, func(t *testing.T, _ place, d disk.Dir) {
		f := create(t, d, "a", "0123456789")
		must[int](t)(f.WriteAt([]byte("X"), 3))
		must[int](t)(f.Write([]byte("ab"))) // at the end, wherever WriteAt was
		if got, want := read(t, f), "012X456789ab"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		wantErr(t, "truncate", f.Truncate(4), nil)
		must[int](t)(f.Write([]byte("end")))
		wantErr(t, "sync", f.Sync(), nil)
		wantErr(t, "datasync", f.Datasync(), nil)
		wantErr(t, "close", f.Close(), nil)
		wantErr(t, "close twice", f.Close(), syscall.EBADF)
		_, err := f.Write([]byte("x"))
		wantErr(t, "write after close", err, syscall.EBADF)

		g := must[disk.File](t)(d.Open("a", disk.ReadOnly))
		defer g.Close()
		if got, want := read(t, g), "012Xend"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		_, err = g.Write([]byte("x"))
		wantErr(t, "write, opened for reading", err, syscall.EBADF)
		buf := make([]byte, 10)
		n, err := g.ReadAt(buf, 5)
		if n != 2 || err != io.EOF {
			t.Errorf("read over the end: %d, %v", n, err)
		}
	})
}

// TestTwoWriters: two open files on one file append after each other (A46).
func TestTwoWriters(t *testing.T) {
	everywhere(t, func(t *testing.T, _ place, d disk.Dir) {
		f := create(t, d, "a", "1")
		g := must[disk.File](t)(d.Open("a", disk.ReadWrite))
		must[int](t)(g.Write([]byte("2")))
		must[int](t)(f.Write([]byte("3")))
		must[int](t)(g.Write([]byte("4")))
		if got := read(t, f); got != "1234" {
			t.Errorf("got %q", got)
		}
	})
}

// TestNames: nothing is replaced but by Rename (A30), and no name leaves the
// directory.
func TestNames(t *testing.T) {
	everywhere(t, func(t *testing.T, _ place, d disk.Dir) {
		wantErr(t, "mkdir", d.Mkdir("sub", 0o700), nil)
		wantErr(t, "mkdir again", d.Mkdir("sub", 0o700), fs.ErrExist)
		sub := must[disk.Dir](t)(d.OpenDir("sub"))
		defer sub.Close()
		a, b := create(t, d, "a", "A"), create(t, sub, "b", "B")
		defer a.Close()
		defer b.Close()

		_, err := d.Create("a", 0o600)
		wantErr(t, "create over a file", err, fs.ErrExist)
		wantErr(t, "rename without replacing", d.RenameNoReplace("a", sub, "b"), fs.ErrExist)
		wantErr(t, "link", d.Link("a", sub, "b"), fs.ErrExist)
		wantErr(t, "rename what is not there", d.RenameNoReplace("no", sub, "c"), fs.ErrNotExist)
		_, err = d.Lstat("no")
		wantErr(t, "stat what is not there", err, fs.ErrNotExist)
		_, err = d.Open("no", disk.ReadOnly)
		wantErr(t, "open what is not there", err, fs.ErrNotExist)
		wantErr(t, "unlink what is not there", d.Unlink("no"), fs.ErrNotExist)
		wantErr(t, "unlink a directory", d.Unlink("sub"), syscall.EISDIR)

		wantErr(t, "link", d.Link("a", sub, "a2"), nil)
		if i := must[disk.Info](t)(a.Stat()); i.Nlink != 2 || !i.Same(must[disk.Info](t)(sub.Lstat("a2"))) {
			t.Errorf("after a link: %+v", i)
		}
		wantErr(t, "rename without replacing", d.RenameNoReplace("a", sub, "c"), nil)
		wantErr(t, "rename over b", sub.Rename("c", sub, "b"), nil)
		if i := must[disk.Info](t)(b.Stat()); i.Nlink != 0 {
			t.Errorf("replaced file: %+v", i)
		}
		wantErr(t, "unlink", sub.Unlink("a2"), nil)
		wantErr(t, "sync", errors.Join(sub.Sync(), d.Sync()), nil)
		if got, want := names(t, d), []string{"sub"}; !slices.Equal(got, want) {
			t.Errorf("directory: %q, want %q", got, want)
		}
		if got, want := names(t, sub), []string{"b"}; !slices.Equal(got, want) {
			t.Errorf("sub: %q, want %q", got, want)
		}
		for _, name := range []string{"", ".", "..", "sub/b", "/etc/passwd", "a\x00b"} {
			_, err := d.Open(name, disk.ReadOnly)
			wantErr(t, "open "+name, err, disk.ErrName)
			_, err = d.Create(name, 0o600)
			wantErr(t, "create "+name, err, disk.ErrName)
			wantErr(t, "unlink "+name, d.Unlink(name), disk.ErrName)
			wantErr(t, "rename to "+name, sub.Rename("b", d, name), disk.ErrName)
		}
	})
}

// TestNamesMany: a listing is whole over many buffers, and two at once don't
// disturb each other.
func TestNamesMany(t *testing.T) {
	everywhere(t, func(t *testing.T, _ place, d disk.Dir) {
		const n = 800 // three buffers
		for i := range n {
			must[disk.File](t)(d.Create(strings.Repeat("x", 60)+string(rune('A'+i%26))+time.Duration(i).String(), 0o600)).Close()
		}
		outer := 0
		for range d.Names() {
			if outer++; outer == n/2 {
				if got := len(names(t, d)); got != n {
					t.Errorf("inner listing has %d names", got)
				}
			}
		}
		if outer != n {
			t.Errorf("outer listing has %d names", outer)
		}
	})
}

// TestNotRegular: what another may have put in the place of a file is neither
// followed, nor waited for, nor opened (A32, A44).
func TestNotRegular(t *testing.T) {
	everywhere(t, func(t *testing.T, p place, d disk.Dir) {
		if p.real {
			for _, err := range []error{
				os.Symlink("/etc/passwd", filepath.Join(p.path, "link")),
				os.Symlink("nowhere", filepath.Join(p.path, "dangling")),
				unix.Mkfifo(filepath.Join(p.path, "fifo"), 0o600),
				unix.Mknod(filepath.Join(p.path, "socket"), unix.S_IFSOCK|0o600, 0),
				os.Mkdir(filepath.Join(p.path, "dir"), 0o700),
				os.Symlink("dir", filepath.Join(p.path, "dirlink")),
			} {
				wantErr(t, "set up", err, nil)
			}
		} else {
			m := p.fs.(*crashfs.FS)
			m.Plant("/q/link", fs.ModeSymlink, []byte("/etc/passwd"))
			m.Plant("/q/dangling", fs.ModeSymlink, []byte("nowhere"))
			m.Plant("/q/fifo", fs.ModeNamedPipe, nil)
			m.Plant("/q/socket", fs.ModeSocket, nil)
			m.MkdirAll("/q/dir", 0o700)
			m.Plant("/q/dirlink", fs.ModeSymlink, []byte("/q/dir"))
		}
		for name, want := range map[string]error{
			"link": syscall.ELOOP, "dangling": syscall.ELOOP, "dirlink": syscall.ELOOP,
			"fifo": disk.ErrNotRegular, "socket": disk.ErrNotRegular, "dir": disk.ErrNotRegular,
		} {
			for _, access := range []disk.Access{disk.ReadOnly, disk.ReadWrite} {
				_, err := d.Open(name, access)
				wantErr(t, "open "+name, err, want)
			}
			_, err := d.Create(name, 0o600)
			wantErr(t, "create "+name, err, fs.ErrExist)
		}
		for name, want := range map[string]fs.FileMode{"link": fs.ModeSymlink, "fifo": fs.ModeNamedPipe, "socket": fs.ModeSocket, "dir": fs.ModeDir, ".": fs.ModeDir} {
			if i := must[disk.Info](t)(d.Lstat(name)); i.Mode.Type() != want {
				t.Errorf("%s is %v, want %v", name, i.Mode, want)
			}
		}
		if _, err := d.OpenDir("dirlink"); err == nil {
			t.Error("a link was opened as a directory")
		}
	})
}

// TestLocks: one holder at a time, of either kind, until it closes.
func TestLocks(t *testing.T) {
	for name, lock := range map[string]func(disk.File) (bool, error){"flock": disk.File.TryLock, "record": disk.File.TryLockRecord} {
		t.Run(name, func(t *testing.T) {
			everywhere(t, func(t *testing.T, _ place, d disk.Dir) {
				f := create(t, d, "a", "")
				g := must[disk.File](t)(d.Open("a", disk.ReadWrite))
				for range 2 { // its holder may ask again
					if !must[bool](t)(lock(f)) {
						t.Error("the first didn't get the lock")
					}
				}
				if must[bool](t)(lock(g)) {
					t.Error("two have the lock")
				}
				wantErr(t, "close", f.Close(), nil)
				if !must[bool](t)(lock(g)) {
					t.Error("the lock outlived its holder")
				}
				wantErr(t, "close", g.Close(), nil)
			})
		})
	}
}

// TestNamed: A34, the second look.
func TestNamed(t *testing.T) {
	everywhere(t, func(t *testing.T, _ place, d disk.Dir) {
		f := create(t, d, "a", "")
		defer f.Close()
		for _, tt := range []struct {
			what string
			do   func() error
			want bool
		}{
			{"as made", func() error { return nil }, true},
			{"moved away", func() error { return d.Rename("a", d, "b") }, false},
			{"another in its place", func() error { return create(t, d, "a", "").Close() }, false},
			{"moved back", func() error { return d.Rename("b", d, "a") }, true},
		} {
			wantErr(t, tt.what, tt.do(), nil)
			if got := must[bool](t)(disk.Named(d, "a", f)); got != tt.want {
				t.Errorf("%s: %v", tt.what, got)
			}
		}
	})
}

func TestInfo(t *testing.T) {
	everywhere(t, func(t *testing.T, p place, d disk.Dir) {
		f := create(t, d, "a", "12345")
		defer f.Close()
		wantErr(t, "chmod", f.Chmod(0o640|fs.ModeSetgid), nil)
		wantErr(t, "chown", f.Chown(os.Getuid(), -1), nil)
		i := must[disk.Info](t)(f.Stat())
		if i.Mode != 0o640|fs.ModeSetgid || i.Size != 5 || i.Nlink != 1 || time.Since(i.ModTime).Abs() > time.Minute {
			t.Errorf("%+v", i)
		}
		wantErr(t, "chmod", d.Chmod(0o775|fs.ModeSetgid|fs.ModeSticky), nil)
		wantErr(t, "chown", d.Chown(-1, os.Getgid()), nil)
		if i := must[disk.Info](t)(d.Lstat(".")); i.Mode != fs.ModeDir|0o775|fs.ModeSetgid|fs.ModeSticky {
			t.Errorf("directory: %v", i.Mode)
		}
		if s := must[disk.Space](t)(d.Space()); s.Octets <= 0 || s.Inodes <= 0 {
			t.Errorf("%+v", s)
		}
		if err := f.Allocate(0, 1<<16); err != nil && !errors.Is(err, errors.ErrUnsupported) {
			t.Error(err)
		}
		if i := must[disk.Info](t)(f.Stat()); i.Size != 5 {
			t.Errorf("after Allocate the size is %d", i.Size)
		}
	})
}

// TestErrors: they name the file and carry the errno.
func TestErrors(t *testing.T) {
	everywhere(t, func(t *testing.T, p place, d disk.Dir) {
		_, err := d.Open("missing", disk.ReadOnly)
		var pe *fs.PathError
		if !errors.As(err, &pe) || pe.Path != filepath.Join(p.path, "missing") || pe.Err != syscall.ENOENT {
			t.Errorf("%#v", err)
		}
		if _, err := p.fs.OpenDir("relative"); !errors.Is(err, disk.ErrName) {
			t.Errorf("relative path: %v", err)
		}
		if _, err := p.fs.OpenDir(p.path + "/missing"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("missing directory: %v", err)
		}
		other := crashfs.New()
		to := must[disk.Dir](t)(other.OpenDir("/"))
		create(t, d, "a", "").Close()
		wantErr(t, "rename to another file system", d.Rename("a", to, "a"), syscall.EXDEV)
	})
	for _, err := range []error{syscall.ENOSPC, syscall.EDQUOT, syscall.EFBIG} {
		if !disk.Full(&fs.PathError{Op: "write", Path: "x", Err: err}) {
			t.Errorf("%v is not full", err)
		}
	}
	if disk.Full(syscall.EIO) || disk.Full(nil) {
		t.Error("full without a reason")
	}
}

// TestConcurrentReads: readers of one message and a slot written meanwhile.
func TestConcurrentReads(t *testing.T) {
	everywhere(t, func(t *testing.T, _ place, d disk.Dir) {
		data := bytes.Repeat([]byte("0123456789abcdef"), 4096)
		f := create(t, d, "a", string(data))
		defer f.Close()
		done := make(chan error)
		for range 4 {
			go func() {
				got, err := io.ReadAll(io.NewSectionReader(f, 16, int64(len(data))-16))
				if err == nil && !bytes.Equal(got, data[16:]) {
					err = errors.New("other octets")
				}
				done <- err
			}()
		}
		for i := range 16 {
			must[int](t)(f.WriteAt([]byte("x"), int64(i)))
		}
		for range 4 {
			wantErr(t, "reader", <-done, nil)
		}
	})
}

// A directory that can't be synced is told as what that means. Linux's /proc has
// none that can.
func TestNoSync(t *testing.T) {
	d, err := disk.OS().OpenDir("/proc/self")
	if err != nil {
		t.Fatal("this test needs /proc:", err)
	}
	defer d.Close()
	if err := d.Sync(); !errors.Is(err, disk.ErrNoSync) || !errors.Is(err, syscall.EINVAL) || !strings.Contains(err.Error(), "can't keep mail safe") {
		t.Errorf("%v, want ErrNoSync and EINVAL", err)
	}
}

// TestModeText: modes look as ls -l shows them, set-id and sticky bits in the
// places of the x.
func TestModeText(t *testing.T) {
	for want, m := range map[string]fs.FileMode{
		"-rw-r--r--": 0o644,
		"drwxrwsr-x": fs.ModeDir | fs.ModeSetgid | 0o775,
		"drwxrwxrwt": fs.ModeDir | fs.ModeSticky | 0o777,
		"drwxrwS--T": fs.ModeDir | fs.ModeSetgid | fs.ModeSticky | 0o760,
		"-rwsr-xr-x": fs.ModeSetuid | 0o755,
		"lrwxrwxrwx": fs.ModeSymlink | 0o777,
		"prw-------": fs.ModeNamedPipe | 0o600,
		"srw-rw-rw-": fs.ModeSocket | 0o666,
		"brw-rw----": fs.ModeDevice | 0o660,
		"crw--w----": fs.ModeDevice | fs.ModeCharDevice | 0o620,
	} {
		if got := disk.ModeText(m); got != want {
			t.Errorf("%v is shown as %q, want %q", m, got, want)
		}
	}
}
