package policy

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"postoffice/applets/smtpd"
	"postoffice/internal/maillog"
	"postoffice/internal/smtp"
)

// Words of the last field of an audit record, mailaudit(5). Those of a check stand
// in its row of the table.
const (
	auditForbidden  = "forbidden"
	auditOutlawed   = "outlawed"
	auditStranger   = "stranger"
	auditProhibited = "prohibited"
	auditMilter     = "milter"
	auditCoal       = "Coal"
	auditDelay      = "delay" // and the seconds, where there is an end
)

// ToggleAudit turns auditing on where it is off, and off where it is on, also for
// sessions that have begun.
func (p *Policy) ToggleAudit() { p.audit(!p.auditing.Load()) }

// audit turns auditing on or off.
func (p *Policy) audit(on bool) {
	if p.auditing.Swap(on) == on {
		return
	}
	event := "auditing off"
	if on {
		event = "auditing on"
	}
	p.o.Log.LogAttrs(context.Background(), slog.LevelInfo, event)
}

// record writes an answer to a client down: as the record of mailaudit(5), which
// programs read, and as a line of the log with fields.
func (s *session) record(verb, line, cause string, r smtp.Reply) {
	ctx, log := context.Background(), s.o.Log
	rest := auditRest(verb, line, cause, r)
	if verb == "AUTH" && r.Code == 235 {
		rest = smtp.Printable(s.client.Account, 255)
	}
	code := r.Code
	if r.IsZero() {
		code = 421 // what a client that has gone would have been told
	}
	text := fmt.Sprintf("AUDIT:%3d:%15s:%4.4s:%03d:%s", int(time.Since(s.began).Seconds()), s.client.Addr.Addr(), auditVerb(verb), code, rest)
	if h := log.Handler(); h.Enabled(ctx, slog.LevelInfo) {
		// Its words are no event's, which are constant. A handler of the log never fails.
		_ = h.Handle(ctx, slog.NewRecord(time.Now(), slog.LevelInfo, text, 0))
	}
	attrs := []slog.Attr{maillog.Session(s.client.Session), maillog.Client(s.client.String()),
		maillog.Verb(auditVerb(verb)), maillog.Code(code), maillog.DSN(r.Status)}
	switch rest {
	case "":
	case line:
		attrs = append(attrs, maillog.Command(rest))
	default:
		attrs = append(attrs, maillog.Reason(rest))
	}
	log.LogAttrs(ctx, slog.LevelInfo, "client audited", attrs...)
}

// auditVerb is how a verb stands in a record: in letters alone, so that a client
// can't make fields of its own (B95).
func auditVerb(verb string) string {
	b := []byte(verb[:min(len(verb), 4)])
	for i, c := range b {
		switch {
		case c >= 'a' && c <= 'z':
			b[i] -= 'a' - 'A'
		case c < 'A' || c > 'Z':
			return "ERR!"
		}
	}
	return string(b)
}

// auditRest is the last field: the command where its arguments say something, else
// why it was refused. What may hold a password is left out.
func auditRest(verb, line, cause string, r smtp.Reply) string {
	refused := r.Temporary() || r.Permanent()
	switch {
	case verb == smtpd.VerbEnd:
		return auditEnd(line, cause, r)
	case verb != smtpd.VerbConnect || line != "": // a command, or one that looks like the greeting
	case r.Code == 521:
		return auditOutlawed
	case refused && cause == "":
		return "Error"
	default:
		return cause
	}
	switch auditVerb(verb) {
	case "DATA", "BDAT":
		switch {
		case !refused, r.Code == 503:
			return ""
		case r.Status == tooBig:
			return "size"
		case r.Status == "5.4.6":
			return "looping"
		case cause != "":
			return cause
		}
		return "reject"
	case "RSET", "NOOP", "VRFY", "EXPN", "HELP":
		return ""
	case "AUTH": // without what may be a password, as smtpd has it
		if !strings.HasSuffix(line, " ***") {
			return ""
		}
	}
	return line
}

// auditEnd says why a session ended.
func auditEnd(line, cause string, r smtp.Reply) string {
	switch {
	case cause != "":
		return cause
	case r.IsZero():
		return "EOF"
	case line != "": // the client's own QUIT
		return ""
	case r.Status == "4.4.2":
		return "timeout"
	case r.Status == "4.3.2":
		return "shutdown"
	}
	return "Error"
}
