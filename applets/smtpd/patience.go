package smtpd

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"time"

	"postoffice/internal/maillog"
	"postoffice/internal/smtp"
)

const (
	barredWait = 30 * time.Second // before each answer to a client that was refused
	maxBarred  = 5                // such answers
)

// barred is the state of a session whose client was refused and may only quit (RFC
// 5321 section 3.1). It costs a timer and its place (B23).
type barred struct {
	reply smtp.Reply // what the client was told
	lines int        // that came since
}

// bar puts the session of a client that is refused into that state, if it is to be
// and there is a place for one more.
func (s *session) bar(v Verdict) bool {
	if !v.Refuse || v.Reply.Code == 421 || !s.server.places.Bar(s.o.places()) {
		return false
	}
	s.barred = &barred{reply: v.Reply}
	s.log(s.server.ctx, slog.LevelInfo, "client refused", maillog.Reply(v.Reply))
	return true
}

// unbar gives the place back.
func (s *session) unbar() {
	if s.barred != nil {
		s.server.places.Unbar()
	}
}

// keepOut answers a command of a client that was refused, unless it hangs up
// meanwhile: io.EOF.
func (s *session) keepOut(ctx context.Context, line string) (smtp.Reply, error) {
	if smtp.EqualFold(line, "QUIT") {
		return s.quit(ctx, ""), nil
	}
	gone, end := s.wire.Hangup()
	defer end()
	if s.pause(ctx, barredWait, gone) {
		return smtp.Reply{}, io.EOF
	}
	b := s.barred
	b.lines++
	switch {
	case b.lines >= maxBarred:
		return smtp.Reply{Code: 421, Status: smtp.StatusFor(421, b.reply.Status), Text: b.reply.Text}, nil // the fifth command of a client that was refused, with the words of that
	case b.reply.Temporary():
		return smtp.Reply{Code: 450, Status: b.reply.Status, Text: b.reply.Text}, nil // a command of a client that was refused for now, with the words of that
	}
	return smtp.Reply{Code: 503, Status: b.reply.Status, Text: b.reply.Text}, nil // a command of a client that was refused, with the words of that
}

// pause waits, at most until the session is to end, or until the client has gone. What
// is ready to be said is said before, and nothing is held but a timer and what the
// client has sent.
func (s *session) pause(ctx context.Context, d time.Duration, gone <-chan struct{}) (left bool) {
	s.wire.Rest()
	wait := time.NewTimer(d)
	defer wait.Stop()
	select {
	case <-gone:
		return true
	case <-wait.C:
	case <-s.server.ending:
	case <-s.wire.seen.halted():
	case <-ctx.Done():
	}
	return false
}

// slowDown keeps a stranger waiting that was refused so often without sending a message
// that it tries out names, or is broken.
func (s *session) slowDown(ctx context.Context) {
	if s.refusals > s.o.SoftErrors && s.o.ErrorDelay > 0 && !s.client.Local && !s.client.Trusted && s.barred == nil {
		s.pause(ctx, s.o.ErrorDelay, nil) // for whoever shuts one direction too, to have its answers at once
	}
}

// errEarly is a client that spoke before it was greeted.
var errEarly = errors.New("it spoke before the greeting")

// listen waits before a stranger is greeted, as long after it came as the option says:
// who sends mail to everybody has no time to wait for that (RFC 5321 section 3.1). It
// returns errEarly for who doesn't, or what ended the session.
func (s *session) listen() error {
	if s.o.GreetDelay <= 0 || s.client.Kind != Relay || s.client.Local || s.client.Trusted || s.unknown {
		return nil
	}
	spoke, err := s.wire.Quiet(s.wire.seen.is.Begun.Add(s.o.GreetDelay)) // nobody else writes it
	if spoke {
		return errEarly
	}
	return err
}

// early is what becomes of a client that spoke before it was greeted.
func (s *session) early(v Verdict) Verdict {
	if !s.o.TagEarly {
		return Refusal(smtp.Reply{Code: 554, Status: "5.5.1", Text: "you spoke before the greeting, wait for it"}) // options greet-delay and early-talk
	}
	s.log(s.server.ctx, slog.LevelInfo, "client did not wait", maillog.Reason(VerbConnect))
	if v.Mark.Reason == "" {
		v.Mark.Reason = "the client spoke before the greeting"
	}
	return v
}
