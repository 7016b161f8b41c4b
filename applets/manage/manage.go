package manage

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"syscall"

	"postoffice/applets/cmdline"
	"postoffice/applets/config"
	"postoffice/applets/server"
	"postoffice/applets/service"
)

// LSB's exit codes of what init scripts are asked for, but for status.
const (
	failed        = 1
	badUsage      = 2
	notAllowed    = 4
	notConfigured = 6
	notRunning    = 7
)

// Programs are what manages a server that runs.
func Programs() []cmdline.Applet {
	return []cmdline.Applet{
		program("status", "say whether the mail server runs", status),
		program("stop", "end the mail server", stop),
		program("reload", "have the mail server read its configuration again", reload),
		program("restart", "end the mail server and start it again, or start it", restart),
	}
}

// program is one of them; none has flags or arguments of its own.
func program(name, short string, run func(context.Context, *cmdline.Env) error) cmdline.Applet {
	return cmdline.Applet{Name: name, Short: short, Run: func(ctx context.Context, env *cmdline.Env) error {
		err := env.Parse()
		if err == nil && len(env.Args) > 0 {
			err = cmdline.Usagef("%s takes no arguments, got %.40q", name, env.Args[0])
		}
		if err != nil {
			if code := cmdline.ExitStatus(err); code != 0 {
				env.Report(err)
				return cmdline.ExitWith(badUsage, cmdline.ErrAnswered)
			}
			return err
		}
		return run(ctx, env)
	}}
}

// answer ends a program with a code of LSB's. What is wrong is told here: an exit code that
// the error's cause has of its own must not take that one's place.
func answer(env *cmdline.Env, code int, err error, hints ...string) error {
	env.Report(cmdline.ExitWith(code, err, hints...))
	return cmdline.ExitWith(code, cmdline.ErrAnswered)
}

func status(ctx context.Context, env *cmdline.Env) error {
	conf, _ := env.Config() // with errors it is good for this
	f := find(ctx, conf, true)
	text := ""
	switch f.state {
	case runs:
		text = fmt.Sprintf("postoffice %s runs, process %d", f.version, f.pid)
	case died:
		text = "postoffice doesn't run: its process died"
	case absent:
		text = "postoffice doesn't run"
	default:
		return answer(env, int(unknown), errors.New(f.why))
	}
	if _, err := fmt.Fprintln(env.Stdout, cmdline.Printed(text)); err != nil {
		return err
	}
	if f.state != runs {
		return cmdline.ExitWith(int(f.state), cmdline.ErrAnswered)
	}
	return nil
}

// ours is the server that is to be changed; answered is the end of a program for which
// there is none, or none that may be.
func ours(ctx context.Context, env *cmdline.Env, conf *config.Config) (f found, answered error) {
	f = find(ctx, conf, false)
	switch {
	case f.state == unknown:
		return f, answer(env, failed, errors.New(f.why), "try again in ten seconds: it makes a socket that was removed anew")
	case f.state != runs:
		return f, nil
	case f.pid == 0:
		return f, answer(env, failed, errors.New("the server is a process that can't be seen from here"), "do this where it was started")
	case f.uid != os.Geteuid():
		hint := "run it by sudo"
		if os.Geteuid() == 0 {
			hint = "where systemd has started it: systemctl status " + strconv.Itoa(f.pid) + " names the unit"
		}
		return f, answer(env, notAllowed, fmt.Errorf("the server is a process of uid %d, who alone may do this", f.uid), hint)
	}
	if err := service.CheckRunDir(conf.RunDir); err != nil { // who can write there can lead us to a socket of anybody's
		return f, answer(env, notAllowed, err)
	}
	if err := f.hold(ctx, conf); err != nil {
		return f, answer(env, failed, err, "try again in ten seconds")
	}
	return f, nil
}

func stop(ctx context.Context, env *cmdline.Env) error {
	conf, _ := env.Config()
	f, answered := ours(ctx, env, conf)
	if answered != nil || f.state != runs {
		return answered // what doesn't run has been stopped
	}
	var err error
	if unit := unitOf(ctx, f); unit != "" {
		err = bySystemd(ctx, "stop", unit)
	} else {
		err = end(ctx, conf, f)
	}
	if err != nil {
		return answer(env, failed, err)
	}
	return nil
}

// usable refuses a configuration that the server would refuse.
func usable(env *cmdline.Env) (*config.Config, error) {
	conf, err := env.Config()
	if err != nil {
		env.Report(err)
		return conf, cmdline.ExitWith(notConfigured, cmdline.ErrAnswered)
	}
	return conf, nil
}

func reload(ctx context.Context, env *cmdline.Env) error {
	conf, err := usable(env)
	if err != nil {
		return err
	}
	f, answered := ours(ctx, env, conf)
	if answered != nil {
		return answered
	}
	if f.state != runs {
		return answer(env, notRunning, errors.New("no mail server runs here"), "root starts one: postoffice smtpd")
	}
	if err := signal(f, syscall.SIGHUP); err != nil {
		return answer(env, failed, err)
	}
	return nil
}

func restart(ctx context.Context, env *cmdline.Env) error {
	conf, err := usable(env)
	if err != nil {
		return err
	}
	f, answered := ours(ctx, env, conf)
	if answered != nil {
		return answered
	}
	if f.state == runs {
		if unit := unitOf(ctx, f); unit != "" {
			if err := bySystemd(ctx, "restart", unit); err != nil {
				return answer(env, failed, err)
			}
			return nil
		}
		if err := end(ctx, conf, f); err != nil {
			return answer(env, failed, err)
		}
	}
	if err := server.Start(ctx, env, server.StartOptions{}); err != nil {
		env.Report(err)
		code := failed
		switch cmdline.ExitStatus(err) {
		case 72, 78:
			code = notConfigured
		case 77:
			code = notAllowed
		}
		return cmdline.ExitWith(code, cmdline.ErrAnswered)
	}
	return nil
}
