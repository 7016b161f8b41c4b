package deliver

import (
	"io"
	"time"

	"postoffice/deliver/local"
	"postoffice/internal/smtp"
)

const (
	boxesAtOnce = 16  // mailboxes of one message written at one time
	maxLocal    = 512 // local deliveries at one time, in all
)

// startBoxes delivers to the mailboxes found since it was called last.
func (a *attempt) startBoxes() {
	for _, name := range sorted(a.boxes) {
		t := a.boxes[name]
		if t.begun {
			continue
		}
		if a.broken || a.stop.Err() != nil {
			return
		}
		t.begun = true
		a.r.mu.Lock()
		g := a.r.dests.box(name)
		ok, down := g.enter(a.it)
		a.r.mu.Unlock()
		switch {
		case down != nil:
			a.record([]answer{{t: t, outcome: *down, remembered: true}})
		case !ok:
			a.busy = append(a.busy, refused{g, func() { t.begun = false }})
		default:
			a.openBox(g, t)
		}
	}
}

// openBox starts the goroutine that delivers to one mailbox; collect waits
// for it.
func (a *attempt) openBox(g *gate, t *target) {
	if a.boxSlots == nil {
		a.boxSlots = make(chan struct{}, boxesAtOnce)
	}
	name, token := t.name, token(a.id, t.keys[0])
	from := t.reverse
	a.open++
	go func() {
		a.boxSlots <- struct{}{}
		a.r.locals <- struct{}{}
		x := a.deliverLocal(name, token, from)
		<-a.r.locals
		<-a.boxSlots
		x.t = t
		a.boxDone(g, &x)
		a.answers <- []answer{x}
	}()
}

// deliverLocal writes the message into one mailbox.
func (a *attempt) deliverLocal(name, token string, from smtp.Path) answer {
	if a.dead.Load() || a.stop.Err() != nil {
		return answer{skipped: true}
	}
	pr, pw := io.Pipe()
	formatted := make(chan struct{})
	go func() {
		defer close(formatted)
		err := local.Format(pw, local.FormatOptions{
			ReversePath: from,
			DeliveredTo: a.deliveredTo(name),
			Time:        a.s.Now(),
			EscapeFrom:  a.s.EscapeFrom,
		}, a.m.Data())
		pw.CloseWithError(err)
	}()
	begun := time.Now()
	res := a.s.Local.Deliver(a.work, token, local.Delivery{User: name, Body: pr, Size: -1})
	pr.CloseWithError(io.ErrClosedPipe)
	<-formatted
	x := answer{outcome: localOutcome(res, name), token: token, took: time.Since(begun)}
	if x.outcome.Action == Deferred && a.work.Err() != nil {
		x.skipped = true
	}
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

// boxDone gives the mailbox's place back. One that took long and failed is
// left alone for a while: its other messages need not wait for the same lock.
func (a *attempt) boxDone(g *gate, x *answer) {
	a.r.mu.Lock()
	defer a.r.mu.Unlock()
	switch {
	case x.skipped:
	case x.outcome.Action == Delivered && x.took < boxSlow:
		g.grow()
	case x.took >= boxSlow:
		g.places = 1
		if x.outcome.Action == Deferred {
			a.r.markDown(g, boxDown, x.outcome)
		}
	}
	a.r.leave(g)
}
