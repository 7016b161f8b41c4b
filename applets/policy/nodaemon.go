package policy

import (
	"context"

	"postoffice/applets/smtpd"
	"postoffice/internal/smtp"
)

// noNullSender refuses reports and all else from the null sender, at DATA: those
// who only ask whether an address exists, with the null sender, get their answer
// at RCPT (S16, S72, R34).
func (s *session) noNullSender(_ context.Context, a asked) smtpd.Verdict {
	if !a.tx.ReversePath.IsNull() || s.client.Kind == smtpd.Local {
		return smtpd.Verdict{}
	}
	return smtpd.Refusal(smtp.Reply{Code: 550, Status: "5.7.1", Text: "no reports and no mail without a sender are taken here, send with your own address"}) // option nodaemon
}
