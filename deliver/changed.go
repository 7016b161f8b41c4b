package deliver

import (
	"postoffice/deliver/outcome"
	"postoffice/deliver/route"
	"postoffice/spool/envelope"
)

// lookAgain finds out what stands now where recipients were found: items that
// aren't there any more, and, where everything is to go where the files say now,
// whoever else.
func (a *attempt) lookAgain(again, missed []envelope.Key) {
	var some []envelope.Key
	for _, k := range again {
		if a.rcpt(k).Via != (envelope.Via{}) {
			some = append(some, k)
			continue
		}
		a.todo.place(k) // of the envelope
	}
	for _, k := range missed {
		if a.tree.look(k) {
			some = append(some, k)
			continue
		}
		a.stillMissed(a.rcpt(k))
	}
	for _, keys := range a.tree.wholes(some) {
		a.lookAgainFor(keys)
	}
}

// stillMissed waits for the next attempt: file and process contradict each
// other, or the file is edited just now.
func (a *attempt) stillMissed(rc envelope.Recipient) { a.settle(rc, route.Changed(rc.Agent)) }

// lookAgainFor is lookAgain for recipients of one expansion.
func (a *attempt) lookAgainFor(keys []envelope.Key) {
	rc := a.rcpt(keys[0])
	switch s := a.s.router.Again(a.work, a.tree.node(rc)); s.Kind {
	case route.StepRead:
		t := newLocal(rc, s, s.User)
		t.keys, t.again = keys, true
		a.todo.errand(t)
	case route.StepExpand:
		a.tellCircle(s)
		a.replace(keys, s)
	case route.StepChanged: // a list that its alias doesn't name any more keeps its members
		a.todo.place(keys...)
	default:
		a.tally.settle(keys, s.Outcome)
	}
}

// listedAgain goes on when the list that lookAgain wanted has been read.
func (a *attempt) listedAgain(x read) {
	keys := x.t.over(outcome.Deferred)
	s := a.s.router.ListedAgain(a.tree.node(a.rcpt(keys[0])), x.step, x.lines)
	if s.Kind != route.StepExpand {
		a.tally.settle(keys, s.Outcome)
		return
	}
	a.replace(keys, s)
}

// replace puts what s says in the place of those recipients of one expansion
// that it doesn't have any more (see route.Replace).
func (a *attempt) replace(keys []envelope.Key, s route.Step) {
	var pending []envelope.Recipient
	for _, k := range keys {
		pending = append(pending, a.rcpt(k))
	}
	kept, gone, added := route.Replace(pending, a.tree.members(keys[0]), s.Expansion().Targets)
	for _, rc := range kept {
		if a.tree.looked[rc.Key] { // the process says that it isn't there
			a.stillMissed(rc)
			continue
		}
		a.todo.place(rc.Key)
	}
	if len(gone) > 0 && len(added) > 0 {
		if rc := gone[0]; rc.Via.Source != envelope.FromList && a.tree.node(rc).Added+len(added) > route.MaxExpanded {
			a.tally.settle(keysOf(gone), route.TooMany(rc.Via))
			return
		}
		a.expand(expanded{rc: gone[0], what: envelope.Expansion{Via: gone[0].Via, Owner: s.Owner, Targets: added}, instead: true})
		gone = gone[1:]
	}
	a.tally.cancel(keysOf(gone))
}

func keysOf(list []envelope.Recipient) []envelope.Key {
	keys := make([]envelope.Key, len(list))
	for i, rc := range list {
		keys[i] = rc.Key
	}
	return keys
}
