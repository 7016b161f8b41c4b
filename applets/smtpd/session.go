package smtpd

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"runtime"
	"strings"
	"time"

	"postoffice/applets/smtpd/login"
	"postoffice/applets/smtpd/wire"
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
	chunked                     // and at least one BDAT

	always   = fresh | greeted | opened
	opened   = envelope | chunked
	envelope = mailed | addressed
)

// session is one connection. All of it belongs to its goroutine.
type session struct {
	server  *Server
	o       *Options // as they were when it began
	wire    *conn
	id      string
	phase   phase
	client  Client
	checker Checker
	end     smtp.Reply // what the Checker wants the session to end with
	heard   *verb      // the command that is answered; nil: it was not looked up, or there is none
	mark    Mark
	barred  *barred // of a client that was refused and has not gone

	tx       Transaction
	octets   int              // of the transaction's RCPT lines
	held     int              // octets of memory for them that the limits have counted
	refused  int              // recipients of the transaction
	reported []smtp.Recipient // of them, those that go into the queue beside good ones
	surplus  int              // RCPT beyond what a transaction takes
	begun    bool             // the Checker took its MAIL, and the message isn't taken yet
	incoming Incoming
	aside    []Incoming // texts beside it, which go with it
	arriving *arriving  // of incoming, if it comes in chunks
	share    share      // what it has of the room

	front netip.AddrPort // of a client that may say by XCLIENT whom it passes on; else the zero one

	refusals int         // permanent refusals since the last message
	commands int         // since the last message, but RCPT and BDAT
	upgrade  *tls.Config // what the handshake that comes next is made with, once STARTTLS was taken
	hasty    bool        // a client that doesn't wait was logged
	unknown  bool        // who passed it on doesn't say who it is, or looks itself whether we live
	limited  bool        // the limits on the number of sessions hold
	over     bool        // the next reply is the last one
	useful   bool        // a message was taken
	hurried  bool        // the last MAIL of a stranger was refused

	dialogue *login.Dialogue // a login that has begun
	asked    time.Time       // when the last answer of it came
	failed   int             // logins that were refused
	later    int             // logins that could not be checked
	confides bool            // it has said AUTH: what is no command may be a password
}

// session runs a session and returns how it ended, see ServeConn. limited says
// that the limits on the number of sessions hold. It, loop and what waits
// below them keep their frames small: that is what lets the runtime halve the
// stack of an idle session.
func (s *Server) session(w *conn, k Kind, limited bool) (err error) {
	ss := &session{server: s, o: s.options.Load(), wire: w, id: w.id, phase: fresh, limited: limited}
	ss.client.Session = ss.id
	w.Timeout = ss.o.Timeout
	defer ss.guard(&err)
	defer ss.dismiss()
	if !ss.admit(k) {
		return ErrRefused
	}
	return ss.loop(s.ctx)
}

// admit finds out who the client is and greets it, or turns it away.
func (s *session) admit(k Kind) bool {
	if err := s.identify(k); err != nil {
		return s.turnAway(err, smtp.Reply{Code: 421, Status: "4.3.0", Text: "the system does not tell who you are, try again later"}) // the kernel does not know the other end
	}
	s.show(Greeting)
	if k == SubmissionTLS && !s.beginTLS() {
		return false
	}
	if r := s.overload(); !r.IsZero() {
		return s.turnAway(nil, r)
	}
	s.findName(s.server.ctx)
	greeting, err := s.welcome(s.server.ctx, true)
	switch {
	case err == ErrRefused:
		return s.turnAway(nil, greeting)
	case err != nil:
		s.lost(err)
		return false
	}
	s.wire.Put(greeting)
	return !s.ends()
}

// What a Checker is told of beside commands: the greeting, and an end that the
// client did not ask for.
const (
	VerbConnect = "CONN"
	VerbEnd     = "QUIT"
)

// dismiss ends the Checker.
func (s *session) dismiss() {
	s.unbar()
	s.wasted()
	if s.checker != nil {
		s.checker.Close()
	}
}

// turnAway ends a session instead of greeting it.
func (s *session) turnAway(cause error, r smtp.Reply) (admitted bool) {
	attrs := []slog.Attr{maillog.Reply(r)}
	if cause != nil {
		attrs = append(attrs, maillog.Err(cause))
	}
	level := slog.LevelInfo
	if unremarkable(s.wire.Raw()) {
		level = slog.LevelDebug
	}
	s.log(s.server.ctx, level, "client refused", attrs...)
	if s.wire.Waiting() > 0 { // else the kernel throws the reply away
		s.bye(r)
	} else {
		s.wire.SendAway(r)
	}
	return false
}

// loop reads commands and writes replies until the session ends.
func (s *session) loop(ctx context.Context) error {
	defer s.reset()
	begin := s.stranger
	for {
		s.show(s.state())
		line, err := s.wire.ReadLine(s.strict(), s.lineWait(), s.longest(), begin)
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
	text := string(line) // data follow where the line stands
	s.heard = nil
	switch {
	case readErr == nil && s.barred != nil:
		if r, err = s.keepOut(ctx, text); err != nil {
			return true, s.lost(err)
		}
	case readErr == nil:
		r = s.command(ctx, text)
	case readErr == wire.ErrTooLong:
		r = s.judge(nil, smtp.Reply{Code: 500, Status: "5.5.2", Text: fmt.Sprintf("a command line has at most %d octets, send a shorter one", s.longest())}) // the line is longer
		s.over = isBDAT(text)
	default:
		return true, s.lost(readErr)
	}
	s.slowDown(ctx)
	switch {
	case r.Code == 354:
		s.wire.Put(r)
		s.show(Data)
		r, err = s.receive(ctx)
	case r.Code == 334:
		r, err = s.exchange(ctx, r)
	case readErr == nil && isBDAT(text):
		r, err = s.chunk(ctx, text, r)
	}
	if err != nil {
		return true, s.lost(err)
	}
	s.tell(text, r)
	if s.upgrade != nil {
		s.wire.Put(r)
		err := s.secure()
		return err != nil, err
	}
	switch {
	case r.Code == 221:
		s.bye(r)
		return true, nil
	case r.Code == 421, s.over:
		s.log(ctx, slog.LevelInfo, "session ended", maillog.Reply(r))
		s.bye(r)
		return true, ErrRefused
	}
	s.wire.Put(r)
	if s.ends() {
		return true, ErrRefused
	}
	return false, nil
}

// ends ends a session as its Checker wants it, if it does.
func (s *session) ends() bool {
	if s.end.IsZero() {
		return false
	}
	s.log(s.server.ctx, slog.LevelInfo, "session ended", maillog.Reply(s.end))
	s.bye(s.end)
	return true
}

// replied is tell for what is no command.
func (s *session) replied(verb, line string, r smtp.Reply) {
	if end := s.checker.Replied(verb, line, r); s.end.IsZero() {
		s.end = end
	}
}

// hurry is how much less of its time a stranger has for the next command once its
// MAIL was refused.
const hurry = 10

// lineWait is how long the next command line may take.
func (s *session) lineWait() time.Duration {
	if s.hurried {
		return s.o.Timeout / hurry
	}
	return s.o.Timeout
}

// strict reports whether only CR LF ends a command. A program of this machine
// may end it with LF in any case.
func (s *session) strict() bool { return s.o.RejectBareNewline && s.client.Kind != Local }

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

// notSMTP is the answer to a client of another protocol (A13).
func notSMTP() smtp.Reply {
	return smtp.Reply{Code: 421, Status: "4.7.0", Text: "this is an SMTP server, speak SMTP"} // the first octets, or the command, are another protocol's
}

// lost ends a session that err, from reading, broke.
func (s *session) lost(err error) error {
	var r smtp.Reply
	level := slog.LevelInfo
	switch {
	case errors.Is(err, errForeign):
		r = notSMTP()
		err = ErrRefused
	case errors.Is(err, wire.ErrEndless):
		err = ErrRefused
		r = smtp.Reply{Code: 421, Status: "4.7.0", Text: "a line without end, end lines with CR LF"} // a command line of more than 1 MiB
	case errors.Is(err, wire.ErrTimeout) && s.wire.Lost():
		r = smtp.Reply{Code: 421, Status: "4.3.1", Text: "no room for the message, try again later"} // there was no room for it, and it came slowly
	case errors.Is(err, wire.ErrTimeout):
		r = smtp.Reply{Code: 421, Status: "4.4.2", Text: s.o.Hostname + " has waited for you for too long, try again later"} // option timeout; four seconds for strangers where few sessions are left, ten for programs
	case errors.Is(err, wire.ErrStopped):
		return s.stopped(err)
	default: // the client is gone
		s.checker.Replied(VerbEnd, "", smtp.Reply{})
		if s.phase&opened == 0 {
			level = slog.LevelDebug
		}
		s.log(s.server.ctx, level, "client gone", maillog.Err(err))
		if ended(err) && s.phase&opened != 0 && s.client.Kind == Local { // it may have closed one direction only
			s.bye(smtp.Reply{Code: 421, Status: "4.4.2", Text: "the input ends in the middle of a message, which was not taken: submit it again"}) // a program of this machine that ended
			return err
		}
		s.wire.Close(false)
		return err
	}
	s.checker.Replied(VerbEnd, "", r)
	s.log(s.server.ctx, level, "session ended", maillog.Reply(r))
	s.bye(r)
	return err
}

// ended says whether the client's input was over.
func ended(err error) bool { return err == io.EOF || err == io.ErrUnexpectedEOF }

// bye writes the last reply and closes the connection.
func (s *session) bye(r smtp.Reply) {
	s.wire.Put(r)
	s.wire.Flush()
	s.wire.Close(r.Code != 221 || s.wire.Waiting() > 0)
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
		s.bye(smtp.Reply{Code: 421, Status: "4.3.0", Text: s.o.Hostname + " has a fault, try again later"}) // the log has it as: session crashed
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
	s.abort()
	if m := s.arriving; m != nil {
		s.arriving = nil
		m.header.free()
		s.wire.EndData()
	}
	s.aborted()
	s.tx = Transaction{}
	s.server.places.Lists.Drop(s.held)
	s.held, s.octets, s.refused, s.surplus, s.reported = 0, 0, 0, 0, nil
	if s.phase != fresh {
		s.phase = greeted
	}
}

// abort removes the message that is being received, if there is one.
func (s *session) abort() {
	s.putAway()
	s.unclaim()
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
