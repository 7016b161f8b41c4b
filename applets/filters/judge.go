package filters

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"postoffice/applets/smtpd"
	"postoffice/internal/smtp"
)

// Here is the client of mail that programs of this machine have submitted, as filters are
// told of it: what Postfix tells them of such mail.
func Here(session string) smtpd.Client {
	home := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), 0)
	return smtpd.Client{
		Kind: smtpd.Local, Local: true, Trusted: true, UID: -1, Session: session,
		Addr: home, Server: home, Name: "localhost", Naming: smtpd.Named, Hello: "localhost", ESMTP: true,
	}
}

// Judge shows a message that waits in the queue to the filters, as one that t.Client
// sends. An error is that a filter can't be asked now, or doesn't want the message now:
// whatever its line in option filter has for that, the message waits on. What a filter
// refuses of it, be it one recipient, it refuses of all.
func (s *Set) Judge(ctx context.Context, t *smtpd.Transaction, m smtpd.Message) (smtpd.Verdict, error) {
	ss := s.session(t.Client)
	if ss == nil {
		return smtpd.Verdict{}, nil
	}
	ss.waits = true
	defer ss.Close()
	steps := []func() smtpd.Verdict{
		func() smtpd.Verdict { return ss.Connect(ctx) },
		func() smtpd.Verdict { return ss.Helo(ctx) },
		func() smtpd.Verdict { return ss.Mail(ctx, t) },
	}
	for _, rc := range t.Recipients {
		steps = append(steps, func() smtpd.Verdict { return ss.Rcpt(ctx, t, rc.Path) })
	}
	steps = append(steps,
		func() smtpd.Verdict { return ss.Data(ctx, t) },
		func() smtpd.Verdict { return ss.Message(ctx, t, m) })
	var v smtpd.Verdict
	for _, step := range steps {
		v = step()
		switch {
		case ss.err != nil:
			return smtpd.Verdict{}, ss.err
		case v.Reply.Temporary():
			return smtpd.Verdict{}, errors.New(v.Reply.String())
		case !v.Accepted():
			return v, nil
		}
	}
	return v, nil
}

// waitsFor notes why a message that waits in the queue waits on.
func (l *link) waitsFor(err error) smtp.Reply {
	l.s.err = fmt.Errorf("filter %s: %w", l.f.Name, err)
	return smtp.Reply{Code: 451, Status: "4.7.1", Text: "a mail filter can't be asked now"} // nobody hears it: the message waits
}
