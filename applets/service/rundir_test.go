//go:build linux

package service

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"postoffice/internal/testenv"
)

func TestRunDir(t *testing.T) {
	path := filepath.Join(t.TempDir(), "run")
	running := func(want bool) {
		t.Helper()
		if got, err := Running(path); got != want || err != nil {
			t.Errorf("running: %v, %v, want %v", got, err, want)
		}
	}
	running(false)
	old := syscall.Umask(0o077)
	defer syscall.Umask(old)
	r, err := LockRunDir(path, -1)
	testenv.Must(t, err)
	running(true)
	if _, err := LockRunDir(path, -1); !errors.Is(err, ErrRunning) {
		t.Errorf("second daemon: %v, want ErrRunning", err)
	}
	testenv.Must(t, r.WritePID())
	testenv.Must(t, r.WritePID())
	if b, _ := os.ReadFile(filepath.Join(path, "postoffice.pid")); string(b) != fmt.Sprintln(os.Getpid()) {
		t.Errorf("pid file %q", b)
	}
	for name, mode := range map[string]fs.FileMode{"": fs.ModeDir | 0o755, "lock": 0o640, "postoffice.pid": 0o644} {
		if info, err := os.Stat(filepath.Join(path, name)); err != nil || info.Mode() != mode {
			t.Errorf("%q: %v, %v, want %v", name, info.Mode(), err, mode)
		}
	}
	testenv.Must(t, r.Close())
	running(false)
	for _, name := range []string{"postoffice.pid", Submission, Control} {
		if _, err := os.Lstat(filepath.Join(path, name)); err == nil {
			t.Errorf("%s is still there", name)
		}
	}
	testenv.Must(t, os.Chmod(path, 0o777))
	if _, err := LockRunDir(path, -1); err == nil || !strings.Contains(err.Error(), "writable by others") {
		t.Errorf("mode 777: %v", err)
	}
	link := path + ".link"
	testenv.Must(t, os.Symlink(path, link))
	if _, err := LockRunDir(link, -1); err == nil || !strings.Contains(err.Error(), "not a directory") {
		t.Errorf("link: %v", err)
	}
}

// TestListenUnix: a stale socket is replaced, with the right mode from the
// first moment on.
func TestListenUnix(t *testing.T) {
	path := filepath.Join(t.TempDir(), Submission)
	old := syscall.Umask(0o077)
	defer syscall.Umask(old)
	var last Listener
	for range 3 {
		l, err := ListenUnix(Submission, path)
		testenv.Must(t, err)
		if info, err := os.Lstat(path); err != nil || info.Mode() != fs.ModeSocket|0o666 {
			t.Errorf("%v, %v, want a socket of mode 666", info.Mode(), err)
		}
		if last.File != nil {
			testenv.Must(t, last.File.Close())
		}
		last = l
	}
	n, err := last.Listen()
	testenv.Must(t, err)
	c, err := net.Dial("unix", path)
	testenv.Must(t, err)
	testenv.Must(t, c.Close())
	testenv.Must(t, n.Close())
	if _, err := os.Lstat(path); err != nil {
		t.Errorf("closing the server's copy removed the socket: %v", err)
	}
	if entries, _ := os.ReadDir(filepath.Dir(path)); len(entries) != 1 {
		t.Errorf("left behind: %v", entries)
	}
}

func TestListenA78(t *testing.T) {
	quiet := slog.New(slog.DiscardHandler)
	ls, err := Listen(t.Context(), "", []string{"127.0.0.1:0", "[::1]:0", "localhost:0"}, quiet)
	testenv.Must(t, err)
	defer CloseListeners(ls)
	for _, l := range ls {
		err := WithDescriptors([]*os.File{l.File}, nil, func(fds []int) error {
			for _, o := range []struct{ level, option, want int }{
				{unix.SOL_SOCKET, unix.SO_PROTOCOL, unix.IPPROTO_TCP}, // not MPTCP
				{unix.SOL_SOCKET, unix.SO_REUSEADDR, 1},
				{unix.SOL_SOCKET, unix.SO_ACCEPTCONN, 1},
			} {
				if got, err := unix.GetsockoptInt(fds[0], o.level, o.option); got != o.want || err != nil {
					t.Errorf("%s: option %d is %d (%v), want %d", l.Name, o.option, got, err, o.want)
				}
			}
			if l.Network == "tcp6" {
				if on, err := unix.GetsockoptInt(fds[0], unix.IPPROTO_IPV6, unix.IPV6_V6ONLY); on != 1 {
					t.Errorf("%s takes IPv4 too (%v)", l.Name, err)
				}
			}
			return nil
		})
		testenv.Must(t, err)
	}
	busy, err := net.Listen("tcp4", "127.0.0.1:0")
	testenv.Must(t, err)
	defer busy.Close()
	before := testenv.Descriptors()
	for _, bad := range [][]string{{"127.0.0.1:0", busy.Addr().String()}, {"127.0.0.1"}, {"192.0.2.1:0"}} {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if ls, err := Listen(ctx, "", bad, quiet); err == nil {
			t.Errorf("%q: %v, want an error", bad, ls)
		}
	}
	if after := testenv.Descriptors(); after != before {
		t.Errorf("%d open files before, %d after: some stayed bound", before, after)
	}
}

// TestPortFreeSoon: a port that is freed meanwhile is no error.
func TestPortFreeSoon(t *testing.T) {
	busy, err := net.Listen("tcp4", testenv.OwnAddress()+":0")
	testenv.Must(t, err)
	time.AfterFunc(10*time.Millisecond, func() { busy.Close() })
	ls, err := Listen(t.Context(), "", []string{busy.Addr().String()}, slog.New(slog.DiscardHandler))
	testenv.Must(t, err)
	CloseListeners(ls)
}

// TestRunDirWithoutLocksR27: a lock that a second descriptor gets too is none, and its
// file may be gone by then.
func TestRunDirWithoutLocksR27(t *testing.T) {
	path := filepath.Join(t.TempDir(), "run")
	testenv.Must(t, os.Mkdir(path, 0o755))
	f, err := os.Create(filepath.Join(path, lockFile))
	testenv.Must(t, err)
	defer f.Close()
	r := &RunDir{path: path, lock: f} // as if flock(2) had done nothing
	if err := r.excludes(); !errors.Is(err, ErrNoLocks) {
		t.Errorf("%v, want ErrNoLocks", err)
	}
	testenv.Must(t, flock(f, unix.LOCK_EX))
	testenv.Must(t, r.excludes())
	testenv.Must(t, os.Remove(f.Name()))
	testenv.Must(t, r.excludes())
}
