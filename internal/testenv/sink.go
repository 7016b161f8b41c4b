package testenv

import (
	"context"
	"crypto/tls"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// A Sink is an SMTP server that takes everything and keeps what it got, octet
// for octet. Answer makes it refuse or misbehave. Set the fields before it
// serves.
type Sink struct {
	Hostname   string                // "sink.example" if empty
	Extensions []string              // in the reply to EHLO; nil: PIPELINING, SIZE, 8BITMIME, ENHANCEDSTATUSCODES
	Answer     func(ev Event) Action // asked before each answer; nil, or a zero Action: the usual one
	TLS        *tls.Config           // if not nil, STARTTLS is offered
	TLSFirst   bool                  // TLS comes before the greeting instead
	Users      map[string]string     // with their passwords; if not nil, only who has logged in may send
	Mechanisms []string              // offered to these, under TLS if there is TLS; nil: PLAIN, LOGIN
	Discard    bool                  // keep no message's octets, for large runs

	mu       sync.Mutex
	sessions int
	commands []string
	logins   []string
	messages []SinkMessage
	changed  chan struct{} // closed and renewed with each message
	conns    map[net.Conn]struct{}
	wg       sync.WaitGroup
	closed   bool
	stop     chan struct{} // closed by Close
}

// An Event is what a Sink is about to answer.
type Event struct {
	Session int    // counted from 1
	Verb    string // "" for the greeting, upper-case verb, "BODY" behind a 354, "." for the end of a message; AUTH is the end of a login
	Line    string // the whole command, as it came
	Hello   string
	TLS     bool
	Message *SinkMessage // the transaction so far; complete at "."
}

// An Action is what a Sink does in place of its usual answer; at "BODY" there
// is none.
type Action struct {
	Reply string        // one or more whole reply lines, joined by "\n", without CR LF
	Raw   string        // octets to send as they are, in place of Reply
	Each  time.Duration // send one octet of the answer each while
	Drop  bool          // close the connection, behind the answer if there is one
	Hang  bool          // answer nothing further, until the other side goes
	Stuck bool          // the same, and read nothing, until the sink is closed
	Mute  bool          // say nothing this time
}

// A SinkMessage is one message that a Sink got.
type SinkMessage struct {
	Session int
	Hello   string   // argument of EHLO or HELO
	ESMTP   bool     // it was EHLO
	TLS     bool     // it came over TLS
	Mail    string   // the whole MAIL command
	Rcpt    []string // the whole RCPT commands that were taken
	Wire    []byte   // what followed the 354, with the line "."
	Octets  int64    // its length, also if it was discarded
	Reply   string   // what the sink said to it
}

// From is the text between "<" and ">" of MAIL.
func (m SinkMessage) From() string { return bracketed(m.Mail) }

// To is the text between "<" and ">" of each RCPT.
func (m SinkMessage) To() []string {
	var to []string
	for _, line := range m.Rcpt {
		to = append(to, bracketed(line))
	}
	return to
}

// Text is the message with LF line ends and without the dots that were added.
// Octets that are no line ends stay as they are, also a bare CR or LF.
func (m SinkMessage) Text() string {
	var b strings.Builder
	for line := range strings.SplitAfterSeq(strings.TrimSuffix(string(m.Wire), ".\r\n"), "\r\n") {
		text, ended := strings.CutSuffix(line, "\r\n")
		b.WriteString(strings.TrimPrefix(text, "."))
		if ended {
			b.WriteByte('\n')
		}
	}
	return b.String()
}

func bracketed(line string) string {
	_, s, _ := strings.Cut(line, "<")
	at := strings.LastIndexByte(s, '>')
	return s[:max(at, 0)]
}

// Start listens on a free port of 127.0.0.1 until the test ends and returns
// the address.
func (s *Sink) Start(tb testing.TB) string {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	go s.Serve(l)
	tb.Cleanup(func() {
		l.Close()
		s.Close()
	})
	return l.Addr().String()
}

// Serve accepts connections until l is closed.
func (s *Sink) Serve(l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		go s.ServeConn(conn)
	}
}

// ServeConn serves one connection and closes it.
func (s *Sink) ServeConn(conn net.Conn) {
	defer conn.Close()
	n, ok := s.enter(conn)
	if !ok {
		return
	}
	defer s.leave(conn)
	newSinkSession(s, conn, n).run()
}

// Close ends all connections and waits for them.
func (s *Sink) Close() {
	stop := s.stopped()
	s.mu.Lock()
	if !s.closed {
		close(stop)
	}
	s.closed = true
	for conn := range s.conns {
		conn.Close()
	}
	s.mu.Unlock()
	s.wg.Wait()
}

// stopped is closed when the sink is.
func (s *Sink) stopped() chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stop == nil {
		s.stop = make(chan struct{})
	}
	return s.stop
}

// Sessions is how many connections there were.
func (s *Sink) Sessions() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sessions
}

// Commands returns all command lines so far, in the order in which they came.
func (s *Sink) Commands() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.commands)
}

// Logins returns the logins that were tried so far: mechanism, user and password.
func (s *Sink) Logins() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.logins)
}

// Messages returns the messages that were taken so far.
func (s *Sink) Messages() []SinkMessage {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.messages)
}

// Wait returns the messages once there are n, or ctx's error.
func (s *Sink) Wait(ctx context.Context, n int) ([]SinkMessage, error) {
	for {
		s.mu.Lock()
		got, changed := slices.Clone(s.messages), s.change()
		s.mu.Unlock()
		if len(got) >= n {
			return got, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return got, ctx.Err()
		}
	}
}

// Await returns the messages once there are n, within a minute.
func (s *Sink) Await(tb testing.TB, n int) []SinkMessage {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	got, err := s.Wait(ctx, n)
	if err != nil {
		tb.Fatalf("sink got %d of %d messages: %v", len(got), n, err)
	}
	return got
}

// change returns the channel of the next change; s.mu is held.
func (s *Sink) change() chan struct{} {
	if s.changed == nil {
		s.changed = make(chan struct{})
	}
	return s.changed
}

func (s *Sink) enter(conn net.Conn) (session int, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return 0, false
	}
	if s.conns == nil {
		s.conns = map[net.Conn]struct{}{}
	}
	s.conns[conn] = struct{}{}
	s.sessions++
	s.wg.Add(1)
	return s.sessions, true
}

func (s *Sink) leave(conn net.Conn) {
	s.mu.Lock()
	delete(s.conns, conn)
	s.mu.Unlock()
	s.wg.Done()
}

func (s *Sink) record(line string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.commands = append(s.commands, line)
}

func (s *Sink) store(m SinkMessage) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.messages = append(s.messages, m)
	close(s.change())
	s.changed = nil
}
