package policy

import (
	"context"
	"fmt"
	"log/slog"

	"postoffice/applets/smtpd"
	"postoffice/internal/maillog"
	"postoffice/internal/smtp"
)

// senderIsReal refuses a stranger's reverse-path in a domain that doesn't exist or
// takes no mail, since no report could reach it, and one in a domain of ours,
// or without any: who sends in our names is of this machine, trusted, or logged in. The null sender
// passes (B24), and so does a user of a virtual domain, who has no other place to send
// from (R19).
func (s *session) senderIsReal(ctx context.Context, a asked) smtpd.Verdict {
	domain := a.path.Domain
	s.ourSender = false
	switch {
	case a.path.IsNull():
		return smtpd.Verdict{}
	case domain == "":
		return smtpd.Refusal(smtp.Reply{Code: 550, Status: "5.1.7", Text: "a sender without a domain is of this machine: send with your whole address"}) // option verify-from: a stranger with a bare name
	}
	switch where, err := s.o.Domain(ctx, domain); {
	case err != nil:
		return smtpd.Refusal(smtp.Reply{Code: 451, Status: "4.1.8", Text: "the name service does not answer for the sender's domain, try again later"}) // option verify-from
	case where == Here:
		return smtpd.Refusal(smtp.Reply{Code: 550, Status: "5.7.1", Text: "senders in that domain are of this machine: send through it as one who may, or with your own address"}) // option verify-from: a stranger with a sender of ours
	case where == Virtual:
		s.ourSender = true
		return s.isSender(ctx, a)
	case where == Nowhere:
		return smtpd.Refusal(smtp.Reply{Code: 550, Status: "5.1.8", Text: fmt.Sprintf("the sender's domain %s takes no mail: no report could reach you, send with an address that takes some", smtp.Printable(domain, 255))}) // option verify-from
	}
	return smtpd.Verdict{}
}

// isSender refuses a reverse-path of a virtual domain that nobody has: a report could
// reach nobody.
func (s *session) isSender(ctx context.Context, a asked) smtpd.Verdict {
	r, err := s.o.Recipient(ctx, Question{To: a.path, Octets: -1})
	if err != nil {
		s.o.Log.LogAttrs(ctx, slog.LevelWarn, "sender not known now", maillog.From(a.path), maillog.Err(err))
	}
	switch {
	case r.IsZero():
		return smtpd.Verdict{}
	case r.Temporary():
		return smtpd.Refusal(smtp.Reply{Code: 451, Status: "4.1.8", Text: "it isn't known now whether there is such a sender, try again later"}) // option verify-from: the files of a virtual domain can't be read
	}
	return smtpd.Refusal(smtp.Reply{Code: 550, Status: "5.1.8", Text: "there is no such sender in that domain: no report could reach you, send with your own address"}) // option verify-from: nobody has that address of a virtual domain
}

// A Place is where mail for a domain goes.
type Place int

const (
	Elsewhere Place = iota
	Here            // it is delivered on this machine
	Nowhere         // there is no such domain, or it takes no mail
	Virtual         // it is delivered here, for users who send from anywhere
)
