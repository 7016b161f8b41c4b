package policy

import (
	"context"

	"postoffice/applets/smtpd"
	"postoffice/internal/smtp"
)

// hasName refuses a client whose address has no name, or none that leads back to
// it. What DNS doesn't say now is no reason.
func (s *session) hasName(ctx context.Context, a asked) smtpd.Verdict {
	if s.client.Naming == smtpd.Unnamed {
		return s.denyName("its address has no name in DNS (a PTR record), which its provider can give it")
	}
	return s.nameLeadsBack(ctx, a)
}

// denyName is the verdict on a client for want of a name.
func (s *session) denyName(reason string) smtpd.Verdict {
	v := s.deny(reason)
	v.Refuse = false // RFC 5321 section 3.1 allows to hang up with 421 alone, and the original did
	if !v.Accepted() {
		v.Reply = smtp.Reply{Code: 421, Status: "4.7.25", Text: v.Reply.Text} // options paranoid and dnscheck: "no mail is taken from NAME [ADDRESS]: WHY"
	}
	return v
}
