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
	Usage:   "",
	Short:   "try to deliver everything in the queue now",
	Ignored: sendmailIgnored,
	Run: func(ctx context.Context, env *Env) error {
		if err := env.Parse(); err != nil {
			return err
		}
		return runTheQueue(ctx, env)
	},
}

// runTheQueue asks the daemon to try everything now and doesn't wait for it;
// where none runs, it does one pass itself and waits.
func runTheQueue(ctx context.Context, env *Env) error {
	conf, err := env.Config()
	if err != nil {
		return err
	}
	client, err := dialControl(ctx, conf)
	if err == nil {
		defer client.Close()
		err = client.Run(ctx)
		if e := (*control.Error)(nil); errors.As(err, &e) {
			return exitWith(e.Code, errors.New(e.Text))
		}
		return err
	}
	if !isAbsent(err) {
		return exitWith(sysexits.TempFail, fmt.Errorf("the mail server's socket: %w", err))
	}
	if !mayServe(conf) {
		return exitWith(sysexits.NoPerm, fmt.Errorf("only root and the owner of %s may run it", conf.QueueDir))
	}
	if running, _ := privsep.Running(conf.RunDir); running {
		return exitWith(sysexits.TempFail, errors.New("a mail server runs, but its control socket doesn't answer"))
	}
	d := daemon{env: env, conf: conf, onePass: true}
	return d.run(ctx)
}
