package deliver

import (
	"context"
	"errors"
	"log/slog"
	"strconv"
	"sync"
	"time"

	"postoffice/deliver/outcome"
	"postoffice/deliver/remote"
	"postoffice/deliver/route"
	"postoffice/internal/maillog"
	"postoffice/spool/envelope"
)

// log writes a line about the message.
func (m *message) log(level slog.Level, msg string, attrs ...slog.Attr) {
	first := []slog.Attr{maillog.QueueID(m.id)}
	if m.env.Session != "" {
		first = append(first, maillog.Session(m.env.Session))
	}
	m.s.Log.LogAttrs(context.Background(), level, msg, append(first, attrs...)...)
}

func (m *message) warn(msg string, attrs ...slog.Attr) { m.log(slog.LevelWarn, msg, attrs...) }

// logRecipients writes one line for each recipient of an outcome; next is when
// deferred ones are tried again.
func (m *message) logRecipients(keys []envelope.Key, o outcome.Outcome, msg, status string, next time.Time) {
	level := slog.LevelInfo
	// Our own words, and what relay-host wants, are ours to mend.
	if o.Action == outcome.Deferred && (o.Relay == "" && !o.Reply.IsZero() || errors.Is(o.Err, remote.ErrLogin)) {
		level = slog.LevelWarn
	}
	for _, k := range keys {
		rc := m.rcpt(k)
		m.log(level, msg, m.recipientAttrs(rc, o, status, next)...)
		m.tellOutcome(rc, o, status, next)
	}
}

// recipientAttrs are the attributes of such a line. They are put together here so that
// what that takes of the stack is free again where the line is written, an attempt's
// deepest place.
func (m *message) recipientAttrs(rc envelope.Recipient, o outcome.Outcome, status string, next time.Time) []slog.Attr {
	to := addressee(rc)
	attrs := []slog.Attr{maillog.To(to)}
	if orig := m.original(rc); orig != to {
		attrs = append(attrs, maillog.OrigTo(orig))
	}
	if o.Relay != "" {
		attrs = append(attrs, maillog.Relay(o.Relay))
	}
	if o.TLS != "" {
		attrs = append(attrs, maillog.TLS(o.TLS))
	}
	attrs = append(attrs, maillog.DSN(o.DSN()), maillog.Status(status), maillog.Delay(m.delay()))
	if !o.Reply.IsZero() {
		attrs = append(attrs, maillog.Reply(o.Reply))
	}
	if o.Err != nil {
		attrs = append(attrs, maillog.Err(o.Err))
	}
	if !next.IsZero() {
		attrs = append(attrs, maillog.Attempt(m.number), maillog.Next(next))
	}
	return attrs
}

// tellCircle says, once with these settings, that an alias leads back to what is
// expanded already, which its other targets have the message by.
func (m *message) tellCircle(s route.Step) {
	if s.Circle == nil {
		return
	}
	words := route.CircleWords(s.Circle)
	if !m.s.circles.first(words) {
		return
	}
	attrs := []slog.Attr{maillog.Reason(words + "; whoever else they name gets the mail: take it out")}
	if at := s.Targets[0]; at.File != "" {
		attrs = append(attrs, maillog.File(at.File+":"+strconv.Itoa(at.Line)))
	}
	m.warn("alias in a circle", attrs...)
}

// tellOnce keeps what has been told. Its zero value is ready.
type tellOnce struct {
	mu   sync.Mutex
	told map[string]bool
}

const maxTold = 1000 // beyond these all is forgotten, and told again

// first reports whether a text is to be told: it is new.
func (o *tellOnce) first(text string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.told == nil || len(o.told) >= maxTold {
		o.told = map[string]bool{}
	}
	before := o.told[text]
	o.told[text] = true
	return !before
}
