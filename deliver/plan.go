package deliver

import (
	"errors"
	"fmt"
	"slices"

	"postoffice/internal/smtp"
	"postoffice/spool"
)

// plan finds where each due recipient goes: it expands, in the spool, until
// mailboxes, items and domains elsewhere are left. What goes nowhere is
// answered for at once. It never waits for DNS or for a user's process.
func (a *attempt) plan(due []spool.Key) {
	if a.header().received > a.s.Hops {
		a.settle(due, refusal("5.4.6", fmt.Sprintf("more than %d Received lines: the message goes round in a loop", a.s.Hops)))
		return
	}
	a.count()
	if a.reroute {
		a.replan(due)
		return
	}
	for _, k := range due {
		a.place(k)
	}
}

// count finds out how much the recipients of the envelope and the members of
// lists have been expanded to already.
func (a *attempt) count() {
	for rc := range a.m.Recipients() {
		if rc.Key.Block > 0 && rc.Via.Source != spool.FromList {
			a.added[a.lead(rc).root]++
		}
	}
}

// place finds where one recipient goes, and what it is expanded to.
func (a *attempt) place(k spool.Key) {
	if a.broken || a.stop.Err() != nil {
		return
	}
	rc := a.rcpt(k)
	a.take(rc, a.s.router.Resolve(a.work, a.lead(rc)))
}

// placeHere is place for a recipient whose domain DNS found to be local.
func (a *attempt) placeHere(k spool.Key) {
	if a.broken || a.stop.Err() != nil {
		return
	}
	rc := a.rcpt(k)
	a.take(rc, a.s.router.ResolveHere(a.work, a.lead(rc)))
}

// take does what a step says.
func (a *attempt) take(rc spool.Recipient, s Step) {
	switch s.Kind {
	case StepExpand:
		a.expand(rc, s)
	case StepMailbox:
		a.toMailbox(rc, s)
	case StepRun, StepAsk:
		a.toItem(rc, s)
	case StepRemote:
		domain := a.s.routeName(rc.Path.Domain)
		a.domains[domain] = append(a.domains[domain], rc.Key)
	case StepChanged:
		a.renew([]spool.Key{rc.Key})
	default:
		a.settle([]spool.Key{rc.Key}, s.Outcome)
	}
}

// rcpt is the recipient at k.
func (a *attempt) rcpt(k spool.Key) spool.Recipient {
	rc, _ := a.m.Recipient(k)
	return rc
}

// lead is a recipient with what led to it. What stands in the place of another
// (replace) has what led to that one.
func (a *attempt) lead(rc spool.Recipient) *Lead {
	l := &Lead{Kind: rc.Kind, Path: rc.Path, Agent: rc.Agent, Via: rc.Via, ReversePath: rc.ReversePath, root: rc.Key}
	if rc.Parent != spool.NoKey {
		from := a.leads[rc.Parent]
		if from == nil {
			from = a.lead(a.rcpt(rc.Parent))
			a.leads[rc.Parent] = from
		}
		if from.Via == rc.Via && rc.Via != (spool.Via{}) {
			from = from.From
		}
		l.From = from
		if rc.Via.Source != spool.FromList {
			l.root = from.root
		}
	}
	l.Added = a.added[l.root]
	return l
}

// expand records what a recipient stands for and places that.
func (a *attempt) expand(rc spool.Recipient, s Step) {
	a.extend(rc, s.expansion(), false)
}

// extend records an expansion and places what is in it; instead: it stands in
// the place of rc.
func (a *attempt) extend(rc spool.Recipient, x spool.Expansion, instead bool) {
	err := a.m.Expand(rc.Key, x)
	switch {
	case errors.Is(err, spool.ErrLater):
		a.setBroken(err)
		return
	case errors.Is(err, spool.ErrInvalid):
		a.settle([]spool.Key{rc.Key}, deferral("4.5.3", fmt.Sprintf("it stands for something that is no address, or the message would get more than %d recipients: take some out", spool.MaxRecipients), err))
		return
	case err != nil:
		a.settle([]spool.Key{rc.Key}, deferral("4.3.0", "what it stands for can't be recorded now", err))
		return
	}
	block, n := a.m.LastBlock()
	if instead {
		a.renewed[block] = true
	}
	if x.Via.Source != spool.FromList {
		a.added[a.lead(rc).root] += n
	}
	for i := range n {
		if a.children != nil {
			a.children[rc.Key] = append(a.children[rc.Key], spool.Key{Block: block, Index: i})
		}
	}
	for i := range n {
		a.place(spool.Key{Block: block, Index: i})
	}
}

// A box is the mailbox of an account, as one message sees it. One of its
// targets is worked on at a time: what the first one leads to decides whether
// the next is another copy.
type box struct {
	has     bool      // the message is in it
	busy    bool      // the first of targets is on its way
	targets []*target // not answered for
}

// toMailbox gives a recipient to the mailbox of an account. Two spellings of
// one mailbox are one delivery (B52); \user and another detail are others only
// as far as a .forward makes them.
func (a *attempt) toMailbox(rc spool.Recipient, s Step) {
	name := s.Account.Name
	if a.header().deliveredTo[fold(a.deliveredTo(name).String())] {
		a.settle([]spool.Key{rc.Key}, refusal("5.4.6", "the message was delivered to this mailbox before: it goes round in a loop"))
		return
	}
	b := a.boxes[name]
	if b == nil {
		b = &box{has: a.hadMailbox(name)}
		a.boxes[name] = b
	}
	if s.Final && b.has {
		a.settle([]spool.Key{rc.Key}, already("mailbox"))
		return
	}
	i := slices.IndexFunc(b.targets, func(t *target) bool { return t.final == s.Final && t.extension == s.Extension })
	if i >= 0 {
		b.targets[i].keys = append(b.targets[i].keys, rc.Key)
		return
	}
	b.targets = append(b.targets, &target{keys: []spool.Key{rc.Key}, errand: &errand{
		name: name, reverse: rc.ReversePath, extension: s.Extension, final: s.Final, step: s, box: b,
	}})
	a.serveBox(b)
}

// serveBox makes the next target of a mailbox an errand.
func (a *attempt) serveBox(b *box) {
	if !b.busy && len(b.targets) > 0 {
		b.busy = true
		a.letters = append(a.letters, b.targets[0])
	}
}

// toItem has a program run, a file written or a list read, once for a message
// however many aliases lead to it, and a personal alias file for each name.
func (a *attempt) toItem(rc spool.Recipient, s Step) {
	var t *target
	if rc.Agent != nil {
		t = a.items[*rc.Agent]
	}
	switch {
	case t == nil && a.hadItem(rc.Agent), t != nil && t.ended == Delivered:
		a.settle([]spool.Key{rc.Key}, already("item"))
	case t == nil || t.done:
		t = &target{keys: []spool.Key{rc.Key}, errand: &errand{
			name: s.User, reverse: rc.ReversePath, extension: s.Extension, step: s,
		}}
		if rc.Agent != nil {
			a.items[*rc.Agent] = t
		}
		a.errands = append(a.errands, t)
	default:
		t.keys = append(t.keys, rc.Key)
	}
}

// already is the outcome for another way to what has the message.
func already(what string) Outcome {
	return Outcome{Action: Delivered, Relay: "local", Reply: smtp.Reply{Code: 250, Status: "2.0.0", Text: "this " + what + " has it already"}}
}

// refusal is a permanent outcome of our own.
func refusal(status, text string) Outcome {
	return Outcome{Action: Bounced, Reply: smtp.Reply{Code: 550, Status: status, Text: text}}
}

// deferral is a temporary outcome of our own.
func deferral(status, text string, err error) Outcome {
	return Outcome{Action: Deferred, Reply: smtp.Reply{Code: 450, Status: status, Text: text}, Err: err}
}
