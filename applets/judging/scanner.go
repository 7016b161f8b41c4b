package judging

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"postoffice/deliver/local"
	"postoffice/deliver/outcome"
	"postoffice/internal/smtp"
	"postoffice/internal/turns"
)

const (
	maxScans   = 4               // programs at once: as many as one user's process runs (privsep)
	eachScans  = maxScans - 1    // of them for one user or network, so that others find a place
	maxTurns   = 200             // that wait for their turn: as many as sessions of strangers by default, twice
	turnWait   = 2 * time.Minute // for a turn: clients wait ten minutes for the reply to a message (RFC 5321 section 4.5.3.2.6)
	maxFinding = 300             // octets of what a program says
)

// A Scanner has the program of option av look at messages. The zero Scanner is ready. It
// is for one server, whatever its options become.
type Scanner struct {
	once sync.Once // makes line
	line turns.Line
	n    atomic.Uint64
}

// A Finding is what was found of a message.
type Finding struct {
	Bad  bool
	Text string // printable: what the program says
}

// A Scan is one message to be looked at.
type Scan struct {
	Mailer local.Mailer
	User   string // the account of option av-user
	Who    string // for whom the message counts: a user or a network
	ID     string // in the queue
	Body   io.Reader
}

// Look waits for a turn and has the program look at a message. An error says why that
// can't be told now.
func (s *Scanner) Look(ctx context.Context, m Scan) (Finding, error) {
	s.once.Do(func() {
		s.line.Limits = func() (int, int64) { return maxScans, maxScans }
		s.line.Waiting, s.line.Each = maxTurns, eachScans
	})
	waiting, cancel := context.WithTimeoutCause(ctx, turnWait, errTurn)
	defer cancel()
	if err := s.line.Enter(waiting, m.Who, 1); err != nil {
		if ctx.Err() == nil && waiting.Err() != nil {
			err = errTurn
		}
		return Finding{}, fmt.Errorf("option av: %w", err)
	}
	defer s.line.Leave(m.Who, 1)
	token := fmt.Sprintf("av/%s/%d", m.ID, s.n.Add(1))
	r := m.Mailer.Run(ctx, token, local.Job{
		User: m.User, Item: local.Item{Source: local.FromScanner, Name: m.User}, Envelope: local.Envelope{QueueID: m.ID}, Body: m.Body,
	})
	m.Mailer.Recorded(token)
	switch r.Action {
	case outcome.Delivered:
		return Finding{}, nil
	case outcome.Bounced:
		return Finding{Bad: true, Text: said(r.Reply.Text)}, nil
	}
	err := r.Cause()
	if err == nil {
		err = errors.New(r.Reply.Text)
	}
	return Finding{}, fmt.Errorf("option av: %w", err)
}

// said is what a program printed as one line: its words where there are any, else ours.
func said(text string) string {
	ours, its, ok := strings.Cut(text, "\n")
	if !ok {
		its = ours
	}
	return smtp.Printable(strings.ReplaceAll(its, "\n", "; "), maxFinding)
}

var errTurn = errors.New("too many messages wait for their turn")
