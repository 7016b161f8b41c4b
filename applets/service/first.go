package service

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// handedDown is the LISTEN_PID of sockets that a parent hands down before it can
// know its child's process ID.
const handedDown = "0"

// First reports whether this is the first process of the machine or, as the
// program of a container, of a PID namespace: the parent of every process whose
// own parent has ended.
func First() bool { return os.Getpid() == 1 }

// belowEnv tells the process below process 1 that it is that.
const belowEnv = "POSTOFFICE_BELOW"

// BelowFirst reports whether this process runs below process 1, as Below starts it: in a
// container.
func BelowFirst() bool { return os.Getenv(belowEnv) != "" && os.Getppid() == 1 }

// Below runs this program with argv in a process below, and returns when that
// ends, with an *ExitError unless its exit code was 0. Meanwhile it hands signals,
// and sockets of a service manager, on to it and reaps whatever else ends here. It
// waits for nothing but that one process, so that no exit code is taken from whoever
// waits for it: the server's children are that process's. The caller ends at once.
func Below(argv []string) error {
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, append(Signals(), syscall.SIGQUIT)...)
	sockets, err := activated()
	if err != nil {
		return err
	}
	files := []uintptr{0, 1, 2}
	for fd := range sockets {
		files = append(files, uintptr(3+fd))
	}
	if sockets > 0 {
		os.Setenv("LISTEN_PID", handedDown)
	}
	os.Setenv(belowEnv, "1")
	child, err := syscall.ForkExec(Program(), argv, &syscall.ProcAttr{Env: os.Environ(), Files: files})
	if err != nil {
		return fmt.Errorf("start %s below process 1: %w", argv[0], err)
	}
	go func() {
		for s := range signals {
			_ = syscall.Kill(child, s.(syscall.Signal)) // it may have ended just now
		}
	}()
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, 0, nil)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return fmt.Errorf("wait for %s: %w", argv[0], err)
		case pid == child && status.Signaled():
			return &ExitError{Role: argv[0], Code: -1, Text: "signal: " + status.Signal().String()}
		case pid == child && status.ExitStatus() != 0:
			return &ExitError{Role: argv[0], Code: ownCode(status.ExitStatus()), Text: "exit code " + strconv.Itoa(status.ExitStatus())}
		case pid == child:
			return nil
		}
	}
}
