package applets

import (
	"context"

	"postoffice/applets/client"
	"postoffice/applets/cmdline"
)

var runq = cmdline.Applet{
	Name:    "runq",
	Usage:   "[-v]",
	Short:   "try to deliver everything in the queue now",
	Ignored: cmdline.SendmailIgnored,
	Run: func(ctx context.Context, env *cmdline.Env) error {
		verbose := env.Flags.BoolP("verbose", "v", false, "show on standard error how the messages are delivered, and wait for that")
		if err := env.Parse(); err != nil {
			return err
		}
		if len(env.Args) > 0 {
			return cmdline.Usagef("%.40q: the whole queue is run; postoffice queue retry takes IDs and filters", env.Args[0])
		}
		return client.RunQueue(ctx, env, *verbose)
	},
}
