package applets

import (
	"context"
	"errors"
	"os"

	"postoffice/internal/privsep"
	"postoffice/internal/sysexits"
)

var smtpdApplet = Applet{
	Name:    "smtpd",
	Usage:   "[-d | -bD]",
	Short:   "receive and deliver mail",
	Ignored: sendmailIgnored,
	Run: func(ctx context.Context, env *Env) error {
		foreground := env.Flags.BoolP("foreground", "d", false, "stay in the foreground and log to standard error")
		mode := env.Flags.StringP("mode", "b", "d", "`MODE`: d in the background, D in the foreground")
		if err := env.Parse(); err != nil {
			return err
		}
		if *mode != "d" && *mode != "D" {
			return usageErrorf("mode -b%s is not smtpd's", *mode)
		}
		return serve(ctx, env, *foreground || *mode == "D")
	},
}

// serve is the mail server: in the foreground, or in the background, and then
// it returns when the ports are bound and the server answers.
func serve(ctx context.Context, env *Env, foreground bool) error {
	if len(env.Args) > 0 {
		return usageErrorf("what is %q to a server?", env.Args[0])
	}
	inherited, err := privsep.Inherited()
	if err != nil {
		return err
	}
	conf, err := env.Config()
	if err != nil {
		return err
	}
	if foreground {
		d := daemon{env: env, conf: conf, foreground: true, inherited: inherited}
		return d.run(ctx)
	}
	if len(inherited) > 0 {
		return exitWith(sysexits.Usage, errors.New("sockets from a service manager are for a server in the foreground"), "start it as smtpd -bD")
	}
	if os.Getuid() == 0 {
		if _, err := serverUser(conf); err != nil {
			return err
		}
	}
	if err := (privsep.Background{Args: env.ConfigFlags()}).Start(ctx); err != nil {
		return startError(err)
	}
	return nil
}

// runMasterRole is the daemon that serve, runq or sendmail started behind
// itself.
func runMasterRole(ctx context.Context, env *Env) error {
	starter, err := privsep.FromStarter()
	if err != nil {
		return err
	}
	env.Program = "smtpd" // as whom the user started it
	env.prepare(Applet{Name: "smtpd"}, env.Args)
	pass := env.Flags.Bool("pass", false, "try the queue once, then end")
	if err := env.Parse(); err != nil {
		return err
	}
	conf, err := env.Config()
	if err != nil {
		return err
	}
	d := daemon{env: env, conf: conf, onePass: *pass, session: starter.Session, answers: starter.Ready}
	return d.run(ctx)
}
