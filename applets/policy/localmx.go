package policy

import (
	"context"

	"postoffice/applets/smtpd"
)

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
