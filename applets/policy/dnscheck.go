package policy

import (
	"context"

	"postoffice/applets/smtpd"
)

// nameLeadsBack refuses a client whose address has a name in DNS that isn't its
// own: none of its PTR records names a host that has the address (B39). One without
// any name passes, as does one of which DNS says nothing now (B38).
func (s *session) nameLeadsBack(context.Context, asked) smtpd.Verdict {
	if s.client.Naming != smtpd.Forged {
		return smtpd.Verdict{}
	}
	return s.denyName("the name that its address has in DNS does not lead back to the address; whoever runs that DNS can mend it")
}
