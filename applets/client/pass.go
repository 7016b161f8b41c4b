package client

import (
	"context"

	"postoffice/applets/cmdline"
	"postoffice/applets/control"
	"postoffice/applets/server"
	"postoffice/applets/service"
)

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
