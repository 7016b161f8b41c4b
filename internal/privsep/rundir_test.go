//go:build linux

package privsep

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
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
	must(t, err)
	running(true)
	if _, err := LockRunDir(path, -1); !errors.Is(err, ErrRunning) {
		t.Errorf("second daemon: %v, want ErrRunning", err)
	}
	must(t, r.WritePID())
	must(t, r.WritePID())
	if b, _ := os.ReadFile(filepath.Join(path, "postoffice.pid")); string(b) != fmt.Sprintln(os.Getpid()) {
		t.Errorf("pid file %q", b)
	}
	for name, mode := range map[string]fs.FileMode{"": fs.ModeDir | 0o755, "lock": 0o640, "postoffice.pid": 0o644} {
		if info, err := os.Stat(filepath.Join(path, name)); err != nil || info.Mode() != mode {
			t.Errorf("%q: %v, %v, want %v", name, info.Mode(), err, mode)
		}
	}
	must(t, r.Close())
	running(false)
	for _, name := range []string{"postoffice.pid", Submission, Control} {
		if _, err := os.Lstat(filepath.Join(path, name)); err == nil {
			t.Errorf("%s is still there", name)
		}
	}
	must(t, os.Chmod(path, 0o777))
	if _, err := LockRunDir(path, -1); err == nil || !strings.Contains(err.Error(), "writable by others") {
		t.Errorf("mode 777: %v", err)
	}
	link := path + ".link"
	must(t, os.Symlink(path, link))
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
		must(t, err)
		if info, err := os.Lstat(path); err != nil || info.Mode() != fs.ModeSocket|0o666 {
			t.Errorf("%v, %v, want a socket of mode 666", info.Mode(), err)
		}
		if last.File != nil {
			must(t, last.File.Close())
		}
		last = l
	}
	n, err := last.Listen()
	must(t, err)
	c, err := net.Dial("unix", path)
	must(t, err)
	must(t, c.Close())
	must(t, n.Close())
	if _, err := os.Lstat(path); err != nil {
		t.Errorf("closing the server's copy removed the socket: %v", err)
	}
	if entries, _ := os.ReadDir(filepath.Dir(path)); len(entries) != 1 {
		t.Errorf("left behind: %v", entries)
	}
}

func TestListenA78(t *testing.T) {
	quiet := slog.New(slog.DiscardHandler)
	ls, err := Listen(t.Context(), []string{"127.0.0.1:0", "[::1]:0", "localhost:0"}, quiet)
	must(t, err)
	defer closeListeners(ls)
	for _, l := range ls {
		err := withDescriptors([]*os.File{l.File}, nil, func(fds []int) error {
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
		must(t, err)
	}
	busy, err := net.Listen("tcp4", "127.0.0.1:0")
	must(t, err)
	defer busy.Close()
	before := countFiles(t)
	for _, bad := range [][]string{{"127.0.0.1:0", busy.Addr().String()}, {"127.0.0.1"}, {"192.0.2.1:0"}} {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if ls, err := Listen(ctx, bad, quiet); err == nil {
			t.Errorf("%q: %v, want an error", bad, ls)
		}
	}
	if after := countFiles(t); after != before {
		t.Errorf("%d open files before, %d after: some stayed bound", before, after)
	}
}

// TestPortFreeSoon: a port that is freed meanwhile is no error.
func TestPortFreeSoon(t *testing.T) {
	busy, err := net.Listen("tcp4", "127.0.0.1:0")
	must(t, err)
	time.AfterFunc(10*time.Millisecond, func() { busy.Close() })
	ls, err := Listen(t.Context(), []string{busy.Addr().String()}, slog.New(slog.DiscardHandler))
	must(t, err)
	closeListeners(ls)
}

// runner is a master in a process of its own.
type runner struct {
	*harness
	cmd *exec.Cmd
	err *bytes.Buffer
}

func startRunner(t *testing.T, h *harness, env []string, files ...*os.File) *runner {
	t.Helper()
	r := &runner{harness: h, err: &bytes.Buffer{}}
	r.cmd = &exec.Cmd{Path: "/proc/self/exe", Args: []string{runnerRole, h.dir}, Env: env, ExtraFiles: files, Stderr: h.log}
	must(t, r.cmd.Start())
	t.Cleanup(func() {
		r.cmd.Process.Kill()
		r.cmd.Wait()
		if t.Failed() {
			t.Logf("log of the master:\n%s", h.log)
		}
	})
	return r
}

// notifications is a service manager's socket.
func notifications(t *testing.T, path string) *net.UnixConn {
	t.Helper()
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	must(t, err)
	t.Cleanup(func() { c.Close() })
	must(t, c.SetReadDeadline(time.Now().Add(20*time.Second)))
	return c
}

func next(t *testing.T, c *net.UnixConn) string {
	t.Helper()
	b := make([]byte, 1000)
	n, err := c.Read(b)
	must(t, err)
	return string(b[:n])
}

// TestMasterProcess: start, notifications, reload and stop of a whole tree
// with sockets from a service manager.
func TestMasterProcess(t *testing.T) {
	requireRoot(t)
	h := prepare(t)
	manager := notifications(t, h.path("notify"))
	l, err := ListenUnix(Control, h.path(Control))
	must(t, err)
	r := startRunner(t, h, []string{"NOTIFY_SOCKET=" + h.path("notify"), "LISTEN_PID=self", "LISTEN_FDS=1"}, l.File)
	must(t, l.File.Close())
	if got := next(t, manager); got != "READY=1" {
		t.Errorf("notified %q, want READY=1", got)
	}
	k := h.dial()
	k.want("delivered", "deliver t u0 From-a")
	must(t, r.cmd.Process.Signal(syscall.SIGHUP))
	if got := next(t, manager); !strings.HasPrefix(got, "RELOADING=1\nMONOTONIC_USEC=") {
		t.Errorf("notified %q, want RELOADING=1", got)
	}
	if got := next(t, manager); got != "READY=1" {
		t.Errorf("notified %q, want READY=1", got)
	}
	k.want("second", "reloaded")
	again := startRunner(t, h, nil)
	if err := again.cmd.Wait(); again.cmd.ProcessState.ExitCode() != 75 {
		t.Errorf("second master: %v, want 75", err)
	}
	must(t, r.cmd.Process.Signal(syscall.SIGTERM))
	if got := next(t, manager); got != "STOPPING=1" {
		t.Errorf("notified %q, want STOPPING=1", got)
	}
	must(t, r.cmd.Wait())
	if running, err := Running(h.path("run")); running || err != nil {
		t.Errorf("after the end: running %v, %v", running, err)
	}
}

// TestMasterKilled: kill -9 of the master in the middle of a delivery ends the
// server, and the next tree delivers. What was delivered before is untouched.
func TestMasterKilled(t *testing.T) {
	requireRoot(t)
	h := prepare(t)
	r := startReady(t, h)
	k := h.dial()
	k.want("delivered", "deliver t1 u0 From-a")
	server, err := strconv.Atoi(strings.Fields(k.say("hello"))[0])
	must(t, err)
	waitGrowth(t, filepath.Join(h.mail, "u0"), func() { fmt.Fprintln(k.c, "stall t2 u0") }) // a message whose end never comes
	waitEnd(t, server, func() { must(t, r.cmd.Process.Kill()) })
	r.cmd.Wait()
	startReady(t, h)
	k = h.dial()
	k.want("delivered", "deliver t2 u0 From-b")
	got := h.mailbox("u0")
	if !strings.HasPrefix(got, "From-a\n\n") || !strings.HasSuffix(got, "\n\nFrom-b\n\n") {
		t.Errorf("mailbox of %d octets, %.20q … %q", len(got), got, got[max(0, len(got)-20):])
	}
}

// startReady starts a master and waits until its server answers.
func startReady(t *testing.T, h *harness) *runner {
	t.Helper()
	must(t, os.RemoveAll(h.path("notify")))
	manager := notifications(t, h.path("notify"))
	r := startRunner(t, h, []string{"NOTIFY_SOCKET=" + h.path("notify")})
	if got := next(t, manager); got != "READY=1" {
		t.Errorf("notified %q, want READY=1", got)
	}
	return r
}

// waitGrowth returns when something is written to the file.
func waitGrowth(t *testing.T, path string, begin func()) {
	t.Helper()
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC)
	must(t, err)
	defer unix.Close(fd)
	_, err = unix.InotifyAddWatch(fd, path, unix.IN_MODIFY)
	must(t, err)
	begin()
	waitReadable(t, fd, path+" to grow")
}

// waitEnd returns when the process is gone.
func waitEnd(t *testing.T, pid int, begin func()) {
	t.Helper()
	fd, err := unix.PidfdOpen(pid, 0)
	must(t, err)
	defer unix.Close(fd)
	begin()
	waitReadable(t, fd, fmt.Sprintf("process %d to end", pid))
}

func waitReadable(t *testing.T, fd int, what string) {
	t.Helper()
	for {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 20_000)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if n != 1 || err != nil {
			t.Fatalf("waited in vain for %s: %v", what, err)
		}
		return
	}
}
