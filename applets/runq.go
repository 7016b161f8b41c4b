package applets

import (
	"context"
	"errors"
	"fmt"

	"postoffice/internal/control"
	"postoffice/internal/privsep"
	"postoffice/internal/sysexits"
)

var runq = Applet{
	Name:    "runq",
	Usage:   "[-v]",
	Short:   "try to deliver everything in the queue now",
	Ignored: sendmailIgnored,
	Run: func(ctx context.Context, env *Env) error {
		verbose := env.Flags.BoolP("verbose", "v", false, "show on standard error how the messages are delivered, and wait for that")
		if err := env.Parse(); err != nil {
			return err
		}
		if len(env.Args) > 0 {
			return usageErrorf("%.40q: the whole queue is run; postoffice queue retry takes IDs and filters", env.Args[0])
		}
		return runTheQueue(ctx, env, *verbose)
	},
}

// runTheQueue asks the daemon to try everything now and doesn't wait for it;
// where none runs, it does one pass itself and waits. verbose shows what happens
// and waits in both cases.
func runTheQueue(ctx context.Context, env *Env, verbose bool) error {
	conf, err := env.Config()
	if err != nil {
		return err
	}
	client, err := dialControl(ctx, conf)
	if err == nil {
		defer client.Close()
		if verbose {
			return watchRun(ctx, env, client)
		}
		return answered(client.Run(ctx))
	}
	if !isAbsent(err) {
		return exitWith(sysexits.TempFail, fmt.Errorf("the mail server's socket: %w", err))
	}
	if !mayServe(conf) {
		return exitWith(sysexits.NoPerm, fmt.Errorf("only root and the owner of %s may run it", conf.QueueDir),
			"ask root; a server that runs tries each message by itself")
	}
	if running, _ := privsep.Running(conf.RunDir); running {
		return unanswered(conf)
	}
	if verbose {
		return watchPass(ctx, env)
	}
	d := daemon{env: env, conf: conf, onePass: true}
	return d.run(ctx)
}

// answered makes an error of the server's one that has its exit code.
func answered(err error) error {
	if e := (*control.Error)(nil); errors.As(err, &e) {
		return exitWith(e.Code, errors.New(e.Text))
	}
	return err
}

// watchRun has the server try everything, and shows it to the end.
func watchRun(ctx context.Context, env *Env, client *control.Client) error {
	v := viewer{out: env.Stderr, program: env.Program, each: true}
	return answered(client.Watch(ctx, control.Request{All: true, Run: true}, func(some []control.Sight) bool {
		for _, s := range some {
			v.see(s, false)
		}
		return true
	}))
}

// watchPass is one pass of a server in the background, which goes on if we are
// ended.
func watchPass(ctx context.Context, env *Env) error {
	client, err := passClient(ctx, env)
	if err != nil {
		return err
	}
	defer client.Close()
	return watchRun(ctx, env, client)
}
