package deliver

import (
	"postoffice/deliver/local"
	"postoffice/internal/smtp"
)

// deliveredTo is the address that names a mailbox or an alias in Delivered-To.
func (a *attempt) deliveredTo(name string) smtp.Path {
	return smtp.Path{Local: name, Domain: a.s.Hostname}
}

// deliverBox writes the message into one mailbox.
func (a *attempt) deliverBox(t *target, token string) answer {
	body, done := a.finished(local.FormatOptions{ReversePath: t.reverse, DeliveredTo: a.deliveredTo(t.name)})
	res := a.s.Local.Deliver(a.work, token, local.Delivery{User: t.name, Body: body, Size: -1, Final: t.final, Extension: t.extension})
	done()
	if res.Status == local.Forwarded {
		return answer{forwarded: true, token: token}
	}
	x := answer{outcome: localOutcome(res, t.name), token: token}
	x.skipped = x.outcome.Action == Deferred && a.work.Err() != nil
	return x
}

// localOutcome translates a result of deliver/local.
func localOutcome(res local.Result, name string) Outcome {
	o := Outcome{Reply: res.Reply, Err: res.Err, Relay: "local"}
	switch res.Status {
	case local.Delivered:
		o.Action, o.Err = Delivered, nil
	case local.Refused:
		o.Action = Bounced
	}
	return o
}
