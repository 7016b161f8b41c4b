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

// isLocalMX lets a client relay whose name has an exchanger that is this machine.
// Only a name that leads back to the address counts (B40). Whoever has a name may
// publish such an exchanger: postoffice.cf(5) says so. While DNS doesn't say it, the
// client is a stranger that is asked to come again where it would be refused (B38).
func (s *session) isLocalMX(ctx context.Context, _ asked) smtpd.Verdict {
	c := s.client
	switch c.Naming {
	case smtpd.Named:
	case smtpd.Uncertain:
		s.unsure = true
		return smtpd.Verdict{}
	default:
		return smtpd.Verdict{}
	}
	if !c.AskBy.IsZero() {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, c.AskBy)
		defer cancel()
	}
	ours, err := s.o.Exchanges(ctx, c.Name)
	switch {
	case ours:
		return smtpd.Verdict{Trust: "this machine is an exchanger of its name (option localmx)"}
	case err != nil:
		s.unsure = true
	}
	return smtpd.Verdict{}
}
