package applets

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"path/filepath"
	"syscall"
	"time"

	"postoffice/internal/config"
	"postoffice/internal/disk"
	"postoffice/internal/maillog"
	"postoffice/internal/smtp"
	"postoffice/internal/sysexits"
	"postoffice/spool"
)

// dropInterval is how often a server looks into maildrop/: nobody tells it.
const dropInterval = time.Minute

// leave puts a message into maildrop/, where the next server finds it. why is
// what the caller gets where there is no such directory.
func leave(conf *config.Config, d spool.Drop, text io.Reader, why error) error {
	name := filepath.Join(conf.QueueDir, spool.MaildropDir)
	dir, err := disk.OpenBlind(name)
	if err != nil {
		return why
	}
	defer dir.Close() // nothing is written to it any more
	if !spool.IsMaildrop(dir) {
		return why
	}
	if err := d.Leave(dir, text, conf.Size); err != nil {
		return notLeft(fmt.Errorf("leave the message in %s, as no mail server answers: %w", name, err))
	}
	return nil
}

// notLeft says what to do about a message that couldn't be left.
func notLeft(err error) error {
	code, hint := sysexits.TempFail, "nothing was sent: try again when that is mended, or the server runs (postoffice smtpd)"
	switch {
	case errors.Is(err, spool.ErrInvalid):
		code, hint = sysexits.Unavailable, "nothing was sent, and it wouldn't be later"
	case errors.Is(err, syscall.EROFS), errors.Is(err, fs.ErrPermission):
		hint = "nothing was sent: ask root to start the server (postoffice smtpd), or to let this program write there"
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		hint = "nothing was sent: make room there, or ask root to start the server (postoffice smtpd)"
	}
	return exitWith(code, err, hint)
}

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
	for more := true; more && ctx.Err() == nil; {
		var err error
		more, err = s.queue.PickUp(ctx, s.dropSize.Load(), func(d *spool.Dropped) error { return s.take(ctx, d) })
		if err != nil && ctx.Err() == nil {
			s.log.LogAttrs(ctx, slog.LevelWarn, "maildrop not picked up", maillog.Err(err))
		}
	}
}

// take submits a message that was left, as its owner would have: in a session
// that is his.
func (s *system) take(ctx context.Context, d *spool.Dropped) error {
	conn, end, err := s.sessionFor(ctx, d.Owner)
	if err != nil {
		return err
	}
	defer end()
	client := smtp.NewClient(conn, smtp.ClientOptions{Hello: "localhost", Step: 10 * time.Minute})
	defer client.Close()
	if err := greet(client); err != nil {
		return err
	}
	from := smtp.Path{Local: login(d.Owner)}
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
	ours, theirs, err := socketPair()
	if err != nil {
		return nil, nil, err
	}
	defer ours.Close()
	defer theirs.Close()
	conn, err = net.FileConn(ours)
	if err != nil {
		return nil, nil, err
	}
	far, err := net.FileConn(theirs)
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

func (never) Is(target error) bool { return target == spool.ErrCorrupt }

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
