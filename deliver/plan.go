package deliver

import (
	"errors"
	"fmt"
	"strings"

	"postoffice/deliver/local"
	"postoffice/deliver/outcome"
	"postoffice/deliver/remote"
	"postoffice/deliver/route"
	"postoffice/internal/smtp"
	"postoffice/spool/envelope"
)

// plan finds what follows: where recipients go, what lists and routes lead to,
// and what stands in the place of what has vanished. What goes nowhere, or
// stands for others, is left to record. It never waits for DNS or for a user's
// process.
func (a *attempt) plan() {
	for a.todo.planned() {
		w := a.todo.unplanned()
		if a.stop.Err() != nil {
			return
		}
		for _, k := range w.place {
			a.place(k)
		}
		for _, x := range w.read {
			a.listed(x)
		}
		for _, x := range w.routes {
			a.routeFound(x)
		}
		a.lookAgain(w.again, w.missed)
	}
}

// place finds where one recipient goes.
func (a *attempt) place(k envelope.Key) {
	rc := a.rcpt(k)
	a.follow(rc, a.s.router.Resolve(a.work, a.tree.node(rc)))
}

// placeHere is place for a recipient whose domain DNS found to be local.
func (a *attempt) placeHere(k envelope.Key) {
	rc := a.rcpt(k)
	a.follow(rc, a.s.router.ResolveHere(a.work, a.tree.node(rc)))
}

// follow does what a step says.
func (a *attempt) follow(rc envelope.Recipient, s route.Step) {
	switch s.Kind {
	case route.StepExpand:
		a.tellCircle(s)
		a.expand(expanded{rc: rc, what: s.Expansion()})
	case route.StepMailbox:
		a.toMailbox(rc, s)
	case route.StepRun, route.StepRead:
		a.toItem(rc, s)
	case route.StepRemote:
		a.todo.ask(a.s.router.HopName(rc.ReversePath, rc.Path.Domain), rc.Key)
	case route.StepChanged:
		a.todo.missed(rc.Key)
	default:
		a.settle(rc, s.Outcome)
	}
}

// toMailbox gives a recipient to the mailbox of an account.
func (a *attempt) toMailbox(rc envelope.Recipient, s route.Step) {
	name := s.Account.Name
	if a.header().deliveredTo[smtp.Fold(a.deliveredTo(name).String())] {
		a.settle(rc, outcome.Refusal(loopStatus, "the message was delivered to this mailbox before: it goes round in a loop", errHeader))
		return
	}
	b := a.todo.box(name, func() bool { return a.tree.reachedMailbox(a.work, name) })
	if s.Final && b.has {
		a.settle(rc, already("mailbox"))
		return
	}
	a.todo.letter(b, rc, s)
}

// toItem has a program run, a file written or a list read, once for a message
// however many aliases lead to it, and a personal alias file for each name.
func (a *attempt) toItem(rc envelope.Recipient, s route.Step) {
	if rc.Agent == nil {
		a.todo.errand(newLocal(rc, s, s.User))
		return
	}
	if has := a.todo.item(rc, s, func() bool { return a.tree.reachedItem(rc.Agent) }); has {
		a.settle(rc, already("item"))
	}
}

// toHost gives a recipient to a next hop, in the way that the message needs. A .forward
// that led there too may have been read late.
func (a *attempt) toHost(rc envelope.Recipient, rt *route.NextHop) {
	if s := remote.Needs(a.env.Params, rc.ReversePath); s != remote.Opportunistic {
		rt = &route.NextHop{Hop: rt.Secured(s)}
	}
	if has := a.todo.remote(rc, rt, a.front(rc)); has {
		a.settle(rc, already("address"))
	}
}

// front is what goes in front of the message to a recipient elsewhere: whose
// .forward sent it there. When it comes back for one of them it ends here.
func (a *attempt) front(rc envelope.Recipient) string {
	if rc.Parent == envelope.NoKey {
		return ""
	}
	var fields strings.Builder
	for _, user := range a.tree.node(rc).Forwarders() {
		fields.WriteString(local.DeliveredTo(a.deliveredTo(user)))
	}
	return fields.String()
}

// listed follows a list that was read, for all that it was read for: they came
// by ways of different lengths. An item is expanded once, and leads its other
// recipients where it leads the first.
func (a *attempt) listed(x read) {
	t := x.t
	if t.again {
		a.listedAgain(x)
		return
	}
	for i, k := range t.keys {
		rc := a.rcpt(k)
		s := a.s.router.Listed(a.tree.node(rc), x.step, x.lines)
		if s.Kind == route.StepExpand && rc.Agent != nil {
			a.expand(expanded{rc: rc, what: s.Expansion(), list: t, rest: i})
			return
		}
		a.follow(rc, s)
	}
	t.over(outcome.Deferred)
}

// routeFound does what the route of a domain says.
func (a *attempt) routeFound(x routed) {
	switch {
	case x.failure != nil:
		a.tally.add(settled{keys: x.keys, outcome: *x.failure, remembered: x.remembered})
	case x.rt.Local:
		for _, k := range x.keys {
			a.placeHere(k)
		}
	default:
		for _, k := range x.keys {
			a.toHost(a.rcpt(k), x.rt)
		}
	}
}

// already is the outcome for another way to what has the message.
func already(what string) outcome.Outcome {
	return outcome.Outcome{Action: outcome.Delivered, Relay: "local", Reply: smtp.Reply{Code: 250, Status: "2.0.0", Text: "this " + what + " has it already"}}
}

// loopStatus is the status of a message that goes round in a loop (RFC 3463).
const loopStatus = "5.4.6"

// errHeader is why: the message's own header says where it was.
var errHeader = errors.New("its header says so")

// wentRound is the outcome of a message with too many Received fields.
func wentRound(most int) outcome.Outcome {
	return outcome.Refusal(loopStatus, fmt.Sprintf("more than %d Received lines: the message goes round in a loop", most), errHeader)
}
