package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"time"

	"postoffice/applets/cmdline"
	"postoffice/applets/service"
	"postoffice/applets/sysexits"
	"postoffice/internal/maillog"
	"postoffice/internal/smtp"
	"postoffice/spool/maildrop"
)

// dropInterval is how often a server looks into maildrop/: nobody tells it.
const dropInterval = time.Minute

// watchMaildrop picks up what lies in maildrop/, at once and every minute.
func (s *system) watchMaildrop(ctx context.Context) {
	tick := time.NewTicker(dropInterval)
	defer tick.Stop()
	for {
		s.pickUp(ctx)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// pickUp takes all that lies in maildrop/ into the queue.
func (s *system) pickUp(ctx context.Context) {
	for more := s.drops != nil; more && ctx.Err() == nil; {
		var err error
		more, err = s.drops.PickUp(ctx, s.settings.Load().conf.Size, func(d *maildrop.Dropped) error { return s.submitDrop(ctx, d) })
		if err != nil && ctx.Err() == nil {
			s.log.LogAttrs(ctx, slog.LevelWarn, "maildrop not picked up", maillog.Err(err))
		}
	}
}

// submitDrop submits a message that was left, as its owner would have: in a
// session of that user's. What root is said to have left is held there (inbox).
func (s *system) submitDrop(ctx context.Context, d *maildrop.Dropped) error {
	owner := d.Owner
	if d.Disowned {
		owner = 0
	}
	login, err := Login(owner)
	if err != nil {
		return err
	}
	conn, end, err := s.sessionFor(ctx, owner)
	if err != nil {
		return err
	}
	defer end()
	client, err := NewSession(conn, time.Time{})
	if err != nil {
		return err
	}
	defer client.Close()
	from := smtp.Path{Local: login}
	if d.ReversePath != nil {
		from = *d.ReversePath
	}
	res, err := client.Send(smtp.Transaction{
		ReversePath: from,
		Params:      d.Params,
		Recipients:  d.Recipients,
		Body:        d.Body(),
		Size:        max(d.Size(), 1),
		Exact:       true,
	})
	if res.Final.Class() == 2 {
		client.Quit() // nothing depends on it
	}
	return taken(res, err)
}

// sessionFor opens a session of our own server's for a user. end waits for it.
func (s *system) sessionFor(ctx context.Context, uid int) (conn net.Conn, end func(), err error) {
	conn, theirs, err := service.ConnPair()
	if err != nil {
		return nil, nil, err
	}
	far, err := net.FileConn(theirs)
	theirs.Close()
	if err != nil {
		conn.Close()
		return nil, nil, err
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := s.smtp.ServeUser(ctx, far, uid); err != nil {
			s.log.LogAttrs(ctx, slog.LevelDebug, "session ended", maillog.Err(err))
		}
	}()
	return conn, func() { conn.Close(); <-done }, nil
}

// never is a reply by which a message that was left will never get into the
// queue, or has got there for some of its recipients only.
type never struct{ reply smtp.Reply }

func (n never) Error() string { return "refused: " + n.reply.String() }

func (never) Is(target error) bool { return target == maildrop.ErrNever }

// taken is what a transaction's replies mean for the file: nil, it is in the
// queue for everybody; never; else later.
func taken(res smtp.TransactionResult, err error) error {
	refusals := append([]smtp.Reply{res.Mail, res.Data, res.Final}, res.Rcpt...)
	accepted := res.Final.Class() == 2
	for _, reply := range refusals {
		if reply.Permanent() || accepted && reply.Temporary() {
			return never{reply}
		}
	}
	switch {
	case accepted:
		return nil
	case err != nil:
		return err
	}
	for _, reply := range refusals {
		if reply.Temporary() {
			return errors.New(reply.String())
		}
	}
	return io.ErrUnexpectedEOF
}

// ErrNoSession is a server that went away, said 421 or said nothing, before it took
// a command.
var ErrNoSession = errors.New("the mail server")

// NewSession opens a session with a server of this machine on conn, for one
// transaction. The server has until greeted to greet, if that isn't zero. The error
// has its exit code.
func NewSession(conn net.Conn, greeted time.Time) (*smtp.Client, error) {
	client := smtp.NewClient(conn, smtp.ClientOptions{Hello: "localhost", Step: 10 * time.Minute})
	if !greeted.IsZero() {
		late := time.AfterFunc(time.Until(greeted), func() { client.Close() })
		defer late.Stop()
	}
	for _, step := range []func() (smtp.Reply, error){client.Greeting, client.Hello} {
		reply, err := step()
		if err != nil && errors.Is(err, net.ErrClosed) {
			err = errors.New("it doesn't greet")
		}
		if err != nil {
			client.Close()
			return nil, cmdline.ExitWith(sysexits.TempFail, fmt.Errorf("%w: %w", ErrNoSession, err))
		}
		if reply.Code == 421 {
			client.Close()
			return nil, cmdline.ExitWith(sysexits.TempFail, fmt.Errorf("%w takes no session: %s", ErrNoSession, reply))
		}
		if reply.Class() != 2 {
			client.Close()
			return nil, Refused("the mail server takes no session", reply, sysexits.Unavailable)
		}
	}
	return client, nil
}

// Refused returns the error for a reply that ends it: later, or never with code.
func Refused(what string, reply smtp.Reply, code int) error {
	if !reply.Permanent() {
		code = sysexits.TempFail
	}
	return cmdline.ExitWith(code, fmt.Errorf("%s: %s", what, reply))
}
