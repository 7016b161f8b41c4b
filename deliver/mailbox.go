package deliver

import (
	"strings"

	"postoffice/deliver/local"
	"postoffice/internal/smtp"
)

// roomInFront is what a message grows by at most, but for the ">" of option
// escape-from: From_ line and fields with their addresses.
const roomInFront = 2 << 10

// A boxWay is how a message gets into a mailbox.
type boxWay int

const (
	intoFile  boxWay = iota // or a Maildir
	intoStore               // over LMTP
	byProgram
)

// boxWay is what options mailer and mailbox ask for. A folder is always a file,
// and root runs no program (A43).
func (s *settings) boxWay(t *target) boxWay {
	switch {
	case t.folder != "":
		return intoFile
	case s.Mailer != "" && t.step.Account.UID != 0:
		return byProgram
	case s.storeSocket() != "":
		return intoStore
	}
	return intoFile
}

// storeSocket is the socket of the LMTP server that keeps the mailboxes; ""
// where there is none.
func (s *settings) storeSocket() string {
	socket, ok := strings.CutPrefix(s.Mailbox, "lmtp:")
	if !ok {
		return ""
	}
	return socket
}

// deliverBox gives the message to one mailbox. to is the recipient of the
// envelope. The answer is forwarded where the user has a .forward that counts.
func (a *attempt) deliverBox(t *target, to smtp.Path, token string) answer {
	switch a.s.boxWay(t) {
	case intoStore:
		return a.toStore(t)
	case byProgram:
		return a.byMailer(t, to, token)
	}
	return a.toFile(t, token)
}

// toFile has it written into a file or Maildir.
func (a *attempt) toFile(t *target, token string) answer {
	body, done := a.finished(local.FormatOptions{
		Form:        local.FormOf(a.s.Mailbox, t.folder),
		ReversePath: t.reverse,
		DeliveredTo: a.deliveredTo(t.name),
	})
	res := a.s.Local.Deliver(a.work, token, local.Delivery{
		User: t.name, Body: body, Size: a.m.Size() + roomInFront,
		Final: t.final, Extension: t.extension, Folder: t.folder,
	})
	done()
	return a.boxAnswer(t, res, token)
}

// byMailer has the program of option mailer run for it.
func (a *attempt) byMailer(t *target, to smtp.Path, token string) answer {
	body, done := a.finished(local.FormatOptions{
		Form:        local.FormProgram,
		ReversePath: t.reverse,
		DeliveredTo: a.deliveredTo(t.name),
	})
	res := a.s.Local.Run(a.work, token, local.Job{
		User: t.name, Item: local.Item{Source: local.FromMailer, Name: t.name}, Body: body, Final: t.final,
		Envelope: local.Envelope{Sender: t.reverse, Recipient: to, Extension: t.extension, QueueID: string(a.id)},
	})
	done()
	return a.boxAnswer(t, res, token)
}

func (a *attempt) boxAnswer(t *target, res local.Result, token string) answer {
	if res.Status == local.Forwarded {
		return answer{forwarded: true, token: token}
	}
	x := answer{outcome: localOutcome(res, t.name), token: token}
	x.skipped = x.outcome.Action == Deferred && a.work.Err() != nil
	return x
}

// deliveredTo is the address that names a mailbox or an alias in Delivered-To.
func (a *attempt) deliveredTo(name string) smtp.Path {
	return smtp.Path{Local: name, Domain: a.s.Hostname}
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
