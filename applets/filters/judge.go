package filters

import (
	"context"
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

// A Judgement is what the filters say of a message that waits in the queue.
type Judgement struct {
	smtpd.Verdict                    // on the message, for all whom Refused doesn't have
	Refused       map[int]smtp.Reply // recipients that they don't let have it, by number
}

// Later is that a filter doesn't want a message, or a recipient, now.
type Later struct{ Reply smtp.Reply }

func (e *Later) Error() string { return e.Reply.String() }

// Judge shows a message of who's that waits in the queue to the filters, as one that
// t.Client sends, with the recipients that they take. An error is that a filter can't be asked now,
// or doesn't want the message or a recipient now: whatever its line in option filter has
// for that, the message waits on.
func (s *Set) Judge(ctx context.Context, who string, t *smtpd.Transaction, m smtpd.Message) (Judgement, error) {
	var j Judgement
	ss := s.session(t.Client, who)
	if ss == nil {
		return j, nil
	}
	ss.waits = true
	defer ss.Close()
	// ask makes a step, and reports whether it goes on.
	ask := func(step func() smtpd.Verdict) (bool, error) {
		j.Verdict = step()
		switch {
		case ss.err != nil:
			return false, ss.err
		case j.Reply.Temporary():
			return false, &Later{j.Reply}
		}
		return j.Accepted(), nil
	}
	for _, step := range []func() smtpd.Verdict{
		func() smtpd.Verdict { return ss.Connect(ctx) },
		func() smtpd.Verdict { return ss.Helo(ctx) },
		func() smtpd.Verdict { return ss.Mail(ctx, t) },
	} {
		if on, err := ask(step); !on {
			return j, err
		}
	}
	all := t.Recipients
	t.Recipients = nil
	for i, rc := range all {
		on, err := ask(func() smtpd.Verdict { return ss.Rcpt(ctx, t, rc.Path) })
		switch {
		case err != nil:
			return j, err
		case on:
			t.Recipients = append(t.Recipients, rc)
			continue
		case j.Refused == nil:
			j.Refused = map[int]smtp.Reply{}
		}
		j.Refused[i] = j.Reply
	}
	j.Verdict = smtpd.Verdict{}
	if len(t.Recipients) == 0 {
		return j, nil
	}
	for _, step := range []func() smtpd.Verdict{
		func() smtpd.Verdict { return ss.Data(ctx, t) },
		func() smtpd.Verdict { return ss.Message(ctx, t, m) },
	} {
		if on, err := ask(step); !on {
			return j, err
		}
	}
	return j, nil
}

// waitsFor notes why a message that waits in the queue waits on.
func (l *link) waitsFor(err error) smtp.Reply {
	l.s.err = fmt.Errorf("filter %s: %w", l.f.Name, err)
	return smtp.Reply{Code: 451, Status: "4.7.1", Text: "a mail filter can't be asked now"} // nobody hears it: the message waits
}
