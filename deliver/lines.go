package deliver

import (
	"context"
	"log/slog"
	"time"

	"postoffice/internal/maillog"
	"postoffice/internal/smtp"
	"postoffice/spool"
)

// delay is the time since the message arrived.
func (a *attempt) delay() time.Duration {
	return max(a.s.Now().Sub(a.env.Arrived), 0)
}

func (a *attempt) log(level slog.Level, msg string, attrs ...slog.Attr) {
	first := []slog.Attr{maillog.QueueID(a.id)}
	if a.env.Session != "" {
		first = append(first, maillog.Session(a.env.Session))
	}
	a.s.Log.LogAttrs(context.Background(), level, msg, append(first, attrs...)...)
}

// logRecipients writes one line for each recipient of an answer.
func (a *attempt) logRecipients(x answer, msg, status string, more ...slog.Attr) {
	for _, k := range x.keys {
		a.logRecipient(a.rcpt(k), x.outcome, msg, status, more...)
	}
}

func (a *attempt) logRecipient(rc spool.Recipient, o Outcome, msg, status string, more ...slog.Attr) {
	to := addressee(rc)
	attrs := []slog.Attr{maillog.To(to)}
	if orig := a.original(rc); orig != to {
		attrs = append(attrs, maillog.OrigTo(orig))
	}
	attrs = append(attrs, maillog.Relay(o.Relay), maillog.DSN(dsn(o)), maillog.Status(status), maillog.Delay(a.delay()))
	if !o.Reply.IsZero() {
		attrs = append(attrs, maillog.Reply(o.Reply))
	}
	if o.Err != nil {
		attrs = append(attrs, maillog.Err(o.Err))
	}
	level := slog.LevelInfo
	if o.Action == Deferred && o.Relay == "" && !o.Reply.IsZero() { // our own words: ours to mend
		level = slog.LevelWarn
	}
	a.log(level, msg, append(attrs, more...)...)
	a.tellOutcome(rc, o, status)
}

// original is the address in the envelope that led to rc.
func (a *attempt) original(rc spool.Recipient) smtp.Path { return a.origin(rc).Path }

// addressee is the address that stands for rc where people read it: of an item
// the alias or the user whose it is, never its text.
func addressee(rc spool.Recipient) smtp.Path {
	if rc.Agent != nil {
		return smtp.Path{Local: rc.Agent.Name}
	}
	return rc.Path
}

// origin is the recipient in the envelope that led to rc.
func (a *attempt) origin(rc spool.Recipient) spool.Recipient {
	for rc.Parent != spool.NoKey {
		rc = a.rcpt(rc.Parent)
	}
	return rc
}

// dsn is the enhanced status code of an outcome.
func dsn(o Outcome) string {
	if o.Reply.Status != "" {
		return o.Reply.Status
	}
	switch o.Action {
	case Delivered:
		return "2.0.0"
	case Bounced:
		return "5.0.0"
	}
	if o.Reply.IsZero() && o.Err != nil {
		return "4.4.1"
	}
	return "4.0.0"
}
