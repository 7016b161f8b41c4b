package applets

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	"postoffice/internal/config"
	"postoffice/internal/control"
	"postoffice/internal/privsep"
	"postoffice/internal/sysexits"
	"postoffice/spool"
)

// startsPass says that no server runs, and that the caller may start one for a
// pass.
func startsPass(ctx context.Context, env *Env) bool {
	conf, err := env.Config()
	if err != nil || !mayServe(conf) {
		return false
	}
	client, err := dialControl(ctx, conf)
	if err == nil {
		client.Close()
		return false
	}
	running, unsure := privsep.Running(conf.RunDir)
	return isAbsent(err) && !running && unsure == nil
}

// retryAlone is retry where no server runs: a server for this one pass tries
// the messages, and no others. It waits for the end of that.
func (q *queueRun) retryAlone(ctx context.Context) error {
	ids, err := q.triable(ctx)
	if err != nil {
		return err
	}
	q.verb.past = "tried"
	for some := range slices.Chunk(ids, control.MaxOnly) {
		if err := passOver(ctx, q.env, some, q.reroute); err != nil {
			return err
		}
		for _, id := range some {
			if err := q.tellChange(id, nil); err != nil {
				return err
			}
		}
	}
	if q.code != sysexits.OK {
		return exitWith(q.code, errAnswered)
	}
	return nil
}

// triable are those of the messages that can be tried: what a dry run of the
// command says. The others are told.
func (q *queueRun) triable(ctx context.Context) (ids []string, err error) {
	var said bytes.Buffer
	env, dry := *q.env, *q
	env.Stdout, env.given = &said, append([]string{"-n", "--json"}, env.given...)
	dry.env, dry.dry, dry.json = &env, true, true
	err = atQueue(ctx, &env, true, func(queue queueAccess, conf *config.Config) error {
		dry.queue, dry.returned = queue, conf.QReturn
		return dry.run(ctx)
	})
	if err != nil && !errors.Is(err, errAnswered) {
		return nil, err
	}
	for lines := json.NewDecoder(&said); ; {
		var o outcome
		err := lines.Decode(&o)
		if errors.Is(err, io.EOF) {
			return ids, nil
		}
		if err != nil {
			return nil, fmt.Errorf("the list of messages: %w", err)
		}
		if _, ok := spool.ParseID(o.ID); o.OK && ok {
			ids = append(ids, o.ID)
			continue
		}
		if err := q.told(o.ID, &control.Error{Code: o.Code, Text: o.Error}); err != nil {
			return nil, err
		}
	}
}

// passOver has a server of its own try some messages, and waits for it.
func passOver(ctx context.Context, env *Env, ids []string, reroute bool) error {
	client, err := passClient(ctx, env)
	if err != nil {
		return err
	}
	defer client.Close()
	return answered(client.Watch(ctx, control.Request{All: true, Run: true, Only: ids, Reroute: reroute}, func([]control.Sight) bool { return true }))
}
