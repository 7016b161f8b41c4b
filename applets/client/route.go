package client

import (
	"context"
	"fmt"

	"postoffice/applets/cmdline"
	"postoffice/applets/control"
	"postoffice/applets/server"
	"postoffice/applets/service"
	"postoffice/applets/sysexits"
)

// Routes is how routes are found here: by the daemon, where none runs by a
// server that root or the queue's owner starts for the question, else by this
// process as far as it can see.
func Routes(ctx context.Context, env *cmdline.Env) (server.Router, error) {
	conf, confErr := env.Config()
	client, err := dialControl(ctx, conf)
	if err == nil {
		client.Close() // each question has its own connection
		(&flaw{env: env, err: confErr}).tell()
		return func(ctx context.Context, address, sender string) ([]control.Step, error) {
			client, err := dialControl(ctx, conf)
			if err != nil {
				return nil, err
			}
			defer client.Close()
			return client.Route(ctx, address, sender)
		}, nil
	}
	switch {
	case !isAbsent(err):
		return nil, cmdline.ExitWith(sysexits.TempFail, fmt.Errorf("the mail server's socket: %w", err))
	case confErr != nil:
		return nil, confErr
	}
	if running, _ := service.Running(conf.RunDir); running {
		return nil, unanswered(conf)
	}
	if server.MayServe(conf) {
		return func(ctx context.Context, address, sender string) ([]control.Step, error) {
			return askOnce(ctx, env, address, sender)
		}, nil
	}
	return server.RoutesHere(ctx, env, conf)
}

// askOnce starts a server that answers one question and does nothing else.
func askOnce(ctx context.Context, env *cmdline.Env, address, sender string) ([]control.Step, error) {
	client, err := passClient(ctx, env)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	return client.Route(ctx, address, sender)
}
