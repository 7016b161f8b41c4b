package smtpd

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"syscall"
	"time"

	"postoffice/internal/maillog"
	"postoffice/internal/smtp"
)

const (
	firstPause   = 100 * time.Millisecond // after an accept that lacked something
	longestPause = time.Second
	pauseLog     = time.Minute          // between two log lines about that
	passingPause = 5 * time.Millisecond // after a connection that died in the backlog
	maxRefusers  = 64                   // refusals being written at a time
)

// Errors of accept(2) that pass: starved when somebody gives something back,
// passing with the connection that they concern.
var (
	starved = []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM}
	passing = []error{
		syscall.ECONNABORTED, syscall.ECONNRESET, syscall.EPROTO, syscall.EPERM, syscall.EAGAIN, syscall.EINTR,
		syscall.ENETDOWN, syscall.ENETUNREACH, syscall.ENOPROTOOPT, syscall.EHOSTDOWN, syscall.EHOSTUNREACH,
		syscall.ETIMEDOUT,
	}
)

func isAny(err error, list []error) bool {
	for _, e := range list {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// accept is Serve's loop: it writes to nobody and waits for nobody but the
// listener and, on Submission, for a free place.
func (s *Server) accept(ctx context.Context, l net.Listener, k Kind) error {
	var pause time.Duration
	var logged time.Time
	for {
		if k == Submission && !s.place(ctx) {
			return nil
		}
		conn, err := l.Accept()
		if err == nil {
			pause = 0
			s.begin(conn, k)
			continue
		}
		if k == Submission {
			s.limits.give(k)
		}
		if ctx.Err() != nil || s.stopping() {
			return nil
		}
		switch {
		case isAny(err, starved):
			if now := time.Now(); now.Sub(logged) > pauseLog {
				logged = now
				s.options.Load().Log.LogAttrs(ctx, slog.LevelWarn, "accepting paused", maillog.Err(err))
			}
			pause = min(max(2*pause, firstPause), longestPause)
		case isAny(err, passing):
			pause = passingPause
		default:
			return &ListenerError{Addr: l.Addr(), Err: err}
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
}

// place takes a place on Submission, waiting until there is one: programs of
// this machine wait in the backlog, they are not sent away. False is the end.
func (s *Server) place(ctx context.Context) bool {
	for !s.limits.take(Submission, s.options.Load().Submissions) {
		select {
		case <-s.limits.freed:
		case <-s.ctx.Done():
			return false
		case <-ctx.Done():
			return false
		}
	}
	return true
}

// begin starts the session of a connection just accepted, or its refusal.
func (s *Server) begin(conn net.Conn, k Kind) {
	if k == Port25 && !s.limits.take(k, s.options.Load().Clients) {
		s.turnAway(conn)
		return
	}
	w := newWire(conn)
	if !s.register(w) {
		conn.Close()
		s.limits.give(k)
		return
	}
	go func() {
		defer s.limits.give(k)
		defer s.unregister(w)
		s.session(w, k, true)
	}()
}

// turnAway answers a connection beyond the limit, without holding up the
// accept loop and without growing without bound.
func (s *Server) turnAway(conn net.Conn) {
	w := newWire(conn)
	if s.refusers.Add(1) > maxRefusers || !s.register(w) {
		s.refusers.Add(-1)
		conn.Close()
		return
	}
	go func() {
		defer s.refusers.Add(-1)
		defer s.unregister(w)
		o := s.options.Load()
		r := smtp.Reply{Code: 421, Status: "4.3.2", Text: o.Hostname + " has too many clients now, try again later"}
		o.Log.LogAttrs(s.ctx, slog.LevelInfo, "client refused", maillog.Client(conn.RemoteAddr().String()), maillog.Reply(r))
		w.sendAway(r)
	}()
}
