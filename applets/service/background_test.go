//go:build linux

package service

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

	"postoffice/internal/testenv"
)

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
	case "no memory":
		return 2 // as Go's runtime
	case "mute": // closes the pipe without the octet, as after a failed write
		s.ready.Close()
		fallthrough
	case "hang":
		forever := make(chan os.Signal, 1)
		signal.Notify(forever, syscall.SIGHUP)
		<-forever
	}
	files := testenv.OpenFiles()
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

func TestBackground(t *testing.T) {
	c, theirs, err := ConnPair()
	testenv.Must(t, err)
	t.Cleanup(func() { c.Close() })
	t.Setenv("HOME", "/home/us")
	testenv.Must(t, Background{Args: []string{"ready"}, Session: theirs}.Start(t.Context()))
	_, err = fmt.Fprintln(c, "go")
	testenv.Must(t, err)
	r := bufio.NewReader(c)
	got, err := r.ReadString('\n')
	testenv.Must(t, err)
	env := "environment [PATH=/usr/bin:/bin]"
	if os.Getuid() != 0 {
		env = "environment [PATH=/usr/bin:/bin HOME=/home/us]"
	}
	if !strings.Contains(got, "directory / stderr /dev/null") || !strings.Contains(got, env) {
		t.Errorf("%q: want it without our terminal, environment and working directory", got)
	}
	if _, err := r.ReadByte(); err == nil { // wait for its end: the socket closes with it
		t.Error("more than one line")
	}
	err = Background{Args: []string{"fail"}}.Start(t.Context())
	if exit, ok := errors.AsType[*ExitError](err); !ok || exit.Code != 78 {
		t.Errorf("%v, want exit code 78", err)
	}
	err = Background{Args: []string{"no memory"}}.Start(t.Context())
	if exit, ok := errors.AsType[*ExitError](err); !ok || exit.Code != -1 {
		t.Errorf("%v, want no exit code of ours", err)
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
