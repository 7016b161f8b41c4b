package user

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"postoffice/deliver/local"
	"postoffice/deliver/outcome"

	"postoffice/internal/account"
)

const (
	niceness   = 5
	maxPrinted = 64 << 10 // octets of a program's output that are kept (A51)
	readFirst  = 1 << 20  // octets of a message that are there before the program starts

	termWait = 2 * time.Second // between SIGTERM and SIGKILL
	lastWait = time.Second     // the same where we end too, which waits no longer than 1.5 s (privsep.UserLink)
	killWait = 5 * time.Second // for what not even SIGKILL ends, as a set-uid program
	feedWait = time.Second     // between two looks whether what a program left behind still reads
	readWait = time.Second     // for what it printed last, where such a process still prints
)

// process is a running program, the leader of a session and a process group.
type process struct {
	cmd *exec.Cmd
	in  *os.File // what it reads
	out *os.File // what it prints
}

// runProgram runs a command for one message and waits for its end.
func (u *User) runProgram(ctx context.Context, c command, j local.Job) outcome.Outcome {
	state, printed, failed := u.execute(ctx, c, j, u.o.ProgramTime)
	if failed != nil {
		return *failed
	}
	return ended(state, printed)
}

// execute runs a command for one message, and returns how it ended and what it printed, or
// why it could not.
func (u *User) execute(ctx context.Context, c command, j local.Job, limit time.Duration) (state *os.ProcessState, printed []byte, failed *outcome.Outcome) {
	no := func(o outcome.Outcome) (*os.ProcessState, []byte, *outcome.Outcome) { return nil, nil, &o }
	body, err := begin(j.Body)
	if err != nil {
		return no(outcome.Deferral("4.3.0", "message was not delivered whole", err))
	}
	if ctx.Err() != nil {
		return no(outcome.Deferral("4.3.0", "local delivery was interrupted", context.Cause(ctx)))
	}
	a := u.o.Account
	x, err := start(c, a.Home, environment(a, u.shell(), j.Envelope))
	if errors.Is(err, unix.ENOEXEC) && c.text != "" {
		x, err = start(throughShell(c.text), a.Home, environment(a, u.shell(), j.Envelope))
	}
	if err != nil { // also that no more processes may be started (A43)
		text := "program can't be started"
		if errno, ok := errors.AsType[syscall.Errno](err); ok {
			text += ": " + errno.Error()
		}
		return no(outcome.Deferral("4.3.5", text, fmt.Errorf("start %s as %s: %w", c.path, a.Name, err)))
	}
	printed, err = x.follow(ctx, body, limit)
	if err != nil {
		return no(stopped(printed, err))
	}
	return x.cmd.ProcessState, printed, nil
}

// begin reads the first part of a message: one that breaks off in it need not
// start a program.
func begin(body io.Reader) (io.Reader, error) {
	first, err := io.ReadAll(io.LimitReader(body, readFirst))
	if err != nil {
		return nil, local.BodyError{Err: err}
	}
	if len(first) < readFirst {
		return bytes.NewReader(first), nil
	}
	return io.MultiReader(bytes.NewReader(first), body), nil
}

// shell is what a program is told as the user's shell.
func (u *User) shell() string {
	a := u.o.Account
	if a.Shell == "" || account.CheckShell(a, u.o.Shells) != nil {
		return shell
	}
	return a.Shell
}

// start starts a program with nothing of ours but our ids: a clean environment
// and no descriptors but its standard ones (A43).
func start(c command, home string, env []string) (*process, error) {
	in, mine, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer in.Close()
	out, its, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(err, mine.Close())
	}
	defer its.Close()
	x := &process{
		cmd: &exec.Cmd{
			Path:        c.path,
			Args:        c.args,
			Env:         env,
			Dir:         workDir(home),
			Stdin:       in,
			Stdout:      its,
			Stderr:      its,
			SysProcAttr: &syscall.SysProcAttr{Setsid: true},
		},
		in:  mine,
		out: out,
	}
	if err := launch(x.cmd); err != nil {
		mine.Close()
		out.Close()
		return nil, err
	}
	// Children that it has by now are in its group too. Where this is refused,
	// no mail has to wait for it.
	_ = unix.Setpriority(unix.PRIO_PGRP, x.cmd.Process.Pid, niceness)
	return x, nil
}

// workDir is the home directory, or / where that can't be entered.
func workDir(home string) string {
	if info, err := os.Stat(home); err == nil && info.IsDir() && unix.Access(home, unix.X_OK) == nil {
		return home
	}
	return "/"
}

// follow gives the program the message, keeps the first of what it prints and
// waits until it is over. An error says why it was ended.
func (x *process) follow(ctx context.Context, body io.Reader, limit time.Duration) (printed []byte, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, errTime)
	defer cancel()
	ctx, giveUp := context.WithCancelCause(ctx)
	defer giveUp(nil)

	fed, over, read := make(chan struct{}), make(chan struct{}), make(chan struct{})
	var written atomic.Int64
	go func() {
		defer close(fed)
		if err := feed(x.in, body, &written); err != nil {
			giveUp(err) // its input stays open: it must not take a part for the whole
			return
		}
		x.in.Close()
	}()
	go func() {
		defer close(read)
		printed = firstOctets(x.out)
	}()
	go func() {
		defer close(over)
		_ = x.cmd.Wait() // ProcessState has it all
	}()

	select {
	case <-over:
		await(ctx, fed, &written)
	case <-ctx.Done():
	}
	if err = context.Cause(ctx); err != nil {
		x.end(over, err)
	}
	x.in.Close()
	x.out.SetReadDeadline(time.Now().Add(readWait))
	<-fed
	<-read
	x.out.Close()
	return printed, err
}

// await waits until the message is fed to what a program that is over has left
// behind, as long as that reads.
func await(ctx context.Context, fed <-chan struct{}, written *atomic.Int64) {
	tick := time.NewTicker(feedWait)
	defer tick.Stop()
	for before := int64(-1); before != written.Load(); {
		before = written.Load()
		select {
		case <-fed:
			return
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// end ends the whole process group. One whose message broke off gets no time to
// do anything with the part that it has.
func (x *process) end(over <-chan struct{}, why error) {
	group := -x.cmd.Process.Pid
	if _, broken := errors.AsType[local.BodyError](why); !broken {
		_ = unix.Kill(group, unix.SIGTERM)
		wait := termWait
		if why != errTime {
			wait = lastWait
		}
		patience := time.NewTimer(wait)
		select {
		case <-over:
		case <-patience.C:
		}
		patience.Stop()
	}
	_ = unix.Kill(group, unix.SIGKILL) // ESRCH: all are gone
	patience := time.NewTimer(killWait)
	defer patience.Stop()
	select {
	case <-over:
	case <-patience.C:
	}
}

// feed writes the message. A program that reads no further is none of our
// business (A51); a message that can't be read is an error.
func feed(in io.Writer, body io.Reader, written *atomic.Int64) error {
	buf := make([]byte, 64<<10)
	for {
		n, err := local.ReadBody(body, buf)
		if err != nil && err != io.EOF {
			return local.BodyError{Err: err}
		}
		if _, werr := in.Write(buf[:n]); werr != nil || err == io.EOF {
			return nil
		}
		written.Add(int64(n))
	}
}

// firstOctets reads to the end and returns what came first.
func firstOctets(r io.Reader) []byte {
	first, err := io.ReadAll(io.LimitReader(r, maxPrinted))
	if err == nil {
		_, _ = io.Copy(io.Discard, r) // or it would block, or die of it
	}
	return first
}

// stopped is the result of a program that we had to end.
func stopped(printed []byte, why error) outcome.Outcome {
	if _, broken := errors.AsType[local.BodyError](why); broken {
		return outcome.Deferral("4.3.0", "message was not delivered whole", why)
	}
	if why != errTime {
		return outcome.Deferral("4.3.0", "local delivery was interrupted", why)
	}
	return outcome.Deferral("4.3.0", reason(why.Error(), printed), why)
}

// ended is the result of a program that ended by itself.
func ended(state *os.ProcessState, printed []byte) outcome.Outcome {
	status, ok := state.Sys().(syscall.WaitStatus)
	switch {
	case !ok || !status.Exited() && !status.Signaled():
		err := fmt.Errorf("program ended as %v", state)
		return outcome.Deferral("4.3.0", reason("program ended in an unknown way", printed), err)
	case status.Signaled():
		err := fmt.Errorf("program was ended by signal %v", status.Signal())
		return outcome.Deferral("4.3.0", reason(err.Error(), printed), err)
	}
	return exited(status.ExitStatus(), printed)
}
