package applets

import (
	"context"
	"errors"
	"log/slog"

	"postoffice/deliver"
	"postoffice/deliver/local"
	"postoffice/internal/alias"
	"postoffice/internal/config"
	"postoffice/internal/control"
	"postoffice/internal/privsep"
)

// ownSight finds routes in this process, for somebody who may neither ask a
// server, since none runs, nor start one. It reads what he may read.
func ownSight(ctx context.Context, env *Env, conf *config.Config) (asker, error) {
	me, err := ourselves()
	if err != nil {
		return nil, err
	}
	log := slog.New(slog.DiscardHandler)
	s := &system{conf: conf, log: log, resolver: newResolver(conf, log),
		ground: ground{accounts: privsep.Names{}.Accounts(), mailer: bystander{newOwnMailer(conf, me, log), me.Name}}}
	s.aliases.Store(alias.Open(conf.Aliases))
	s.self = s.hostname(ctx)
	router := deliver.NewRouter(s.deliverOptions())
	say(env.Stderr, env.Program, "no mail server runs here: whether other users' mail is forwarded can't be seen")
	return func(ctx context.Context, address, sender string) ([]control.Step, error) {
		to, from, err := routeOf(address, sender)
		if err != nil {
			return nil, err
		}
		ctx, cancel := context.WithTimeout(ctx, routeWait)
		defer cancel()
		var all []control.Step
		for step := range router.DryRun(ctx, to, from) {
			all = append(all, stepOf(step))
		}
		return all, nil
	}, nil
}

// bystander is a LocalMailer that reads with the rights of its user alone, and
// delivers nothing.
type bystander struct {
	own *ownMailer
	me  string
}

var errBystander = errors.New("only the mail server may do that, and none runs")

func (b bystander) Deliver(context.Context, string, local.Delivery) local.Result {
	return local.Result{Err: errBystander}
}

func (b bystander) Run(context.Context, string, local.Job) local.Result {
	return local.Result{Err: errBystander}
}

func (b bystander) Recorded(string) {}

func (b bystander) Forwards(ctx context.Context, user, extension string) (bool, error) {
	if user != b.me {
		return false, nil
	}
	return b.own.Forwards(ctx, user, extension)
}

// List reads a list in a file that an alias names as its default-user would, if
// the file is for everybody.
func (b bystander) List(ctx context.Context, l local.Listing) ([]local.Line, error) {
	if l.User != b.me && l.Item.Source != local.FromAlias {
		return nil, errBystander
	}
	l.User = b.me
	return b.own.List(ctx, l)
}
