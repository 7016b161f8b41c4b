package applets

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"os/user"
	"strconv"
	"syscall"

	"postoffice/internal/config"
	"postoffice/internal/privsep"
	"postoffice/internal/sysexits"
)

// serverUser is the account that the server runs as.
func serverUser(conf *config.Config) (privsep.User, error) {
	u, err := user.Lookup(conf.ServerUser)
	if err != nil {
		if !errors.As(err, new(user.UnknownUserError)) {
			return privsep.User{}, fmt.Errorf("look up %s: %w", conf.ServerUser, err)
		}
		return privsep.User{}, exitWith(sysexits.Config, fmt.Errorf("there is no account %q for the server to run as (option server-user)", conf.ServerUser),
			"make it: useradd --system --user-group --no-create-home --home-dir "+conf.QueueDir+" --shell /usr/sbin/nologin "+conf.ServerUser,
			"or with busybox: adduser -S -D -H "+conf.ServerUser)
	}
	uid, err1 := strconv.Atoi(u.Uid)
	gid, err2 := strconv.Atoi(u.Gid)
	if err := errors.Join(err1, err2); err != nil {
		return privsep.User{}, fmt.Errorf("account %s: %w", conf.ServerUser, err)
	}
	if uid == 0 {
		return privsep.User{}, exitWith(sysexits.Config, fmt.Errorf("server-user=%s is root: the server must not be", conf.ServerUser),
			"give it an account that nothing else uses, as the default, postoffice")
	}
	return privsep.User{Name: u.Username, UID: uid, GID: gid}, nil
}

// asUser runs one of the roles with another user's ids and waits for it. What
// it printed is all that there is to say; its exit code is ours.
func asUser(ctx context.Context, env *Env, u privsep.User, argv []string, stdin io.Reader) error {
	cmd := exec.CommandContext(ctx, "/proc/self/exe")
	cmd.Args, cmd.Env, cmd.Dir = argv, []string{}, "/"
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
		return exitWith(code, errAnswered)
	}
	return err
}
