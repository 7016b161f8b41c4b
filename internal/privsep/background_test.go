//go:build linux

package privsep

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"
)

const runnerRole = "test: runner"

// fakeMaster is a master started in the background.
func fakeMaster(args []string) int {
	s, err := FromStarter()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 70
	}
	CloseOnExecAll()
	switch args[0] {
	case "fail":
		return 78
	case "mute": // closes the pipe without the octet, as after a failed write
		s.ready.Close()
		fallthrough
	case "hang":
		forever := make(chan os.Signal, 1)
		signal.Notify(forever, syscall.SIGHUP)
		<-forever
	}
	files := openFiles()
	s.Ready()
	c, err := net.FileConn(s.Session)
	if err != nil {
		return 71
	}
	bufio.NewReader(c).ReadString('\n')
	out, _ := os.Readlink("/proc/self/fd/2")
	dir, _ := os.Getwd()
	fmt.Fprintln(c, os.Getpid(), "directory", dir, "stderr", out, "files", files, "environment", os.Environ())
	return 0
}

func sessionPair(t *testing.T) (*talk, *os.File) {
	t.Helper()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	must(t, err)
	f := os.NewFile(uintptr(fds[0]), "ours")
	c, err := net.FileConn(f)
	must(t, err)
	must(t, f.Close())
	t.Cleanup(func() { c.Close() })
	return &talk{t, c, bufio.NewReader(c)}, os.NewFile(uintptr(fds[1]), "theirs")
}

func TestBackground(t *testing.T) {
	k, theirs := sessionPair(t)
	must(t, Background{Args: []string{"ready"}, Session: theirs}.Start(t.Context()))
	got := k.say("go")
	if !strings.Contains(got, "directory / stderr /dev/null") || !strings.Contains(got, "environment [PATH=/usr/bin:/bin]") {
		t.Errorf("%q: want it without our terminal, environment and working directory", got)
	}
	if _, err := k.r.ReadByte(); err == nil { // wait for its end: the socket closes with it
		t.Error("more than one line")
	}
	err := Background{Args: []string{"fail"}}.Start(t.Context())
	if exit, ok := errors.AsType[*ExitError](err); !ok || exit.Code != 78 {
		t.Errorf("%v, want exit code 78", err)
	}
	begin := time.Now()
	err = Background{Args: []string{"mute"}}.Start(t.Context())
	if exit, ok := errors.AsType[*ExitError](err); !ok || exit.Code >= 0 || time.Since(begin) > endWait/2 {
		t.Errorf("one that can't say that it is ready: %v after %v, want it ended by a signal at once", err, time.Since(begin))
	}
	err = Background{Args: []string{"hang"}, Wait: 50 * time.Millisecond}.Start(t.Context())
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v, want a deadline", err)
	}
}

// fakeRunner is a master of its own, in the directory of a test, with the
// listener control.
func fakeRunner(args []string) int {
	dir := args[0]
	o := optionsIn(dir, os.Stderr)
	if os.Getenv("LISTEN_PID") == "self" {
		os.Setenv("LISTEN_PID", fmt.Sprint(os.Getpid()))
	}
	inherited, err := Inherited()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 70
	}
	CloseOnExecAll()
	run, err := LockRunDir(dir+"/run", -1)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 75
	}
	o.Listeners = inherited
	if len(inherited) == 0 {
		l, err := ListenUnix(Control, dir+"/"+Control)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 71
		}
		o.Listeners = []Listener{l}
	}
	o.Reload = func() (Reloaded, error) { return Reloaded{Settings: []byte("second")}, nil }
	err = errors.Join(run.WritePID(), RunMaster(context.Background(), o), run.Close())
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}
