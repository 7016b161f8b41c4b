package smtpd

import (
	"context"
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

// keepOut answers a command of a client that was refused.
func (s *session) keepOut(ctx context.Context, line string) smtp.Reply {
	if smtp.EqualFold(line, "QUIT") {
		return s.quit(ctx, "")
	}
	wait := time.NewTimer(barredWait)
	defer wait.Stop()
	select {
	case <-wait.C:
	case <-s.server.ending:
	case <-s.wire.seen.halted():
	case <-ctx.Done():
	}
	b := s.barred
	b.lines++
	switch {
	case b.lines >= maxBarred:
		return smtp.Reply{Code: 421, Status: smtp.StatusFor(421, b.reply.Status), Text: b.reply.Text} // the fifth command of a client that was refused, with the words of that
	case b.reply.Temporary():
		return smtp.Reply{Code: 450, Status: b.reply.Status, Text: b.reply.Text} // a command of a client that was refused for now, with the words of that
	}
	return smtp.Reply{Code: 503, Status: b.reply.Status, Text: b.reply.Text} // a command of a client that was refused, with the words of that
}
