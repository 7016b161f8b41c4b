package deliver

import (
	"errors"
	"io"
	"time"

	"postoffice/deliver/local"
	"postoffice/internal/smtp"
	"postoffice/spool"
)

const (
	boxesAtOnce = 16  // mailboxes of one message written at one time
	maxLocal    = 512 // mailboxes written at one time, in all
	runsAtOnce  = 32  // programs and files in work at one time, in all
	runsOfUser  = 4   // the same of one user
	listsOfUser = 4   // lists read at one time by one user
)

// startErrands begins what was found for users' rights since it was called
// last: mailboxes, programs and files, and lists to be read.
func (a *attempt) startErrands() {
	for len(a.letters) > 0 && a.boxesOpen < boxesAtOnce && !a.broken && a.stop.Err() == nil {
		var t *target
		t, a.letters = shift(a.letters)
		a.startErrand(t, &a.letters)
	}
	for len(a.errands) > 0 && !a.broken && a.stop.Err() == nil {
		var t *target
		t, a.errands = shift(a.errands)
		a.startErrand(t, &a.errands)
	}
}

// startErrand begins one errand if its user's gates have room; else it goes
// back to its list when they have.
func (a *attempt) startErrand(t *target, list *[]*target) {
	a.r.mu.Lock()
	gates := a.r.dests.gatesOf(t, a.s.boxWay(t))
	full, down := a.r.enterAll(a.it, gates)
	a.r.mu.Unlock()
	switch {
	case down != nil:
		a.record([]answer{{t: t, outcome: *down, remembered: true}})
	case full != nil:
		a.busy = append(a.busy, refused{full, func() { *list = append(*list, t) }})
	default:
		a.open++
		t.begun = true
		if t.box != nil {
			a.boxesOpen++
		}
		a.send(t, gates)
	}
}

// gatesOf are the gates that an errand has to pass, one to a mailbox going that
// way.
func (d *destinations) gatesOf(t *target, way boxWay) []*gate {
	switch t.step.Kind {
	case StepMailbox:
		if way == intoStore {
			return []*gate{d.box(t.name), &d.store}
		}
		return []*gate{d.box(t.name)}
	case StepRun:
		return []*gate{&d.runs, d.lane("run "+t.name, runsOfUser)}
	}
	return []*gate{d.lane("list "+t.name, listsOfUser)}
}

// lane is a gate of a user's besides his mailbox.
func (d *destinations) lane(name string, places int) *gate {
	g := d.box("\x00" + name)
	g.places, g.max = min(g.places, places), places
	return g
}

// enterAll takes a place in each gate or in none: full or down says which had
// none, or is known to be down. The caller holds mu.
func (r *Runner) enterAll(it *item, gates []*gate) (full *gate, down *Outcome) {
	for i, g := range gates {
		ok, down := g.enter(it)
		if ok {
			continue
		}
		for _, passed := range gates[:i] {
			r.leave(passed)
		}
		return g, down
	}
	return nil, nil
}

// send starts the goroutine of one errand; collect waits for it.
func (a *attempt) send(t *target, gates []*gate) {
	rc := a.rcpt(t.keys[0])
	l, to := a.lead(rc), a.original(rc)
	token := token(a.id, rc.Key)
	inIt := t.box != nil && t.box.has
	go func() {
		begun := time.Now()
		x := answer{skipped: true}
		switch {
		case a.dead.Load() || a.stop.Err() != nil:
		case t.step.Kind == StepAsk:
			x = a.ask(t.step)
		case t.step.Kind == StepRun:
			x = a.runItem(t, l, to, token)
		case inIt && t.final:
			x = answer{outcome: already("mailbox")}
		case inIt:
			x = a.askForwards(t)
		default:
			a.r.locals <- struct{}{}
			x = a.deliverBox(t, to, token)
			<-a.r.locals
			if x.forwarded {
				x = a.ask(t.step.AskForward())
				x.token = token
			}
		}
		x.t, x.took = t, time.Since(begun)
		x.changed = x.changed && !t.again
		a.errandDone(gates, &x)
		a.answers <- []answer{x}
	}()
}

// ask has a list read.
func (a *attempt) ask(s Step) answer {
	lines, err := a.s.router.list(a.work, s)
	switch {
	case a.work.Err() != nil:
		return answer{skipped: true}
	case err != nil:
		gone := s.Via.Source == spool.FromList && errors.Is(err, local.ErrChanged)
		return answer{outcome: cantAsk(s.Via, err), changed: gone}
	}
	return answer{asked: &s, lines: lines}
}

// askForwards looks for a .forward where the mailbox has the message already,
// by another spelling of its name that had none.
func (a *attempt) askForwards(t *target) answer {
	has, err := a.s.Local.Forwards(a.work, t.name, t.extension)
	switch {
	case a.work.Err() != nil:
		return answer{skipped: true}
	case err != nil:
		return answer{outcome: cantAsk(t.step.AskForward().Via, err)}
	case has:
		return a.ask(t.step.AskForward())
	}
	return answer{outcome: already("mailbox")}
}

// runItem has a program run, or a file appended to.
func (a *attempt) runItem(t *target, l *Lead, to smtp.Path, token string) answer {
	as := l.Agent.Name
	if l.Agent.Source == spool.FromAlias && t.extension != "" { // list managers read their command from it
		as += a.s.Delimiter + t.extension
	}
	body, done := a.finished(local.FormatOptions{
		Form:        local.FormProgram,
		ReversePath: t.reverse,
		DeliveredTo: a.deliveredTo(as),
	})
	res := a.s.Local.Run(a.work, token, local.Job{
		User: t.name, Item: t.step.Item, Body: body,
		Envelope: local.Envelope{Sender: t.reverse, Recipient: to, Extension: t.extension, QueueID: string(a.id)},
	})
	done()
	x := answer{outcome: localOutcome(res, t.name), token: token, changed: res.Status == local.Changed}
	x.skipped = x.outcome.Action == Deferred && a.work.Err() != nil
	return x
}

// finished formats the message for its reader, who calls done at last.
func (a *attempt) finished(o local.FormatOptions) (body io.Reader, done func()) {
	o.Time, o.EscapeFrom = a.s.Now(), a.s.EscapeFrom
	pr, pw := io.Pipe()
	formatted := make(chan struct{})
	go func() {
		defer close(formatted)
		pw.CloseWithError(local.Format(pw, o, a.m.Data()))
	}()
	return pr, func() {
		pr.CloseWithError(io.ErrClosedPipe)
		<-formatted
	}
}

// errandDone gives the places back. A mailbox or a list that took long and
// failed is left alone for a while: what else waits for it need not wait for
// the same lock. A program that fails says nothing about the next one.
func (a *attempt) errandDone(gates []*gate, x *answer) {
	a.r.mu.Lock()
	defer a.r.mu.Unlock()
	g, good := gates[0], x.asked != nil || x.outcome.Action == Delivered
	switch {
	case x.skipped || x.t.step.Kind == StepRun:
	case good && x.took < boxSlow:
		g.grow()
	case x.took >= boxSlow:
		g.places = 1
		if !good && x.outcome.Action == Deferred {
			a.r.markDown(g, boxDown, x.outcome)
		}
	}
	for _, g := range gates {
		a.r.leave(g)
	}
}

// over ends an errand or a target elsewhere: its answer is there.
func (a *attempt) over(x *answer) {
	t := x.t
	x.keys, t.done, t.ended = t.keys, true, x.outcome.Action
	if t.errand == nil || t.box == nil {
		return
	}
	b := t.box
	if t.begun {
		a.boxesOpen--
	}
	b.has = b.has || x.asked == nil && !x.skipped && x.outcome.Action == Delivered
	b.targets, b.busy = b.targets[1:], false
	a.serveBox(b)
}

// proceed does what the list that was read says, for all that it was read for:
// they came by ways of different lengths. Of an item that stands in the message
// twice the second leads where the first does.
func (a *attempt) proceed(x *answer) {
	if x.t.again {
		a.resume(x)
		return
	}
	for _, k := range x.keys {
		rc := a.rcpt(k)
		if rc.Agent != nil && x.t.ended == Delivered {
			a.settle([]spool.Key{k}, already("item"))
			continue
		}
		a.take(rc, a.s.router.listed(a.lead(rc), *x.asked, x.lines))
		if a.rcpt(k).State == spool.Expanded {
			x.t.ended = Delivered
		}
	}
}
