package applets

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"time"

	"postoffice/internal/control"
	"postoffice/internal/maillog"
	"postoffice/internal/privsep"
	"postoffice/internal/smtpd"
	"postoffice/spool"
)

// lastLook is what a client may take to read the end of an answer when a pass
// is over.
const lastLook = 10 * time.Second

// onePass is what a server for one pass tries.
type onePass struct {
	only    []spool.ID // none: everything
	reroute bool       // as for deliver.Runner.PassOf
}

// pass takes one session, if there is one, and then tries every message once.
// Beside that it answers a request to the control socket. Without a session that
// request decides: it asks to watch a run, or no message is tried.
func (s *system) pass(ctx context.Context, session, asked *os.File) error {
	begin := make(chan onePass, 1)
	var what onePass
	answered := make(chan struct{})
	if asked != nil {
		s.passes = func(p onePass) { begin <- p }
		if err := s.answer(ctx, asked, answered); err != nil {
			return err
		}
		defer s.lastWords(answered)
	}
	switch {
	case session != nil:
		came, err := s.serveSession(ctx, session)
		if err != nil || !came || s.queueOnly || s.kept.Load() {
			return err
		}
	case asked != nil:
		select {
		case what = <-begin:
		case <-answered:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if len(what.only) > 0 {
		return s.runner.PassOf(ctx, what.only, what.reroute)
	}
	s.pickUp(ctx)
	return s.runner.Pass(ctx)
}

// answer answers the request of one connection in the background.
func (s *system) answer(ctx context.Context, asked *os.File, answered chan struct{}) error {
	conn, err := net.FileConn(asked)
	asked.Close()
	if err != nil {
		return fmt.Errorf("control connection: %w", err)
	}
	unix, ok := conn.(*net.UnixConn)
	if !ok {
		conn.Close()
		return fmt.Errorf("control connection: a %s socket", conn.LocalAddr().Network())
	}
	s.work.Go(func() {
		defer close(answered)
		control.ServeConn(ctx, unix, s.controls(ctx))
	})
	return nil
}

// lastWords lets who watches the pass see its end.
func (s *system) lastWords(answered chan struct{}) {
	s.watchers.end()
	timer := time.NewTimer(lastLook)
	defer timer.Stop()
	select {
	case <-answered:
	case <-timer.C:
	}
}

// serveSession takes one SMTP session. came says that there was a client.
func (s *system) serveSession(ctx context.Context, session *os.File) (came bool, err error) {
	conn, err := net.FileConn(session)
	session.Close()
	if err != nil {
		return false, fmt.Errorf("session: %w", err)
	}
	kind := smtpd.Port25 // inetd's
	if _, unix := conn.(*net.UnixConn); unix {
		kind = smtpd.Submission
	} else if conn.RemoteAddr() == nil {
		return false, conn.Close() // the client is gone, or there never was one
	}
	if err := s.smtp.ServeConn(ctx, conn, kind); err != nil {
		s.log.LogAttrs(ctx, slog.LevelDebug, "session ended", maillog.Err(err))
	}
	return true, nil
}

// passClient starts a server in the background for one pass, and is the client
// of its one control request.
func passClient(ctx context.Context, env *Env) (*control.Client, error) {
	ours, theirs, err := connPair()
	if err != nil {
		return nil, err
	}
	client := control.NewClient(ours)
	start := privsep.Background{Args: append([]string{"--pass"}, env.ConfigFlags()...), Control: theirs}
	if err := start.Start(ctx); err != nil {
		client.Close()
		return nil, startError(err)
	}
	return client, nil
}
