package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"postoffice/deliver/outcome"
	"postoffice/internal/maillog"
	"postoffice/internal/smtp"
)

const (
	maxRcpts = 100 // recipients in one transaction (RFC 5321 section 4.5.3.1.8)
	maxSends = 100 // transactions through one session, before another message
	reuseAge = 3   // a session is reused in the first third of its time
)

// A Session is an open SMTP connection to one host, ready for a message. One
// goroutine uses it.
type Session struct {
	o          Options
	client     *smtp.Client
	lmtp       bool
	relay      string
	transcript Transcript // of who opened it, then of the message that was sent last
	tls        string
	secure     bool // TLS is demanded, with a certificate that is good
	started    time.Time
	sent       int      // messages tried
	mails      int      // transactions begun
	domains    []string // folded, of recipients named, where the peer has a limit on them
	broken     error    // why no further message can go
	release    func()   // gives back its place among those with one network; nil: it has none
	leave      func()   // says that it is over to whoever counts those of a login; nil: nobody does
}

// A Message is what Send sends.
type Message struct {
	ReversePath smtp.Path
	Params      []smtp.Param // of MAIL, as they came in; what the peer doesn't offer is left out
	Recipients  []smtp.Recipient
	Size        int64 // octets that Open's reader gives

	Transcript Transcript // sees the conversation about this message, up to the session's end if none follows

	// Open returns the message in the spool's form from its first octet on.
	// It is called once to look at it and once for each transaction.
	Open func() io.Reader
}

// Relay names the peer: name[address]:port, or lmtp:/socket.
func (s *Session) Relay() string { return s.relay }

// TLS is the protocol and cipher of the session, "" in clear.
func (s *Session) TLS() string { return s.tls }

// Usable reports whether a further message may be sent through the session:
// it is in step, young, and was not used for too many, as the peer sees it or we.
func (s *Session) Usable() bool {
	return s.broken == nil && s.mails < min(maxSends, s.limits().mails) && time.Since(s.started) < s.o.Total/reuseAge
}

// Close says QUIT where that makes sense and closes the connection. What the
// peer makes of it changes no result (A37).
func (s *Session) Close() error {
	for _, over := range []func(){s.release, s.leave} {
		if over != nil {
			defer over()
		}
	}
	if s.broken != nil {
		s.transcript.closed(s.relay, s.broken)
		return s.client.Close()
	}
	s.broken = errClosed
	err := s.client.Quit()
	s.transcript.closed(s.relay, nil)
	return err
}

var errClosed = errors.New("session closed")

// Send sends m to its recipients in as many transactions as the peer needs.
// There is always one Outcome for each recipient, a deferral with errSpent for those
// that the peer takes in another session. The error says that the
// session can't be used again and must be closed; ErrStale that this was so
// before anything of m was tried, in which case all results are deferrals that
// say so.
func (s *Session) Send(ctx context.Context, m Message) ([]outcome.Outcome, error) {
	results := make([]outcome.Outcome, len(m.Recipients))
	for i := range results {
		results[i] = outcome.Outcome{Relay: s.relay, TLS: s.tls}
	}
	if s.broken != nil {
		return failAll(results, fmt.Errorf("%w: %w", ErrStale, s.broken)), s.broken
	}
	stop := context.AfterFunc(ctx, func() { s.client.Close() })
	defer stop()
	s.transcript = m.Transcript
	s.client.SetTranscript(m.Transcript.lines(s.relay))
	d := &delivery{s: s, m: m, results: results, reused: s.sent > 0}
	s.sent++
	if err := d.run(); err != nil {
		s.broken = d.explain(ctx, err)
		s.logSlow(ctx)
		return d.fail(s.broken), s.broken
	}
	return results, nil
}

func failAll(results []outcome.Outcome, err error) []outcome.Outcome {
	for i := range results {
		results[i].Err = err
	}
	return results
}

// timed gives an error that came of a limit its true name, and others words for
// people.
func (s *Session) timed(err error) error {
	switch {
	case time.Since(s.started) >= s.o.Total:
		return fmt.Errorf("%w: ended after %v", ErrLimit, s.o.Total)
	case errors.As(err, new(*smtp.SourceError)): // the message could not be read: the connection is well
		return err
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("peer too slow: %w", smtp.InWords(err))
	}
	return smtp.InWords(err)
}

// logSlow tells of a peer that used up its time (R47).
func (s *Session) logSlow(ctx context.Context) {
	if errors.Is(s.broken, ErrLimit) || errors.Is(s.broken, os.ErrDeadlineExceeded) {
		s.o.Log.LogAttrs(ctx, slog.LevelWarn, "slow peer dropped", maillog.Relay(s.relay), maillog.Err(s.broken))
	}
}
