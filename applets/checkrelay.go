package applets

import (
	"context"

	"postoffice/applets/checkrelay"
	"postoffice/applets/client"
	"postoffice/applets/cmdline"
	"postoffice/internal/smarthost"
)

var checkRelay = cmdline.Applet{
	Name:  "check-relay",
	Usage: "[-v] [smarthost]",
	Short: "try the ways to smarthosts: connect, log in, send nothing",
	Run: func(ctx context.Context, env *cmdline.Env) error {
		verbose := env.Flags.BoolP("verbose", "v", false, "show the conversation")
		if err := env.Parse(); err != nil {
			return err
		}
		if len(env.Args) > 1 {
			return cmdline.Usagef("%.40q: one smarthost is tried", env.Args[1])
		}
		conf, err := env.Config()
		if err != nil {
			return err
		}
		only := ""
		if len(env.Args) > 0 {
			h, err := smarthost.Parse(env.Args[0])
			if err != nil {
				return cmdline.Usagef("%v", err)
			}
			only = h.String()
		}
		task, err := checkrelay.NewTask(ctx, conf, only, *verbose)
		if err != nil {
			return cmdline.ExitWith(checkrelay.Finding, err)
		}
		return client.AsServer(ctx, env, conf, checkRole, task)
	},
}

// checkRole is the process that does the check for root, with the ids of the server; the
// task comes on standard input.
const checkRole = "postoffice: check"

func runCheckRole(ctx context.Context, env *cmdline.Env) error {
	return client.DoTask[checkrelay.Task](ctx, env, "check-relay")
}
