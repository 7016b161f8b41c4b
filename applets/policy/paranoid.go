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

// nameLeadsBack refuses a client whose address has a name in DNS that isn't its
// own: none of its PTR records names a host that has the address (B39). One without
// any name passes, as does one of which DNS says nothing now (B38).
func (s *session) nameLeadsBack(context.Context, asked) smtpd.Verdict {
	if s.client.Naming != smtpd.Forged {
		return smtpd.Verdict{}
	}
	return s.denyName("the name that its address has in DNS does not lead back to the address; whoever runs that DNS can mend it")
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
