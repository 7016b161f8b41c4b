package applets

import (
	"context"
	"io"
	"os"

	"postoffice/applets/client"
	"postoffice/applets/cmdline"
	"postoffice/applets/config"
	"postoffice/applets/install"
	"postoffice/applets/larger"
	"postoffice/applets/manage"
	"postoffice/applets/server"
	"postoffice/applets/virtual"
)

// programs lists the applets, in the order in which help shows them, and as
// roles what the server starts from /proc/self/exe. Nobody else calls the
// roles: one without the descriptors that it inherits ends at once.
func programs() cmdline.Programs {
	authExpire, greylist, vpasswd, dbm := larger.Programs()
	all := []cmdline.Applet{smtpdApplet, sendmail, mailq, runq, queueApplet, routeApplet, sessionsApplet, limitsApplet, authExpire, greylist, virtual.Domains, vpasswd, newaliases, dbm, configApplet, checkRelay, milterApplet}
	all = append(append(all, manage.Programs()...), install.Install(manage.Running), install.Uninstall)
	return cmdline.Programs{
		Applets: all,
		Plain:   plainApplet(),
		Roles:   append(server.Roles(), cmdline.Role{Argv0: client.OwnerRole, Run: runAsOwner}, cmdline.Role{Argv0: checkRole, Run: runCheckRole}, cmdline.Role{Argv0: trialRole, Run: runTrialRole}),
	}
}

// Main runs what argv asks for and returns its exit code.
func Main(argv []string) int {
	env := &cmdline.Env{Program: "postoffice", Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr}
	if err := server.Guard(); err != nil {
		return env.Finish(err)
	}
	return programs().Run(context.Background(), env, argv)
}

func runAsOwner(ctx context.Context, env *cmdline.Env) error {
	if len(env.Args) < 2 || os.Getuid() == 0 {
		return cmdline.Usagef("this is a part of mailq and queue")
	}
	data, err := io.ReadAll(env.Stdin)
	if err != nil {
		return err
	}
	conf, err := config.Decode(data)
	if err != nil {
		return err
	}
	a, err := env.Lend(programs(), conf)
	if err != nil {
		return err
	}
	return a.Run(ctx, env)
}
