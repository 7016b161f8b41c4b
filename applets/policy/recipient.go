package policy

import (
	"context"
	"log/slog"

	"postoffice/applets/smtpd"
	"postoffice/internal/maillog"
	"postoffice/internal/smtp"
)

// notRelayed is the status of the router's answer to what is not local and whose
// client may not send elsewhere.
const notRelayed = "5.7.1"

// recipient asks the router. Who has gone is not asked back: what is wrong with
// a recipient turns out at delivery, and a report tells the sender. A program
// of this machine is never refused for what may pass: most don't try again, and
// the queue does. That holds for those that come by a loopback address, too. A
// stranger behind a proxy of this machine is one of them, and may relay: that the
// proxy keeps addresses is the administrator's to see to, smtpd(8).
func (s *session) recipient(ctx context.Context, a asked) smtpd.Verdict {
	c := s.client
	if c.Absent {
		return smtpd.Verdict{}
	}
	q := Question{From: a.tx.ReversePath, To: a.path, Octets: a.tx.Declared(), Trusted: (c.Local || c.Trusted) && !c.NoRelay}
	r, err := s.o.Recipient(ctx, q)
	if err != nil { // clients are not told what is wrong
		s.o.Log.LogAttrs(ctx, slog.LevelWarn, "recipient not known now", maillog.To(a.path), maillog.Err(err))
	}
	switch {
	case c.Local && !c.NoRelay && r.Temporary():
		return smtpd.Verdict{}
	case c.NoRelay, q.Trusted:
	case r.Status == notRelayed && s.maybeTrusted():
		return smtpd.Refusal(smtp.Reply{Code: 451, Status: "4.7.1", Text: "it is not known now who may send there, try again later"}) // DNS does not say whose addresses option trusted means
	}
	return smtpd.Refusal(r)
}

// maySubmit refuses strangers on the ports for our own users' mail (RFC 6409 section
// 4.3), which is not for mail that comes in.
func (s *session) maySubmit(context.Context, asked) smtpd.Verdict {
	if s.client.Kind != smtpd.Submission && s.client.Kind != smtpd.SubmissionTLS {
		return smtpd.Verdict{}
	}
	if s.o.OwnSender != nil {
		return smtpd.Refusal(smtp.Reply{Code: 530, Status: "5.7.0", Text: "log in and try again, with name and password in your program's settings; send mail for users of this server to port 25"}) // a stranger on the ports for submission who has not logged in
	}
	return smtpd.Refusal(smtp.Reply{Code: 530, Status: "5.7.0", Text: "this port is for those whose mail this server sends on, send mail for users of this server to port 25"}) // a stranger on the ports for submission
}

// noNullSender refuses reports and all else from the null sender, at DATA: those
// who only ask whether an address exists, with the null sender, get their answer
// at RCPT (S16, S72, R34).
func (s *session) noNullSender(_ context.Context, a asked) smtpd.Verdict {
	if !a.tx.ReversePath.IsNull() || s.client.Kind == smtpd.Local {
		return smtpd.Verdict{}
	}
	return smtpd.Refusal(smtp.Reply{Code: 550, Status: "5.7.1", Text: "no reports and no mail without a sender are taken here, send with your own address"}) // option nodaemon
}
