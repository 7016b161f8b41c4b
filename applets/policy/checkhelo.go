package policy

import (
	"context"
	"slices"

	"postoffice/applets/smtpd"
	"postoffice/internal/smtp"
)

// helloIsNotUs refuses a stranger that calls itself by a name, or an address, of
// this machine.
func (s *session) helloIsNotUs(ctx context.Context, _ asked) smtpd.Verdict {
	name := s.client.Hello
	addrs, err := s.addrsOf(ctx, name)
	if err != nil || !slices.ContainsFunc(addrs, s.o.Ours) {
		return smtpd.Verdict{} // nothing is known against it
	}
	return smtpd.Verdict{Refuse: true, Reply: smtp.Reply{Code: 550, Status: "5.7.1",
		Text: "that is this machine's own name: say your own in HELO or EHLO"}} // option checkhelo
}
