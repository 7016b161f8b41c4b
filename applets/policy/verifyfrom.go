package policy

import (
	"context"
	"fmt"

	"postoffice/applets/smtpd"
	"postoffice/internal/smtp"
)

// senderIsReal refuses a stranger's reverse-path in a domain that doesn't exist or
// takes no mail, since no report could reach it, and one in a domain of ours,
// or without any: who sends in our names is of this machine, trusted, or logged in. The null sender
// passes (B24).
func (s *session) senderIsReal(ctx context.Context, a asked) smtpd.Verdict {
	domain := a.path.Domain
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
	case where == Nowhere:
		return smtpd.Refusal(smtp.Reply{Code: 550, Status: "5.1.8", Text: fmt.Sprintf("the sender's domain %s takes no mail: no report could reach you, send with an address that takes some", smtp.Printable(domain, 255))}) // option verify-from
	}
	return smtpd.Verdict{}
}

// A Place is where mail for a domain goes.
type Place int

const (
	Elsewhere Place = iota
	Here            // it is delivered on this machine
	Nowhere         // there is no such domain, or it takes no mail
)
