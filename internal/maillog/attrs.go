package maillog

import (
	"errors"
	"log/slog"
	"strings"
	"time"

	"postoffice/internal/smtp"
)

// The attributes of the mail log, one constructor each, so that no name is
// spelt two ways. Values that come from outside need no care: the handlers
// escape them.

// QueueID is the message.
func QueueID[S ~string](id S) slog.Attr { return slog.String("qid", string(id)) }

// Session is the SMTP session, the same for all its lines.
func Session[S ~string](id S) slog.Attr { return slog.String("session", string(id)) }

// Proc is the process a line is about: "server", "user alice".
func Proc(name string) slog.Attr { return slog.String("proc", name) }

// Client is the other end of an SMTP session: "name[address]:port".
func Client(name string) slog.Attr { return slog.String("client", name) }

// Helo is what the client calls itself.
func Helo(name string) slog.Attr { return slog.String("helo", name) }

// User is a login name: the local recipient's, or who submitted.
func User(name string) slog.Attr { return slog.String("user", name) }

// TLS is the protocol version and cipher of a session.
func TLS(text string) slog.Attr { return slog.String("tls", text) }

// From is the reverse-path; the null reverse-path reads "<>".
func From(p smtp.Path) slog.Attr { return slog.String("from", "<"+p.String()+">") }

// To is the recipient that a line is about.
func To(p smtp.Path) slog.Attr { return slog.String("to", "<"+p.String()+">") }

// OrigTo is the recipient before aliases, where it differs.
func OrigTo(p smtp.Path) slog.Attr { return slog.String("orig_to", "<"+p.String()+">") }

// Size is the message's header and body, in octets as stored.
func Size(octets int64) slog.Attr { return slog.Int64("size", octets) }

// NRcpt counts the recipients.
func NRcpt(n int) slog.Attr { return slog.Int("nrcpt", n) }

// MsgID is the Message-ID field's value, not the queue ID.
func MsgID(id string) slog.Attr { return slog.String("msgid", id) }

// Relay is where a message went or should go: "name[address]:port" or "local".
func Relay(name string) slog.Attr { return slog.String("relay", name) }

// Verb is a command of SMTP, by its first four letters.
func Verb(name string) slog.Attr { return slog.String("verb", name) }

// Command is what a client sent. It is for none that may hold a password.
func Command(line string) slog.Attr { return slog.String("command", line) }

// Code is a reply code.
func Code(code int) slog.Attr { return slog.Int("code", code) }

// DSN is an enhanced status code, RFC 3463.
func DSN(status string) slog.Attr { return slog.String("dsn", status) }

// Reply is what the other side, or we, answered.
func Reply(r smtp.Reply) slog.Attr { return slog.String("reply", r.String()) }

// Status is what became of a recipient: Sent, Deferred, Bounced or Expired.
func Status(status string) slog.Attr { return slog.String("status", status) }

// What Status may be given.
const (
	Sent     = "sent"
	Deferred = "deferred"
	Bounced  = "bounced"
	Expired  = "expired" // bounced because it is too old
)

// Delay counts from the message's arrival.
func Delay(d time.Duration) slog.Attr { return slog.Duration("delay", d.Round(time.Millisecond)) }

// Attempt counts the attempts at a recipient, from 1.
func Attempt(n int) slog.Attr { return slog.Int("attempt", n) }

// Next is when the next attempt is due.
func Next(t time.Time) slog.Attr { return slog.Time("next", t) }

// Filter is a content filter's name.
func Filter(name string) slog.Attr { return slog.String("filter", name) }

// Option is a configuration option's name.
func Option(name string) slog.Attr { return slog.String("option", name) }

// File is a path, with a line number where there is one.
func File(path string) slog.Attr { return slog.String("file", path) }

// Reason says why, in words of ours.
func Reason(text string) slog.Attr { return slog.String("reason", text) }

// Lines are the errors that err joins, each for a line of its own in the log: as
// many as its text has lines.
func Lines(err error) []error {
	lines := strings.Split(err.Error(), "\n")
	if len(lines) == 1 {
		return []error{err}
	}
	all := make([]error, len(lines))
	for i, line := range lines {
		all[i] = errors.New(line)
	}
	return all
}

// Err is a failure of ours or of the system; nil reads "".
func Err(err error) slog.Attr {
	if err == nil {
		return slog.String("err", "")
	}
	return slog.String("err", err.Error())
}
