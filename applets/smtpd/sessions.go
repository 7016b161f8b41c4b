package smtpd

import (
	"iter"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"postoffice/internal/maillog"
	"postoffice/internal/smtp"
)

// Seen is what others may know of a session.
type Seen struct {
	ID       string // as in the log
	Client   string // likewise
	UID      int    // of a program's user; -1 for a TCP connection
	Hello    string // as the client sent it
	TLS      string // version and cipher; "" in the clear
	QueueID  string // of the message that is being submitted; "" is none
	State    string
	Begun    time.Time
	Since    time.Time // of State
	Received int64     // octets that the client has sent
}

// The states of a session.
const (
	Waiting   = "waiting"   // for its turn: its address has as many sessions as it may
	Greeting  = "greeting"  // not greeted yet: its name is looked up
	Connected = "connected" // greeted, HELO comes next
	Idle      = "idle"      // between two messages
	Envelope  = "envelope"  // a message has its sender
	Data      = "data"      // a message comes
	Refused   = "refused"   // and has not gone
	Handshake = "handshake" // TLS begins
)

// seen is a Seen that changes. Only its session changes it, apart from by.
type seen struct {
	mu   sync.Mutex    // guards what follows
	is   Seen          // but for ID and Received
	halt chan struct{} // see halted; nil: nobody waits for that
	by   string        // who ended the session; "": nobody
}

// set puts a state in the place of the present one.
func (n *seen) set(is Seen) {
	n.mu.Lock()
	defer n.mu.Unlock()
	is.Begun, is.Since = n.is.Begun, time.Now()
	if is.Begun.IsZero() {
		is.Begun = is.Since
	}
	n.is = is
}

// look returns what is to be seen now; ok is false for a refusal, which is no session.
func (w *conn) look() (is Seen, ok bool) {
	w.seen.mu.Lock()
	defer w.seen.mu.Unlock()
	is = w.seen.is
	is.ID, is.Received = w.id, w.Received()
	return is, is.State != ""
}

// halted is closed when somebody ends the session.
func (n *seen) halted() <-chan struct{} {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.halt == nil {
		n.halt = make(chan struct{})
		if n.by != "" {
			close(n.halt)
		}
	}
	return n.halt
}

// endedBy returns who ended the session.
func (n *seen) endedBy() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.by
}

// end notes who ends the session. once is false for the second to do so.
func (n *seen) end(by string) (once bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.by != "" {
		return false
	}
	n.by = by
	if n.halt != nil {
		close(n.halt)
	}
	return true
}

// state is how far the session has come, between two commands.
func (s *session) state() string {
	switch {
	case s.barred != nil:
		return Refused
	case s.phase == fresh:
		return Connected
	case s.phase == greeted:
		return Idle
	case s.phase == chunked:
		return Data
	}
	return Envelope
}

// show lets others see how far the session has come.
func (s *session) show(state string) {
	is := &s.wire.seen.is // nobody else writes it
	if is.State != state || is.QueueID != s.tx.ID || is.Hello != s.client.Hello || is.TLS != s.client.TLS.String() {
		client := is.Client
		if s.phase == fresh { // from HELO on it is always the same
			client = s.client.String()
		}
		s.wire.seen.set(Seen{Client: client, UID: s.client.UID, Hello: s.client.Hello, TLS: s.client.TLS.String(), QueueID: s.tx.ID, State: state})
	}
}

// stopped ends a session that the server's end, or somebody, ends with err.
func (s *session) stopped(err error) error {
	r, level, attrs := shuttingDown(s.o), slog.LevelDebug, []slog.Attr(nil)
	if by := s.wire.seen.endedBy(); by != "" {
		r, level, attrs = endedByHand(), slog.LevelInfo, []slog.Attr{maillog.Reason("by " + by)}
	}
	s.checker.Replied(VerbEnd, "", r)
	s.log(s.server.ctx, level, "session ended", append(attrs, maillog.Reply(r))...)
	s.bye(r)
	return err
}

func shuttingDown(o *Options) smtp.Reply {
	return smtp.Reply{Code: 421, Status: "4.3.2", Text: o.Hostname + " is shutting down, try again later"} // the server ends
}

func endedByHand() smtp.Reply {
	return smtp.Reply{Code: 421, Status: "4.3.2", Text: "this session was ended by hand, try again later"} // postoffice sessions end
}

// Sessions are those of now, in the order in which they began.
func (s *Server) Sessions() iter.Seq[Seen] {
	return func(yield func(Seen) bool) {
		s.mu.Lock()
		all := make([]*conn, 0, len(s.wires))
		for w := range s.wires {
			all = append(all, w)
		}
		s.mu.Unlock()
		slices.SortFunc(all, func(a, b *conn) int { return strings.Compare(a.id, b.id) })
		for _, w := range all {
			if is, ok := w.look(); ok && !yield(is) {
				return
			}
		}
	}
}

// End ends a session as the end of the server would: a message that comes has ten
// seconds more. by is who asked for that, for the log. false is that there is no such
// session.
func (s *Server) End(id, by string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for w := range s.wires {
		if _, ok := w.look(); ok && w.id == id {
			if w.seen.end(by) {
				w.Stop(time.Now().Add(shutdownGrace))
			}
			return true
		}
	}
	return false
}
