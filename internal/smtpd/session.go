package smtpd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"strings"

	"postoffice/internal/maillog"
	"postoffice/internal/smtp"
)

// phase is how far a session has come.
type phase uint8

const (
	fresh     phase = 1 << iota // neither HELO nor EHLO yet
	greeted                     // no transaction open
	mailed                      // MAIL was taken
	addressed                   // and at least one RCPT

	always = fresh | greeted | mailed | addressed
	opened = mailed | addressed
)

// session is one connection. All of it belongs to its goroutine.
type session struct {
	server  *Server
	o       *Options // as they were when it began
	wire    *wire
	id      string
	phase   phase
	client  Client
	counted bool // among those of its address or user

	tx       Transaction
	octets   int // of the transaction's RCPT lines
	refused  int // recipients of the transaction
	surplus  int // RCPT beyond what a transaction takes
	incoming Incoming

	refusals int  // permanent refusals since the last message
	commands int  // commands but RCPT since the last message
	early    bool // a client that doesn't wait was logged
}

// session runs a session and returns how it ended, see ServeConn. limited says
// that the limits on the number of sessions hold. It, loop and what waits
// below them keep their frames small: that is what lets the runtime halve the
// stack of an idle session.
func (s *Server) session(w *wire, k Kind, limited bool) (err error) {
	ss := &session{server: s, o: s.options.Load(), wire: w, id: s.newID(), phase: fresh}
	w.timeout = ss.o.Timeout
	defer ss.guard(&err)
	defer ss.uncount()
	if !ss.admit(k, limited) {
		return ErrRefused
	}
	return ss.loop(s.ctx)
}

// admit finds out who the client is and greets it, or turns it away.
func (s *session) admit(k Kind, limited bool) bool {
	if err := s.identify(k); err != nil {
		return s.turnAway(err, smtp.Reply{Code: 421, Status: "4.3.0", Text: "can't tell who you are"})
	}
	if limited {
		if r := s.overload(); !r.IsZero() {
			return s.turnAway(nil, r)
		}
		if !s.server.limits.enter(&s.client, s.o) {
			return s.turnAway(nil, s.tooManyOfYou())
		}
		s.counted = true
	}
	s.findName(s.server.ctx)
	s.log(s.server.ctx, slog.LevelInfo, "client connected")
	s.wire.put(smtp.Reply{Code: 220, Text: s.o.Hostname + " ESMTP postoffice"})
	return true
}

// uncount gives the session's place among those of its address back.
func (s *session) uncount() {
	if s.counted {
		s.server.limits.leave(&s.client)
	}
}

// tooManyOfYou is the answer to one session too many of one address or user
// (R18).
func (s *session) tooManyOfYou() smtp.Reply {
	if s.client.Kind == Submission {
		return smtp.Reply{Code: 421, Status: "4.7.0", Text: "too many sessions of one user, try again later"}
	}
	return smtp.Reply{Code: 451, Status: "4.7.0", Text: "too many connections from one address, try again later"}
}

// overload is the answer to a stranger while the load is too high, else the
// zero Reply.
func (s *session) overload() smtp.Reply {
	if s.client.Kind != Port25 {
		return smtp.Reply{}
	}
	over, err := s.server.limits.overloaded(s.o)
	if err != nil {
		s.log(s.server.ctx, slog.LevelWarn, "load unknown", maillog.Err(err))
	}
	if !over {
		return smtp.Reply{}
	}
	return smtp.Reply{Code: 421, Status: "4.3.2", Text: s.o.Hostname + " is too busy, try again later"}
}

// turnAway ends a session instead of greeting it.
func (s *session) turnAway(cause error, r smtp.Reply) (admitted bool) {
	attrs := []slog.Attr{maillog.Reply(r)}
	if cause != nil {
		attrs = append(attrs, maillog.Err(cause))
	}
	s.log(s.server.ctx, slog.LevelInfo, "client refused", attrs...)
	s.wire.sendAway(r)
	return false
}

// loop reads commands and writes replies until the session ends.
func (s *session) loop(ctx context.Context) error {
	defer s.reset()
	begin := s.stranger
	for {
		line, err := s.wire.readLine(s.strict(), begin)
		begin = nil
		if over, err := s.line(ctx, line, err); over {
			return err
		}
	}
}

// line answers a command line, or what readLine said instead of one. over says
// that this was the end of the session, and err how it ended.
func (s *session) line(ctx context.Context, line []byte, readErr error) (over bool, err error) {
	var r smtp.Reply
	switch {
	case readErr == nil:
		r = s.command(ctx, line)
	case readErr == errLineTooLong:
		r = s.judge(nil, smtp.Reply{Code: 500, Status: "5.5.2", Text: fmt.Sprintf("line longer than %d octets", maxLine)})
	default:
		return true, s.lost(readErr)
	}
	if r.Code == 354 {
		s.wire.put(r)
		if r, err = s.receive(ctx); err != nil {
			return true, s.lost(err)
		}
	}
	switch r.Code {
	case 221:
		s.bye(r)
		return true, nil
	case 421:
		s.log(ctx, slog.LevelInfo, "session ended", maillog.Reply(r))
		s.bye(r)
		return true, ErrRefused
	}
	s.wire.put(r)
	return false, nil
}

// strict reports whether only CR LF ends a command. A program of this machine
// may end it with LF in any case.
func (s *session) strict() bool { return s.o.RejectBareNewline && s.client.Kind == Port25 }

// stranger sees the first octets that a client sends: those of a TLS handshake
// and of binary protocols hold no line to wait for.
func (s *session) stranger(b []byte) error {
	if c := b[0]; c < ' ' && c != '\r' && c != '\n' || c > '~' {
		return errForeign
	}
	return nil
}

// errForeign is a client of another protocol.
var errForeign = errors.New("this is no SMTP")

// lost ends a session that err, from reading, broke.
func (s *session) lost(err error) error {
	r := smtp.Reply{Code: 421}
	level := slog.LevelInfo
	switch {
	case errors.Is(err, errForeign):
		r.Status, r.Text = "4.7.0", "this is an SMTP server"
		err = ErrRefused
	case errors.Is(err, ErrRefused):
		r.Status, r.Text = "4.7.0", "line without end"
	case errors.Is(err, ErrTimeout):
		r.Status, r.Text = "4.4.2", s.o.Hostname+" closes the connection, you are too slow"
	case errors.Is(err, ErrStopped):
		r.Status, r.Text = "4.3.2", s.o.Hostname+" is shutting down"
		level = slog.LevelDebug
	default: // the client is gone
		if s.phase&opened == 0 {
			level = slog.LevelDebug
		}
		s.log(s.server.ctx, level, "client gone", maillog.Err(err))
		s.wire.close(false)
		return err
	}
	s.log(s.server.ctx, level, "session ended", maillog.Reply(r))
	s.bye(r)
	return err
}

// bye writes the last reply and closes the connection.
func (s *session) bye(r smtp.Reply) {
	s.wire.put(r)
	s.wire.flush()
	s.wire.close(r.Code != 221 || s.wire.waiting() > 0)
}

// guard is deferred around a session: it closes what is open, and a panic
// costs this session only (A75).
func (s *session) guard(err *error) {
	if s.o.Crash {
		return
	}
	if p := recover(); p != nil {
		s.log(s.server.ctx, slog.LevelError, "session crashed",
			maillog.Err(fmt.Errorf("panic: %v", p)), maillog.Reason(stack()))
		*err = ErrRefused
		s.abandon()
		s.bye(smtp.Reply{Code: 421, Status: "4.3.0", Text: s.o.Hostname + " has a fault, try again later"})
	}
}

// abandon aborts what a crashed session left behind.
func (s *session) abandon() {
	defer func() { recover() }() // the queue may be what crashed
	s.reset()
}

// stack returns where a panic came from, innermost first, on one line.
func stack() string {
	pc := make([]uintptr, 16)
	frames := runtime.CallersFrames(pc[:runtime.Callers(4, pc)]) // without Callers, stack, guard and gopanic
	var b strings.Builder
	for {
		f, more := frames.Next()
		name := f.Function[strings.LastIndexByte(f.Function, '/')+1:]
		fmt.Fprintf(&b, "%s:%d ", name, f.Line)
		if !more {
			return strings.TrimSuffix(b.String(), " ")
		}
	}
}

// reset ends the transaction, if one is open.
func (s *session) reset() {
	s.drop()
	s.tx = Transaction{}
	s.octets, s.refused, s.surplus = 0, 0, 0
	if s.phase != fresh {
		s.phase = greeted
	}
}

// drop removes the message that is being received, if there is one.
func (s *session) drop() {
	if in := s.incoming; in != nil {
		s.incoming = nil
		in.Abort()
	}
}

// log writes one event of the session, with the queue ID of the transaction
// where one is open.
func (s *session) log(ctx context.Context, level slog.Level, event string, attrs ...slog.Attr) {
	if !s.o.Log.Enabled(ctx, level) {
		return
	}
	all := make([]slog.Attr, 0, len(attrs)+4)
	if s.tx.ID != "" {
		all = append(all, maillog.QueueID(s.tx.ID))
	}
	all = append(all, maillog.Session(s.id), maillog.Client(s.client.String()))
	if s.client.Hello != "" {
		all = append(all, maillog.Helo(s.client.Hello))
	}
	s.o.Log.LogAttrs(ctx, level, event, append(all, attrs...)...)
}
