package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"syscall"

	"postoffice/applets/cmdline"
	"postoffice/applets/config"
	"postoffice/applets/server"
	"postoffice/applets/service"
)

// asUser runs one of the roles with another user's ids and waits for it. What
// it printed is all that there is to say; its exit code is ours.
func asUser(ctx context.Context, env *cmdline.Env, u service.User, argv []string, stdin io.Reader) error {
	cmd := exec.CommandContext(ctx, service.Program())
	cmd.Args, cmd.Env, cmd.Dir = argv, service.ChildEnv(), "/"
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, env.Stdout, env.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Credential: &syscall.Credential{Uid: uint32(u.UID), Gid: uint32(u.GID)},
		Setsid:     true, // else it could type into root's terminal (TIOCSTI)
	}
	return childEnd(cmd.Run())
}

// childEnd is what a program ends with whose child has done its work: as the
// child did. One that nobody listens to any more, as in "mailq | head", ends in
// silence.
func childEnd(err error) error {
	e := (*exec.ExitError)(nil)
	if !errors.As(err, &e) {
		return err
	}
	code := e.ExitCode()
	if how, ok := e.Sys().(syscall.WaitStatus); ok && how.Signaled() && how.Signal() == syscall.SIGPIPE {
		code = 128 + int(syscall.SIGPIPE)
	}
	if code > 0 {
		return cmdline.ExitWith(code, cmdline.ErrAnswered)
	}
	return err
}

// OwnerRole is the process that is an applet for root, with the ids of the
// queue's owner; the configuration comes on standard input.
const OwnerRole = "postoffice: queue"

// asOwner runs the applet again as the server-user.
func asOwner(ctx context.Context, env *cmdline.Env, conf *config.Config, change bool) error {
	owner, err := server.ServerUser(conf)
	if err != nil {
		return err
	}
	if change { // it will log, and can make no file of the log's
		_, closeLog, err := server.OpenLog(env, conf, "queue")
		if err != nil {
			return err
		}
		closeLog()
	}
	argv := append([]string{OwnerRole}, env.Call()...)
	return asUser(ctx, env, owner, argv, bytes.NewReader(conf.Encode()))
}

// A Task is work that root leaves to the server-user, since it means to hear what root must
// not: a value that JSON can hold, with all of what it needs that its process can't read.
type Task interface {
	Do(ctx context.Context, out io.Writer) error
}

// AsServer does a task: for root a role does it as the server-user, by DoTask.
func AsServer(ctx context.Context, env *cmdline.Env, conf *config.Config, role string, task Task) error {
	if os.Getuid() != 0 {
		return task.Do(ctx, env.Stdout)
	}
	owner, err := server.ServerUser(conf)
	if err != nil {
		return err
	}
	text, err := json.Marshal(task)
	if err != nil {
		return err
	}
	return asUser(ctx, env, owner, []string{role}, bytes.NewReader(text))
}

// DoTask is a role that does a task of AsServer's, which comes on standard input. part says
// to who calls it otherwise whose part it is.
func DoTask[T Task](ctx context.Context, env *cmdline.Env, part string) error {
	if os.Getuid() == 0 {
		return cmdline.Usagef("this is a part of %s", part)
	}
	var task T
	if err := json.NewDecoder(env.Stdin).Decode(&task); err != nil {
		return err
	}
	return task.Do(ctx, env.Stdout)
}
