package deliver

import (
	"fmt"
	"strings"

	"postoffice/deliver/local"
	"postoffice/deliver/outcome"
	"postoffice/deliver/route"
	"postoffice/internal/account"
)

// deliverBox gives the message to one mailbox. The answer is forwarded where the
// user has a .forward that counts.
func (d *delivery) deliverBox() answer {
	switch d.s.router.Way(d.t.step.Account, d.t.folder) {
	case route.IntoStore:
		return d.toStore()
	case route.ByProgram:
		return d.byMailer()
	}
	return d.toFile()
}

// toFile has it written into a file or Maildir.
func (d *delivery) toFile() answer {
	t := d.t
	size, quota := d.m.Size()+local.RoomInFront, t.step.Account.Quota
	if quota > 0 && size > quota {
		return settled{outcome: hereOutcome(local.Settle(outcome.Refusal("5.2.3", fmt.Sprintf("the message is larger than all that this mailbox may have, which is %d octets", quota), nil)))}
	}
	body, done := d.finished(local.FormatOptions{
		Form:        d.s.formOf(t),
		ReversePath: t.reverse,
		DeliveredTo: d.deliveredTo(t.name),
	})
	res := d.s.Local.Deliver(d.work, d.token, local.Delivery{
		User: t.name, Body: body, Size: size, Quota: quota,
		Final: t.final, Extension: t.extension, Folder: t.folder,
	})
	done()
	return d.boxAnswer(res)
}

// formOf is the form of a message in a target's mailbox.
func (s *settings) formOf(t *localTarget) local.Form {
	if !isVirtual(t.name) {
		return local.FormOf(s.Mailbox, t.folder)
	}
	if s.VirtualMailbox == route.Maildir {
		return local.FormMaildir
	}
	return local.FormMbox
}

// isVirtual reports whether a mailbox is a virtual domain's.
func isVirtual(name string) bool {
	_, _, virtual := account.SplitVirtual(name)
	return virtual
}

// virtualFolder is where mail for a folder goes that is for a user of a virtual domain; "":
// into the mailbox.
func (s *settings) virtualFolder(folder string) string {
	if folder == "" || strings.HasPrefix(s.VirtualMailbox, "lmtp:") {
		return ""
	}
	return s.VirtualFolder
}

// byMailer has the program of option mailer run for it.
func (d *delivery) byMailer() answer {
	t := d.t
	body, done := d.finished(local.FormatOptions{
		Form:        local.FormProgram,
		ReversePath: t.reverse,
		DeliveredTo: d.deliveredTo(t.name),
	})
	res := d.s.Local.Run(d.work, d.token, local.Job{
		User: t.name, Item: local.Item{Source: local.FromMailer, Name: t.name}, Body: body, Final: t.final,
		Envelope: local.Envelope{Sender: t.reverse, Recipient: d.to, Extension: t.extension, QueueID: string(d.id)},
	})
	done()
	return d.boxAnswer(res)
}

func (d *delivery) boxAnswer(res local.Result) answer {
	if res.Answer == local.Forwarded {
		return forwarded{}
	}
	return d.answer(hereOutcome(res), d.token)
}

// hereOutcome is the outcome of a delivery here, which log and report call
// "local".
func hereOutcome(res local.Result) outcome.Outcome {
	res.Relay = "local"
	return res.Outcome
}
