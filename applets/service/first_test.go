//go:build linux

package service

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"postoffice/internal/testenv"
)

const (
	firstRole  = "test: process 1"
	workerRole = "test: below process 1"
	workerCode = 77
)

// TestFirst has a process 1 with a worker below it that runs 1,000 programs, each
// of which leaves an orphan and ends with a code of its own. The worker gets the
// socket that process 1 was given, and its signal; and its exit code counts.
func TestFirst(t *testing.T) {
	self, err := os.Executable()
	testenv.Must(t, err)
	args := []string{"--pid", "--fork", "--mount-proc", self, firstRole}
	if os.Getuid() != 0 {
		args = append([]string{"--map-root-user"}, args...)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	testenv.Must(t, err)
	defer l.Close()
	socket, err := l.(*net.TCPListener).File()
	testenv.Must(t, err)
	defer socket.Close()
	cmd := exec.Command("unshare", args...)
	cmd.Env = append(os.Environ(), "LISTEN_PID=1", "LISTEN_FDS=1", "TEST_SOCKET="+l.Addr().String())
	cmd.ExtraFiles = []*os.File{socket} // descriptor 3
	out, err := cmd.CombinedOutput()
	if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != workerCode {
		t.Errorf("%v, want exit code %d\n%s", err, workerCode, out)
	}
}

// fakeFirst is process 1.
func fakeFirst() int {
	if !First() {
		fmt.Println("not process 1")
		return 1
	}
	err := Below([]string{workerRole})
	exit, ok := errors.AsType[*ExitError](err)
	if !ok || exit.Code != workerCode {
		fmt.Println(err)
		return 1
	}
	return exit.Code
}

// fakeWorker ends with workerCode if all is as it should be.
func fakeWorker() int {
	sockets, err := Inherited()
	if err != nil || len(sockets) != 1 || sockets[0].Address != os.Getenv("TEST_SOCKET") {
		fmt.Println("inherited:", sockets, err)
		return 1
	}
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	failed := programs(1000)
	if n := zombies(20 * time.Second); n > 0 {
		failed = append(failed, fmt.Sprintf("%d orphans are left", n))
	}
	syscall.Kill(1, syscall.SIGHUP)
	<-hup // it is handed on
	if First() || len(failed) > 0 {
		fmt.Println(strings.Join(failed, "\n"))
		return 1
	}
	return workerCode
}

// programs runs n programs, some at a time, and says which didn't end as they do.
func programs(n int) (failed []string) {
	var mu sync.Mutex // guards failed
	var running sync.WaitGroup
	places := make(chan bool, 20)
	for i := range n {
		places <- true
		running.Go(func() {
			defer func() { <-places }()
			code := i % 256
			cmd := exec.Command("/bin/sh", "-c", fmt.Sprintf("sleep 0.02 & exit %d", code))
			err := cmd.Run()
			if got := cmd.ProcessState.ExitCode(); got != code {
				mu.Lock()
				failed = append(failed, fmt.Sprintf("exit code %d, want %d: %v", got, code, err))
				mu.Unlock()
			}
		})
	}
	running.Wait()
	return failed
}

// zombies waits until process 1 has no child but this process, and returns how
// many it still has when the time is over.
func zombies(limit time.Duration) (n int) {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(limit); ; <-tick.C {
		n = 0
		all, _ := filepath.Glob("/proc/[0-9]*/status")
		for _, name := range all {
			if b, err := os.ReadFile(name); err == nil && strings.Contains(string(b), "\nPPid:\t1\n") {
				n++
			}
		}
		if n--; n <= 0 || time.Now().After(end) {
			return n
		}
	}
}
