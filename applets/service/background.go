package service

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Where a background master finds what its starter gave it.
const (
	readyFD   = 3                // a pipe: one octet says that it is ready
	sessionFD = 4                // a socket, if there is a session
	controlFD = 5                // a socket, if somebody asks
	startWait = time.Minute      // for one that starts to say that it is ready
	endWait   = 20 * time.Second // for one that can't say that it is ready to end
)

// MasterRole is the argv[0] of a server in the background: the master's.
const MasterRole = "postoffice: master"

// Background starts a server behind the calling process.
type Background struct {
	Args    []string      // what follows argv[0]
	Session *os.File      // an SMTP session's end to hand over; taken over; or nil
	Control *os.File      // the same of a connection for a request to the control socket
	Wait    time.Duration // for it to be ready; 0: one minute
}

// Start starts this program as MasterRole in a session of its own and returns
// when it is ready; it has then let go of our terminal. If it ends before, its
// exit code is in the *ExitError and its words went to our standard error. One
// that is not ready in time, or when ctx ends, is killed; one that let go of us
// without a word gets SIGTERM, and SIGKILL 20 s later. Its environment is a PATH,
// TZ, and for anybody but root HOME, which is all that is known of a uid without
// an account. Its working directory is the root, so that no file system is kept
// from being unmounted: paths in Args must be absolute.
func (b Background) Start(ctx context.Context) error {
	for _, f := range []*os.File{b.Session, b.Control} {
		if f != nil {
			defer f.Close()
		}
	}
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r.Close()
	env := ChildEnv()
	if home := os.Getenv("HOME"); home != "" && os.Getuid() != 0 {
		env = append(env, "HOME="+home)
	}
	cmd := &exec.Cmd{
		Path:        Program(),
		Args:        append([]string{MasterRole}, b.Args...),
		Env:         env,
		Dir:         "/",
		Stderr:      os.Stderr,
		ExtraFiles:  []*os.File{w, b.Session, b.Control}, // readyFD, sessionFD, controlFD
		SysProcAttr: &syscall.SysProcAttr{Setsid: true},
	}
	err = cmd.Start()
	w.Close()
	if err != nil {
		return fmt.Errorf("start a background process: %w", err)
	}
	if b.Wait == 0 {
		b.Wait = startWait
	}
	ctx, cancel := context.WithTimeout(ctx, b.Wait)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { r.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	_, err = io.ReadFull(r, make([]byte, 1))
	if err == nil {
		return cmd.Process.Release()
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		cmd.Process.Kill()
		cmd.Wait()
		return fmt.Errorf("%s is not ready: %w", MasterRole, context.Cause(ctx))
	}
	// It has ended, or it runs and could not tell us that it is ready: we would
	// wait for it, and it for our session.
	cmd.Process.Signal(syscall.SIGTERM)
	defer time.AfterFunc(endWait, func() { cmd.Process.Kill() }).Stop()
	return Exit(MasterRole, cmd.Wait())
}

// Starter is the process that started this master with Background.
type Starter struct {
	Session *os.File // or nil
	Control *os.File // or nil
	ready   *os.File
}

// FromStarter takes up the descriptors that Background.Start gave this
// process.
func FromStarter() (*Starter, error) {
	if kindOf(readyFD) != unix.S_IFIFO {
		return nil, fmt.Errorf("%s: not started in the background: descriptor %d is no pipe", MasterRole, readyFD)
	}
	unix.CloseOnExec(readyFD)
	s := &Starter{ready: os.NewFile(readyFD, "starter")}
	s.Session = socketAt(sessionFD, "session")
	s.Control = socketAt(controlFD, "control")
	return s, nil
}

// socketAt is an inherited socket, or nil.
func socketAt(fd int, name string) *os.File {
	if kindOf(fd) != unix.S_IFSOCK {
		return nil
	}
	unix.CloseOnExec(fd)
	return os.NewFile(uintptr(fd), name)
}

// Ready lets go of the starter: standard input, output and error become
// /dev/null, then it is told. A server has its own standard error:
// MasterOptions.Detach.
func (s *Starter) Ready() error {
	err := Detach()
	if err == nil {
		_, err = s.ready.Write([]byte{1})
	}
	return errors.Join(err, s.ready.Close()) // without the octet this ends us
}
