package policy

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"postoffice/applets/smtpd"
	"postoffice/applets/smtpd/greykeeper"
	"postoffice/applets/smtpd/greylist"
	"postoffice/internal/maillog"
	"postoffice/internal/smtp"
)

func greylisted(o *Options) bool { return o.Greylist != nil && o.Greylist.Mode() != greykeeper.Off }

// greyed is what the greylist said of the sender of a session's message.
type greyed struct {
	contact greykeeper.Contact
	answer  greylist.Answer
	asked   bool
	pushed  bool             // for a recipient that nobody is
	writes  string           // who of ours sends the message; "" nobody
	to      []smtp.Recipient // to whom
}

// greylistAsks asks the greylist about a stranger's sender. It never refuses one here:
// who only asks whether an address exists gets an answer (S16, R5).
func (s *session) greylistAsks(ctx context.Context, a asked) smtpd.Verdict {
	c := s.client
	s.grey.contact = greykeeper.Contact{
		Sender:  a.path,
		Client:  c.Addr.Addr(),
		Name:    c.Name,
		Unnamed: c.Naming == smtpd.Unnamed || c.Naming == smtpd.Forged,
		Ours:    s.ourSender,
	}
	s.grey.answer = s.o.Greylist.Ask(ctx, s.grey.contact)
	s.grey.asked, s.grey.pushed = true, false
	return smtpd.Verdict{}
}

// greylistWaits refuses the message of a stranger that has to wait. The session goes on,
// since the client may have mail for others.
func (s *session) greylistWaits(ctx context.Context, a asked) smtpd.Verdict {
	g := &s.grey
	if !g.asked || g.answer.Verdict == greylist.Pass || s.o.Greylist.ExemptAll(a.tx.Recipients) {
		return smtpd.Verdict{}
	}
	if s.o.Greylist.Mode() == greykeeper.Shadow {
		s.o.Log.LogAttrs(ctx, slog.LevelInfo, "message not delayed", maillog.QueueID(a.tx.ID), maillog.Session(s.client.Session), maillog.Client(s.client.String()),
			maillog.From(a.tx.ReversePath), slog.Duration("wait", g.answer.Wait), slog.String("key", g.answer.Key), maillog.Reason(g.answer.Why.String()))
		return smtpd.Verdict{}
	}
	s.cause = auditDelay
	key := smtp.Printable(g.answer.Key, 255)
	switch {
	case g.answer.Why == greylist.Unstored:
		return smtpd.Refusal(smtp.Reply{Code: 451, Status: "4.3.0", Text: "it can't be looked up now whether you have come before: send this again in a few minutes"}) // option greylist, while its store can't be asked, with greylist-store-failed=defer
	case g.answer.Verdict == greylist.Never:
		return smtpd.Refusal(smtp.Reply{Code: 451, Status: "4.7.1", Text: "no mail from you is taken now: say so to postmaster by another way, who finds you by " + key}) // option greylist: somebody has forbidden it; no time is told, since it never ends
	}
	seconds := int64(g.answer.Wait / time.Second)
	s.cause = fmt.Sprintf("%s %d", auditDelay, seconds)
	return smtpd.Refusal(smtp.Reply{Code: 451, Status: "4.7.1", Text: fmt.Sprintf("you have not come before, or too early: send this again in %s (%d seconds); postmaster finds you by %s", inWords(g.answer.Wait), seconds, key)}) // option greylist, at DATA; the key is what authexpire takes
}

// inWords is a time for people, up to the next minute where it has any.
func inWords(d time.Duration) string {
	number := func(n int64, what string) string {
		if n == 1 {
			return "1 " + what
		}
		return fmt.Sprint(n, " ", what, "s")
	}
	if d < time.Minute {
		return number(int64(d/time.Second), "second")
	}
	minutes := int64((d + time.Minute - 1) / time.Minute)
	days, hours, minutes := minutes/(24*60), minutes/60%24, minutes%60
	var parts []string
	for _, p := range []struct {
		n    int64
		what string
	}{{days, "day"}, {hours, "hour"}, {minutes, "minute"}} {
		if p.n > 0 {
			parts = append(parts, number(p.n, p.what))
		}
	}
	return strings.Join(parts, " ")
}

// oursWrite notes to whom a message of this machine, a trusted client or an account goes.
func (s *session) oursWrite(_ context.Context, a asked) smtpd.Verdict {
	c := s.client
	switch {
	case c.Account != "":
		s.grey.writes = c.Account
	case c.Kind == smtpd.Local:
		s.grey.writes = c.User
	case !s.stranger():
		s.grey.writes = c.Addr.Addr().String()
	default:
		return smtpd.Verdict{}
	}
	if s.grey.to = nil; s.o.Greylist.NotesWritten() {
		s.grey.to = slices.Clone(a.tx.Recipients)
	}
	return smtpd.Verdict{}
}

// greylistHears tells the greylist of what was answered: a recipient that nobody is, and a
// message that was taken.
func (s *session) greylistHears(verb, line string, r smtp.Reply) {
	g := &s.grey
	switch verb {
	case "RCPT":
		if g.asked && !g.pushed && r.Permanent() && smtp.UnknownMailbox(r.Status) && s.stranger() {
			g.pushed = true
			s.o.Greylist.Pushed(g.contact, g.answer)
		}
	case "DATA", "BDAT":
		if r.Class() != 2 || verb == "BDAT" && !isLastChunk(line) {
			return
		}
		if g.asked && s.stranger() {
			s.o.Greylist.Taken(g.contact, g.answer)
		}
		if g.writes != "" {
			s.o.Greylist.Sent(g.writes, g.to)
		}
		s.grey = greyed{}
	}
}

// Junk tells the greylist that a filter finds the message bad that the session brings: its
// key waits anew.
func (s *session) Junk() {
	if greylisted(s.o) && s.grey.asked && s.stranger() {
		s.o.Greylist.Junk(s.grey.contact, s.grey.answer)
		s.grey.asked = false // a message that is taken all the same is no good one
	}
}
