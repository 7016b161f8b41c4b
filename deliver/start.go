package deliver

import (
	"slices"
	"sync"
	"time"

	"postoffice/deliver/local"
	"postoffice/deliver/route"
	"postoffice/deliver/schedule"
)

const (
	boxesAtOnce  = 16               // mailboxes of one message written at one time
	routesAtOnce = 16               // domains of one message that are looked up at one time, for as many goroutines
	programWait  = 30 * time.Second // for a program, before it has none of the places of all programs
	routeWait    = 2 * time.Second  // recipients for one next hop wait this long for each other's DNS
)

// start begins what is known to be done: local work, look-ups of domains and,
// once those are answered or late, next hops.
func (a *attempt) start(late bool) {
	switch {
	case a.stop.Err() != nil:
		return
	case a.yields:
		a.turn.GiveUp()
		return
	}
	a.startLocal()
	a.startRoutes()
	if a.todo.planned() {
		return // some routes are known: they go first
	}
	if !a.todo.asking() || late {
		a.startHops()
	}
	if !a.todo.asking() {
		a.turn.GiveUp()
	}
}

// startLocal begins what was found for users' rights: mailboxes, programs and
// files, and lists to be read. What finds its user's gate full goes back to its
// list when that has room. Where the gate of all users is full nothing more of
// the list is tried before: a message may have as many mailboxes as a list has
// members, and another one all the places.
func (a *attempt) startLocal() {
	for {
		t, from := a.todo.next()
		if t == nil {
			return
		}
		gate := a.s.gateOf(t)
		switch ok, down := a.turn.Enter(gate); {
		case down != nil:
			a.end(reply{t, settled{outcome: *down, remembered: true}})
		case !ok && a.turn.AllFull(gate.Kind):
			from.targets, from.shut = append(from.targets, t), true
			a.todo.refuse(gate, func() { from.shut = false })
		case !ok:
			a.todo.refuse(gate, func() { from.targets = append(from.targets, t) })
		default:
			a.todo.begin(t)
			a.deliver(t, gate)
		}
	}
}

// gateOf is the gate that a local target has to pass.
func (s *settings) gateOf(t *localTarget) schedule.Gate {
	kind, key := schedule.List, t.name
	switch {
	case t.step.Kind == route.StepRun:
		kind = schedule.Program
	case t.step.Kind == route.StepMailbox:
		kind = s.mailboxKind(t)
	}
	if x := t.step.Item; (kind == schedule.Program || kind == schedule.List) && x.Source == local.FromAlias {
		key += " " + x.Name // others' programs and lists are run and read by the same user
	}
	return schedule.Gate{Kind: kind, Key: key}
}

// mailboxKind is the kind of the gate before a mailbox. What keeps one LMTP server's
// mailboxes shut is nothing to another's.
func (s *settings) mailboxKind(t *localTarget) schedule.Kind {
	switch s.router.Way(t.step.Account, t.folder) {
	case route.IntoStore:
		if isVirtual(t.name) {
			return schedule.Virtual
		}
		return schedule.Stored
	case route.ByProgram:
		return schedule.Mailer
	}
	return schedule.Mailbox
}

// deliver starts the goroutine of one local target; the attempt waits for it.
func (a *attempt) deliver(t *localTarget, gate schedule.Gate) {
	rc := a.rcpt(t.keys[0])
	d := delivery{
		message: a.message, t: t, work: a.work,
		node: a.tree.node(rc), to: a.original(rc), token: token(a.id, rc.Key), has: t.box != nil && t.box.has,
		screens: a.screens(slices.Values(t.keys[:1])),
	}
	leave := a.stay(gate)
	go func() {
		begun := time.Now()
		var x answer
		if a.stop.Err() == nil {
			x = d.do()
		}
		a.r.localDone(gate, t, x, time.Since(begun))
		leave()
		a.answers <- []reply{{t, x}}
	}()
}

// stay returns what gives back a place at a gate. A program or a command of option
// mailer that takes long keeps no place that others wait for, but that of its user or
// alias.
func (a *attempt) stay(gate schedule.Gate) (leave func()) {
	if gate.Kind != schedule.Program && gate.Kind != schedule.Mailer {
		return func() { a.turn.Leave(gate) }
	}
	var mu sync.Mutex
	var left, behind bool
	slow := time.AfterFunc(programWait, func() {
		mu.Lock()
		defer mu.Unlock()
		behind = !left && a.turn.LeaveBehind(gate)
	})
	return func() {
		slow.Stop()
		mu.Lock()
		defer mu.Unlock()
		if left = true; behind {
			a.turn.LeaveSlow(gate)
			return
		}
		a.turn.Leave(gate)
	}
}

// startRoutes asks where the domains go that are not known yet, a few at a time:
// one that waits is a name and no more. Where nobody may ask anything more now, no
// other one of them is tried before that changes.
func (a *attempt) startRoutes() {
	for _, x := range a.todo.unasked() {
		if rt := a.routeAtOnce(x.name); rt != nil {
			x.rt, x.failure = rt, rt.Failure
			a.todo.route(x)
			continue
		}
		a.todo.questions.list = append(a.todo.questions.list, x)
	}
	q := &a.todo.questions
	for len(q.list) > 0 && !q.shut && a.todo.routing < routesAtOnce {
		x := q.list[0]
		q.list = q.list[1:]
		a.ask(x)
	}
}

// ask has DNS asked about a domain, unless others do so already.
func (a *attempt) ask(x routed) {
	if rt := a.r.knownRoute(a.turn, x.name); rt != nil {
		x.rt, x.failure = rt, rt.Failure
		a.todo.route(x)
		return
	}
	q, gate := &a.todo.questions, domainGate(x.name)
	switch ok, down := a.turn.Enter(gate); {
	case down != nil:
		x.failure, x.remembered = down, true
		a.todo.route(x)
	case !ok && a.turn.AllFull(gate.Kind):
		q.list, q.shut = append(q.list, x), true
		a.todo.refuse(gate, func() { q.shut = false })
	case !ok:
		a.todo.refuse(gate, func() { q.list = append(q.list, x) })
	default:
		a.todo.asked()
		go func() { // goOn waits for it
			x.rt = a.r.findRoute(a.stop, a.s, a.turn, x.name) // nothing is lost with a question
			x.failure = x.rt.Failure
			a.routed <- x
		}()
	}
}

// routeAtOnce returns the route of a domain where that needs no question to
// DNS, else nil.
func (a *attempt) routeAtOnce(name string) *route.NextHop {
	if a.s.router.AsksNothing(name) {
		rt := a.s.router.NextHop(a.work, name)
		return &rt
	}
	return a.r.knownRoute(a.turn, name)
}

// startHops gives the pool what was placed.
func (a *attempt) startHops() {
	for _, hp := range a.todo.unsent() {
		gate := a.r.hostGate(hp.rt.Hop)
		switch ok, down := a.turn.Enter(gate); {
		case down != nil:
			for _, t := range hp.targets {
				a.end(reply{t, settled{outcome: *down, remembered: true}})
			}
		case !ok:
			a.todo.refuse(gate, func() { a.todo.putBack(hp) })
		default:
			j := a.job(hp, gate)
			a.todo.sent(j.Answers())
			a.r.pool.Add(j)
		}
	}
}

// waitToo makes the attempt wait for the gates that were full, beside its
// answers, and reports whether one has room already.
func (a *attempt) waitToo() (again bool) {
	gates := a.todo.gates()
	if len(gates) == 0 || !a.turn.Await(gates) {
		return false
	}
	a.todo.retry()
	return true
}
