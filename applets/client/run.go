package client

import (
	"context"
	"errors"
	"fmt"

	"postoffice/applets/cmdline"
	"postoffice/applets/control"
	"postoffice/applets/server"
	"postoffice/applets/service"
	"postoffice/applets/sysexits"
)

// RunQueue asks the daemon to try everything now and doesn't wait for it;
// where none runs, it does one pass itself and waits. verbose shows what happens
// and waits in both cases.
func RunQueue(ctx context.Context, env *cmdline.Env, verbose bool) error {
	conf, confErr := env.Config()
	client, err := dialControl(ctx, conf)
	if err == nil {
		defer client.Close()
		(&flaw{env: env, err: confErr}).tell()
		if verbose {
			return watchRun(ctx, env, client)
		}
		return answered(client.Run(ctx))
	}
	if !isAbsent(err) {
		return cmdline.ExitWith(sysexits.TempFail, fmt.Errorf("the mail server's socket: %w", err))
	}
	if confErr != nil {
		return confErr
	}
	if !server.MayServe(conf) {
		return cmdline.ExitWith(sysexits.NoPerm, fmt.Errorf("only root and the owner of %s may run it", conf.QueueDir),
			"ask root; a server that runs tries each message by itself")
	}
	if running, _ := service.Running(conf.RunDir); running {
		return unanswered(conf)
	}
	if verbose {
		return watchPass(ctx, env)
	}
	return server.RunPass(ctx, env, conf)
}

// answered makes an error of the server's one that has its exit code.
func answered(err error) error {
	if e := (*control.Error)(nil); errors.As(err, &e) {
		return cmdline.ExitWith(e.Code, errors.New(e.Text))
	}
	return err
}

// watchRun has the server try everything, and shows it to the end.
func watchRun(ctx context.Context, env *cmdline.Env, client *control.Client) error {
	v := viewer{out: env.Stderr, program: env.Program, each: true}
	return answered(client.Watch(ctx, control.Request{All: true, Run: true}, func(some []control.Event) bool {
		for _, s := range some {
			v.show(s, false)
		}
		return true
	}))
}

// watchPass is one pass of a server in the background, which goes on if we are
// ended.
func watchPass(ctx context.Context, env *cmdline.Env) error {
	client, err := passClient(ctx, env)
	if err != nil {
		return err
	}
	defer client.Close()
	return watchRun(ctx, env, client)
}

// passClient starts a server in the background for one pass, and is the client
// of its one control request.
func passClient(ctx context.Context, env *cmdline.Env) (*control.Client, error) {
	ours, theirs, err := service.ConnPair()
	if err != nil {
		return nil, err
	}
	client := control.NewClient(ours)
	start := service.Background{Args: append([]string{"--pass"}, env.ConfigFlags()...), Control: theirs}
	if err := start.Start(ctx); err != nil {
		client.Close()
		return nil, server.StartError(err)
	}
	return client, nil
}

// StartsPass reports whether no server runs and the caller may start one for a
// pass.
func StartsPass(ctx context.Context, env *cmdline.Env) bool {
	conf, err := env.Config()
	if err != nil || !server.MayServe(conf) {
		return false
	}
	client, err := dialControl(ctx, conf)
	if err == nil {
		client.Close()
		return false
	}
	running, unsure := service.Running(conf.RunDir)
	return isAbsent(err) && !running && unsure == nil
}

// TryAlone has a server of its own try some messages, and waits for it.
func TryAlone(ctx context.Context, env *cmdline.Env, ids []string, reroute bool) error {
	client, err := passClient(ctx, env)
	if err != nil {
		return err
	}
	defer client.Close()
	return answered(client.Watch(ctx, control.Request{All: true, Run: true, Only: ids, Reroute: reroute}, func([]control.Event) bool { return true }))
}
