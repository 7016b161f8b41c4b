package applets

import (
	"context"
	"errors"

	"postoffice/applets/client"
	"postoffice/applets/cmdline"
	"postoffice/applets/sysexits"
	"postoffice/applets/trymilter"
)

var milterApplet = cmdline.Applet{
	Name:  "milter",
	Usage: "test [-m file] name",
	Short: "show a message to a mail filter, and tell what the filter says",
	Run: func(ctx context.Context, env *cmdline.Env) error {
		file := env.Flags.StringP("message", "m", "", "`file` with the message")
		if err := env.Parse(); err != nil {
			return err
		}
		if len(env.Args) != 2 || env.Args[0] != "test" {
			return cmdline.Usagef("want test and the name of a filter")
		}
		conf, err := env.Config()
		if err != nil {
			return err
		}
		task, err := trymilter.NewTask(conf, env.Args[1], *file)
		if err != nil {
			return cmdline.Usagef("%v", err)
		}
		return triedWith(client.AsServer(ctx, env, conf, trialRole, task))
	},
}

// trialRole is the process that speaks to the filter for root, with the ids of the server;
// the task comes on standard input.
const trialRole = "postoffice: trial"

func runTrialRole(ctx context.Context, env *cmdline.Env) error {
	return triedWith(client.DoTask[trymilter.Task](ctx, env, "milter test"))
}

// triedWith gives a filter's failure its exit code.
func triedWith(err error) error {
	if errors.Is(err, trymilter.ErrFilter) {
		return cmdline.ExitWith(sysexits.Unavailable, err)
	}
	return err
}
