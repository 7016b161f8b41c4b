package applets

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"

	"postoffice/deliver"
	"postoffice/internal/alias"
	"postoffice/internal/config"
	"postoffice/internal/control"
	"postoffice/internal/maillog"
	"postoffice/internal/sysexits"
	"postoffice/spool"
)

// changer changes messages in the files, where no server runs.
type changer struct {
	env    *Env
	conf   *config.Config
	log    *slog.Logger
	queue  *spool.Queue
	runner *deliver.Runner // nil until it is needed; it delivers nothing
}

func (c *changer) act(ctx context.Context, r control.Request, by string) error {
	if r.Do == control.Retry {
		return &control.Error{Code: sysexits.Unavailable, Text: "no mail server runs here; runq tries everything now"}
	}
	if c.runner == nil {
		s := &system{conf: c.conf, log: c.log, queue: c.queue, resolver: newResolver(c.conf, c.log)}
		s.aliases.Store(alias.Open(c.conf.Aliases))
		s.self = s.hostname(ctx)
		c.runner = deliver.NewRunner(s.deliverOptions())
	}
	return change(ctx, c.runner, r, by)
}

// by is who changes a message, for the log.
func by(uid int) string { return fmt.Sprintf("uid %d", uid) }

// change is the table from the verbs to what they do.
func change(ctx context.Context, runner *deliver.Runner, r control.Request, by string) error {
	id, ok := spool.ParseID(r.ID)
	if !ok {
		_, err := noMessage(r.ID)
		return err
	}
	var err error
	switch r.Do {
	case control.Hold:
		err = runner.Hold(ctx, id, r.Reason, by)
	case control.Release:
		err = runner.Release(ctx, id, by)
	case control.Retry:
		err = runner.Retry(id, r.Reroute)
	case control.Bounce:
		err = runner.Bounce(ctx, id, by)
	case control.Remove:
		err = runner.Remove(ctx, id, by)
	default:
		err = &control.Error{Code: sysexits.Usage, Text: fmt.Sprintf("no command %q", r.Do)}
	}
	return toldError(r.ID, err)
}

// toldError is a failure about one message as people are told it.
func toldError(id string, err error) error {
	refused := func(text string) error { return &control.Error{Code: sysexits.Unavailable, Text: text} }
	switch {
	case errors.Is(err, spool.ErrGone):
		_, err = noMessage(id)
	case errors.Is(err, spool.ErrCorrupt):
		err = refused("its file is damaged; mailq " + id + " tells more, and remove drops it")
	case errors.Is(err, spool.ErrBusy):
		err = &control.Error{Code: sysexits.TempFail, Text: "it is being delivered just now; try again in a while"}
	case errors.Is(err, deliver.ErrHeld):
		err = refused("it is held; release puts it back and tries it")
	case errors.Is(err, deliver.ErrNotHeld):
		err = refused("it is not held")
	case errors.Is(err, deliver.ErrNobody):
		err = refused(deliver.ErrNobody.Error() + "; remove drops it")
	}
	return err
}

// act does what a client of the control socket asks for. What it starts ends
// with life.
func (s *system) act(ctx, life context.Context, p control.Peer, r control.Request) error {
	if err := mayChange(p); err != nil {
		return err
	}
	err := change(ctx, s.runner, r, by(p.UID))
	if err == nil && r.Do == control.Retry && s.queueOnly {
		s.passOf(life, spool.ID(r.ID), r.Reroute)
	}
	return err
}

// passOf tries one message in the background where nothing runs the queue.
func (s *system) passOf(ctx context.Context, id spool.ID, reroute bool) {
	s.work.Go(func() {
		s.passing.Lock()
		defer s.passing.Unlock()
		runner := deliver.NewRunner(s.deliverOptions())
		if err := runner.PassOf(ctx, []spool.ID{id}, reroute); err != nil {
			s.log.LogAttrs(ctx, slog.LevelWarn, "message not tried", maillog.QueueID(id), maillog.Err(err))
		}
	})
}

// mayChange lets root and the owner of the queue pass.
func mayChange(p control.Peer) error {
	if p.UID != 0 && p.UID != os.Getuid() {
		return &control.Error{Code: sysexits.NoPerm, Text: "only root and the owner of the queue may do that"}
	}
	return nil
}
