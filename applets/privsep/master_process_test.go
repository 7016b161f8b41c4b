//go:build linux

package privsep

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"postoffice/applets/service"
	"postoffice/internal/testenv"
)

const runnerRole = "test: runner"

// fakeRunner is a master of its own, in the directory of a test, with the
// listener control.
func fakeRunner(args []string) int {
	dir := args[0]
	o := optionsIn(dir, os.Stderr)
	o.Probe, o.Bare = true, slices.Contains(args, "bare")
	if err := Prepare(Rights{Bare: o.Bare, Filter: slices.Contains(args, "filter")}, o.Log); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 78
	}
	if os.Getenv("LISTEN_PID") == "self" {
		os.Setenv("LISTEN_PID", fmt.Sprint(os.Getpid()))
	}
	inherited, err := service.Inherited()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 70
	}
	service.CloseOnExecAll()
	run, err := service.LockRunDir(dir+"/run", -1)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 75
	}
	o.Listeners = inherited
	if len(inherited) == 0 {
		l, err := service.ListenUnix(service.Control, dir+"/"+service.Control)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 71
		}
		o.Listeners = []service.Listener{l}
	}
	o.Reload = func() (Reloaded, error) { return Reloaded{Settings: []byte("second")}, nil }
	err = errors.Join(run.WritePID(), RunMaster(context.Background(), o), run.Close())
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// runner is a master in a process of its own.
type runner struct {
	*harness
	cmd *exec.Cmd
	err *bytes.Buffer
}

func startRunner(t *testing.T, h *harness, env []string, files ...*os.File) *runner {
	t.Helper()
	r := newRunner(h, env, files...)
	testenv.Must(t, r.cmd.Start())
	r.cleanUp(t)
	return r
}

func newRunner(h *harness, env []string, files ...*os.File) *runner {
	r := &runner{harness: h, err: &bytes.Buffer{}}
	r.cmd = &exec.Cmd{Path: "/proc/self/exe", Args: []string{runnerRole, h.dir}, Env: env, ExtraFiles: files, Stderr: h.log}
	return r
}

func (r *runner) cleanUp(t *testing.T) {
	t.Cleanup(func() {
		r.cmd.Process.Kill()
		r.cmd.Wait()
		if t.Failed() {
			t.Logf("log of the master:\n%s", r.log)
		}
	})
}

// notifications is a service manager's socket.
func notifications(t *testing.T, path string) *net.UnixConn {
	t.Helper()
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	testenv.Must(t, err)
	t.Cleanup(func() { c.Close() })
	testenv.Must(t, c.SetReadDeadline(time.Now().Add(2*time.Minute)))
	return c
}

func next(t *testing.T, c *net.UnixConn) string {
	t.Helper()
	b := make([]byte, 1000)
	n, err := c.Read(b)
	testenv.Must(t, err)
	return string(b[:n])
}

// TestMasterProcess: start, notifications, reload and stop of a whole tree
// with sockets from a service manager.
func TestMasterProcess(t *testing.T) {
	testenv.NeedsRoot(t, "starts processes as other users")
	h := prepare(t)
	manager := notifications(t, h.path("notify"))
	l, err := service.ListenUnix(service.Control, h.path(service.Control))
	testenv.Must(t, err)
	r := startRunner(t, h, []string{"NOTIFY_SOCKET=" + h.path("notify"), "LISTEN_PID=self", "LISTEN_FDS=1"}, l.File)
	testenv.Must(t, l.File.Close())
	if got := next(t, manager); got != "READY=1" {
		t.Errorf("notified %q, want READY=1", got)
	}
	k := h.dial()
	k.want("delivered", "deliver t u0 From-a")
	testenv.Must(t, r.cmd.Process.Signal(syscall.SIGHUP))
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
	testenv.Must(t, r.cmd.Process.Signal(syscall.SIGTERM))
	if got := next(t, manager); !strings.HasPrefix(got, "STOPPING=1\nEXTEND_TIMEOUT_USEC=") {
		t.Errorf("notified %q, want STOPPING=1, and for how long", got)
	}
	testenv.Must(t, r.cmd.Wait())
	if running, err := service.Running(h.path("run")); running || err != nil {
		t.Errorf("after the end: running %v, %v", running, err)
	}
}

// TestMasterSignals: SIGUSR1 is told to the server, and to one that is started in
// its place, until the configuration is read again; SIGUSR2 is nothing, and
// SIGTSTP ends the tree.
func TestMasterSignals(t *testing.T) {
	testenv.NeedsRoot(t, "starts processes as other users")
	h := prepare(t)
	r := startReady(t, h)
	signal := func(s syscall.Signal) {
		t.Helper()
		testenv.Must(t, r.cmd.Process.Signal(s))
	}
	reloaded := func(k *talk, audits string) {
		t.Helper()
		signal(syscall.SIGHUP)
		k.want("second", "reloaded")
		if got := k.say("audits"); got != audits {
			t.Errorf("the server was told of SIGUSR1 %s times, want %s", got, audits)
		}
	}
	next := func(k *talk) *talk { // server
		t.Helper()
		pid, err := strconv.Atoi(strings.Fields(k.say("hello"))[0])
		testenv.Must(t, err)
		waitEnd(t, pid, func() { testenv.Must(t, syscall.Kill(pid, syscall.SIGKILL)) })
		k = h.dial()
		k.say("hello")
		return k
	}
	told := func(k *talk) { // before another signal, which may overtake it
		t.Helper()
		for k.say("audits") == "0" {
		}
	}
	k := h.dial()
	signal(syscall.SIGUSR2)
	signal(syscall.SIGUSR1)
	told(k)
	k = next(k)
	told(k)
	reloaded(k, "1")
	k = next(k)
	reloaded(k, "0")
	signal(syscall.SIGTSTP)
	testenv.Must(t, r.cmd.Wait())
}

// TestMasterKilled: kill -9 of the master in the middle of a delivery ends the
// server, and the next tree delivers. What was delivered before is untouched.
func TestMasterKilled(t *testing.T) {
	testenv.NeedsRoot(t, "starts processes as other users")
	h := prepare(t)
	r := startReady(t, h)
	k := h.dial()
	k.want("delivered", "deliver t1 u0 From-a")
	server, err := strconv.Atoi(strings.Fields(k.say("hello"))[0])
	testenv.Must(t, err)
	waitGrowth(t, filepath.Join(h.mail, "u0"), func() { fmt.Fprintln(k.c, "stall t2 u0") }) // a message whose end never comes
	waitEnd(t, server, func() { testenv.Must(t, r.cmd.Process.Kill()) })
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
func startReady(t *testing.T, h *harness, args ...string) *runner {
	t.Helper()
	testenv.Must(t, os.RemoveAll(h.path("notify")))
	manager := notifications(t, h.path("notify"))
	r := newRunner(h, []string{"NOTIFY_SOCKET=" + h.path("notify")})
	r.cmd.Args = append(r.cmd.Args, args...)
	testenv.Must(t, r.cmd.Start())
	r.cleanUp(t)
	if got := next(t, manager); got != "READY=1" {
		t.Errorf("notified %q, want READY=1", got)
	}
	return r
}

// waitGrowth returns when something is written to the file.
func waitGrowth(t *testing.T, path string, begin func()) {
	t.Helper()
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC)
	testenv.Must(t, err)
	defer unix.Close(fd)
	_, err = unix.InotifyAddWatch(fd, path, unix.IN_MODIFY)
	testenv.Must(t, err)
	begin()
	waitReadable(t, fd, path+" to grow")
}

// waitEnd returns when the process is gone.
func waitEnd(t *testing.T, pid int, begin func()) {
	t.Helper()
	fd, err := unix.PidfdOpen(pid, 0)
	testenv.Must(t, err)
	defer unix.Close(fd)
	begin()
	waitReadable(t, fd, fmt.Sprintf("process %d to end", pid))
}

func waitReadable(t *testing.T, fd int, what string) {
	t.Helper()
	if !testenv.Eventually(func() bool {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
		return n == 1 && err == nil // a signal of the runtime's interrupts it
	}) {
		t.Fatalf("waited in vain for %s", what)
	}
}

// TestMasterWatches: the server gets the socket that takes the place of one
// whose name was removed, and who is connected stays so.
func TestMasterWatches(t *testing.T) {
	h := start(t, func(o *MasterOptions) {
		run, err := service.LockRunDir(filepath.Join(filepath.Dir(o.Mailboxes.Dir), "run"), -1)
		testenv.Must(t, err)
		o.RunDir, o.lookPause = run, 5*time.Millisecond
	})
	k := h.dial()
	k.want("ok", "recorded x")
	testenv.Must(t, os.Remove(h.path(service.Control)))
	h.log.Wait(t, `msg="listener bound again" listen=control`, 1)
	h.dial().want("ok", "recorded x")
	k.want("ok", "recorded x")
}
