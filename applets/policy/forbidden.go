package policy

import (
	"context"
	"fmt"
	"log/slog"

	"postoffice/applets/smtpd"
	"postoffice/internal/maillog"
	"postoffice/internal/smtp"
)

// Forbidden is what becomes of clients that are denied (option forbidden), and of mail that
// is found bad (option spam).
type Forbidden struct {
	Take   bool   // their mail is taken, and marked
	Folder string // and goes into this folder of local recipients; "" is their mailbox
	Why    string // what they are told; "" is a sentence of ours
}

// deny is the verdict on a client that may not connect, for a reason.
func (s *session) deny(reason string) smtpd.Verdict {
	why := s.who() + ": " + smtp.Printable(reason, 300)
	if s.o.Forbidden.Take {
		text := "mail is taken, and marked as unwanted, from " + why
		return smtpd.Verdict{Greeting: "\n" + text, Mark: smtpd.Mark{Reason: reason, Folder: s.o.Forbidden.Folder}}
	}
	text := "no mail is taken from " + why
	return smtpd.Verdict{Reply: smtp.Reply{Code: 554, Status: "5.7.1", Text: text}, Refuse: true} // options hosts-deny and forbidden: "no mail is taken from NAME [ADDRESS]: WHY"; 521 (RFC 7504) where a rule cuts the client off
}

// who names the client to itself.
func (s *session) who() string {
	if s.client.Name != "" {
		return fmt.Sprintf("%s [%s]", s.client.Name, s.client.Addr.Addr())
	}
	return fmt.Sprintf("[%s]", s.client.Addr.Addr())
}

// unwanted is the verdict on a message that is found bad: reason says why, and r refuses it
// where option spam doesn't say otherwise. A stranger's key waits anew.
func (s *session) unwanted(reason string, r smtp.Reply) smtpd.Verdict {
	s.Junk()
	if s.o.Spam.Take {
		return smtpd.Verdict{Mark: smtpd.Mark{Reason: reason, Folder: s.o.Spam.Folder}}
	}
	return smtpd.Verdict{Reply: r}
}

// scan has the program of option av look at a message of the network. What programs of this
// machine submit is looked at in the queue. What it can't tell now is no refusal (R28).
func (s *session) scan(ctx context.Context, a asked) smtpd.Verdict {
	c := s.client
	if c.Kind == smtpd.Local || s.safe() || a.said.Discard != "" || a.said.Mark.Reason != "" {
		return smtpd.Verdict{}
	}
	bad, text, err := s.o.Scan(ctx, c, a.tx.ID, a.said.Edits.Reader(a.message, a.message.Size))
	attrs := []slog.Attr{maillog.QueueID(a.tx.ID), maillog.Session(c.Session), maillog.Client(c.String()), maillog.From(a.tx.ReversePath)}
	switch {
	case err != nil:
		s.o.Log.LogAttrs(ctx, slog.LevelWarn, "message not judged", append(attrs, maillog.Err(err), maillog.Reason("its client is asked to send it again"))...)
		return smtpd.Refusal(smtp.Reply{Code: 451, Status: "4.7.1", Text: "it can't be looked now into what the message has in it: send it again later"}) // option av, while its program fails
	case bad:
		s.o.Log.LogAttrs(ctx, slog.LevelWarn, "message found bad", append(attrs, maillog.Reason(text))...)
		return s.unwanted(text, Infected(s.o.Spam.Why))
	}
	return smtpd.Verdict{}
}

// safe reports whether the client has logged in, and its mail is not looked at (option
// safe).
func (s *session) safe() bool { return s.o.Safe && s.client.Account != "" }

// Unwanted is the reply to a message that a filter refuses with r when it has come, with
// the administrator's words or the filter's.
func Unwanted(why string, r smtp.Reply) smtp.Reply {
	if why == "" {
		return r
	}
	text := smtp.Printable(why, 300)
	return smtp.Reply{Code: r.Code, Status: r.Status, Text: text} // options filter and spam=bounce: with the words of the second
}

// Infected is the reply to a message that option av finds bad, with the administrator's
// words or ours.
func Infected(why string) smtp.Reply {
	if why != "" {
		text := smtp.Printable(why, 300)
		return smtp.Reply{Code: 550, Status: "5.7.1", Text: text} // options av and spam=bounce: with the words of the second
	}
	return smtp.Reply{Code: 550, Status: "5.7.1", Text: "the message has a virus, or something like one, in it: look at what is attached before you send it again"} // option av with spam=bounce
}
