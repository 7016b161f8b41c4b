package deliver

import (
	"errors"
	"fmt"

	"postoffice/deliver/local"
	"postoffice/internal/alias"
	"postoffice/internal/smtp"
	"postoffice/spool"
)

// plan finds where each due recipient goes: expands aliases, in the spool,
// until mailboxes and domains elsewhere are left. What goes nowhere is
// answered for at once. It never waits for DNS.
func (a *attempt) plan(due []spool.Recipient) {
	if a.header().received > a.s.Hops {
		keys := make([]spool.Key, len(due))
		for i, rc := range due {
			keys[i] = rc.Key
		}
		a.settle(keys, refusal("5.4.6", fmt.Sprintf("more than %d Received lines: the message goes round in a loop", a.s.Hops)))
		return
	}
	a.placeAll(due, a.place)
}

// placeAll places recipients and what they are expanded to.
func (a *attempt) placeAll(due []spool.Recipient, place func(spool.Recipient) []spool.Recipient) {
	for len(due) > 0 && !a.broken && a.stop.Err() == nil {
		more := place(due[0])
		due = due[1:]
		a.placeAll(more, a.place)
	}
}

// place finds where one recipient goes; more are the recipients that it was
// expanded to.
func (a *attempt) place(rc spool.Recipient) (more []spool.Recipient) {
	key := []spool.Key{rc.Key}
	switch rc.Kind {
	case spool.Program:
		a.settle(key, deferral("4.3.5", "this server delivers to addresses and mailboxes only", nil))
		return nil
	case spool.Mailbox:
		a.toMailbox(rc, rc.Path.Local)
		return nil
	}
	if a.s.router.isStatic(rc.Path.Domain) {
		return a.placeLocal(rc)
	}
	domain := a.s.routeName(rc.Path.Domain)
	a.domains[domain] = append(a.domains[domain], rc)
	return nil
}

// placeLocal expands an alias or finds the mailbox. One's own name in one's
// own alias means the mailbox.
func (a *attempt) placeLocal(rc spool.Recipient) []spool.Recipient {
	name := rc.Path.Local
	if parent, ok := a.rcpts[rc.Parent]; ok && fold(parent.Path.Local) == fold(name) && parent.State == spool.Expanded {
		a.toMailbox(rc, name)
		return nil
	}
	targets, err := a.s.router.lookupAlias(a.work, name)
	switch {
	case errors.Is(err, alias.ErrNotFound):
		a.toMailbox(rc, name)
		return nil
	case err != nil:
		a.settle([]spool.Key{rc.Key}, deferral("4.3.0", "the aliases can't be read now", err))
		return nil
	}
	return a.expand(rc, targets)
}

// expand records what an alias stands for and returns the new recipients.
func (a *attempt) expand(rc spool.Recipient, targets []alias.Target) []spool.Recipient {
	if o := a.inexpansible(rc, targets); o != nil {
		a.settle([]spool.Key{rc.Key}, *o)
		return nil
	}
	x := spool.Expansion{}
	for _, t := range targets {
		kind := spool.Address
		if t.Kind == alias.Mailbox {
			kind = spool.Mailbox
		}
		x.Targets = append(x.Targets, spool.Target{Kind: kind, Path: t.Path})
	}
	err := a.m.Expand(rc.Key, x)
	switch {
	case errors.Is(err, spool.ErrLater):
		a.setBroken(err)
		return nil
	case err != nil:
		a.settle([]spool.Key{rc.Key}, deferral("4.3.0", "what the alias stands for can't be recorded now", err))
		return nil
	}
	var more []spool.Recipient
	for child := range a.m.Recipients() {
		if _, known := a.rcpts[child.Key]; !known && child.Parent == rc.Key && child.State == spool.Pending {
			more = append(more, child)
		}
		a.rcpts[child.Key] = child
	}
	return more
}

// toMailbox gives a recipient to the mailbox of an account. Two spellings of
// one mailbox are one delivery (B52).
func (a *attempt) toMailbox(rc spool.Recipient, name string) {
	key := []spool.Key{rc.Key}
	acct, err := a.s.router.account(a.work, name)
	switch {
	case errors.Is(err, local.ErrNoUser):
		a.settle(key, refusal("5.1.1", noUserWords(err)))
		return
	case err != nil:
		a.settle(key, deferral("4.3.0", "the user database can't be read now", err))
		return
	}
	if a.hasMailbox(acct.Name) {
		a.settle(key, Outcome{Action: Delivered, Relay: "local", Reply: smtp.Reply{Code: 250, Status: "2.0.0", Text: "this mailbox has it already"}})
		return
	}
	if a.header().deliveredTo[fold(a.deliveredTo(acct.Name).String())] {
		a.settle(key, refusal("5.4.6", "the message was delivered to this mailbox before: it goes round in a loop"))
		return
	}
	t := a.boxes[acct.Name]
	if t == nil || t.done {
		t = &target{name: acct.Name, reverse: rc.ReversePath}
		a.boxes[acct.Name] = t
	}
	t.keys = append(t.keys, rc.Key)
}

// hasMailbox says that the message is recorded as delivered to a mailbox.
func (a *attempt) hasMailbox(name string) bool {
	for _, rc := range a.rcpts {
		if rc.State == spool.Delivered && fold(rc.Path.Local) == fold(name) &&
			(rc.Kind == spool.Mailbox || a.s.router.isStatic(rc.Path.Domain)) {
			return true
		}
	}
	return false
}

// deliveredTo is the address that names a mailbox in Delivered-To.
func (a *attempt) deliveredTo(account string) smtp.Path {
	return smtp.Path{Local: account, Domain: a.s.Hostname}
}

// refusal is a permanent outcome of our own.
func refusal(status, text string) Outcome {
	return Outcome{Action: Bounced, Reply: smtp.Reply{Code: 550, Status: status, Text: text}}
}

// deferral is a temporary outcome of our own.
func deferral(status, text string, err error) Outcome {
	return Outcome{Action: Deferred, Reply: smtp.Reply{Code: 450, Status: status, Text: text}, Err: err}
}
