package deliver

import (
	"context"
	"errors"
	"io"
	"time"

	"postoffice/deliver/local"
	"postoffice/deliver/outcome"
	"postoffice/deliver/route"
	"postoffice/deliver/schedule"
	"postoffice/internal/smtp"
	"postoffice/spool/envelope"
)

// boxSlow is how long a mailbox may take that then fails before it is down.
const boxSlow = 5 * time.Second

// A delivery is the work for one local target, in a goroutine of its own.
type delivery struct {
	*message
	t     *localTarget
	work  context.Context
	node  *route.Node // of the first recipient
	to    smtp.Path   // the address of the envelope that led there
	token string
	has   bool // the mailbox has the message already

	screens []route.Screen // before the first recipient
}

// do delivers, runs or reads.
func (d *delivery) do() answer {
	t := d.t
	switch {
	case t.step.Kind == route.StepRead:
		return d.ask(t.step)
	case t.step.Kind == route.StepRun:
		return d.runItem()
	case d.has && t.final:
		return settled{outcome: already("mailbox")}
	case d.has:
		return d.askForwards()
	}
	x := d.deliverBox()
	if _, ok := x.(forwarded); !ok {
		return x
	}
	x = d.ask(t.step.ReadForward())
	d.s.Local.Recorded(d.token) // it was no delivery
	return x
}

// ask has a list read.
func (d *delivery) ask(s route.Step) answer {
	s, lines, err := d.s.router.Lines(d.work, s)
	switch {
	case d.work.Err() != nil:
		return nil
	case err != nil && s.Via.Source == envelope.FromList && errors.Is(err, local.ErrChanged) && !d.t.again:
		return changed{}
	case err != nil:
		return settled{outcome: route.Unread(s.Via, err)}
	}
	return read{step: s, lines: lines}
}

// askForwards looks for a .forward where the mailbox has the message already,
// by another spelling of its name that had none.
func (d *delivery) askForwards() answer {
	has, err := d.s.Local.Forwards(d.work, d.t.name, d.t.extension)
	switch {
	case d.work.Err() != nil:
		return nil
	case err != nil:
		return settled{outcome: route.Unread(d.t.step.ReadForward().Via, err)}
	case has:
		return d.ask(d.t.step.ReadForward())
	}
	return settled{outcome: already("mailbox")}
}

// runItem has a program run, or a file appended to.
func (d *delivery) runItem() answer {
	t, as := d.t, d.node.Agent.Name
	if d.node.Agent.Source == envelope.FromAlias && t.extension != "" { // list managers read their command from it
		as += d.s.Delimiter + t.extension
	}
	body, done := d.finished(local.FormatOptions{
		Form:        local.FormProgram,
		ReversePath: t.reverse,
		DeliveredTo: d.deliveredTo(as),
	})
	res := d.s.Local.Run(d.work, d.token, local.Job{
		User: t.name, Item: t.step.Item, Body: body,
		Envelope: local.Envelope{Sender: t.reverse, Recipient: d.to, Extension: t.extension, QueueID: string(d.id)},
	})
	done()
	if res.Answer == local.Changed && d.work.Err() == nil {
		d.s.Local.Recorded(d.token) // it was no delivery
		return changed{}
	}
	return d.answer(hereOutcome(res), d.token)
}

// answer is an outcome as an answer: a deferral when all is to be broken off
// says nothing.
func (d *delivery) answer(o outcome.Outcome, token string) answer {
	if o.Action == outcome.Deferred && d.work.Err() != nil {
		return nil
	}
	return settled{outcome: o, token: token}
}

// finished formats the message for its reader, who calls done at last.
func (m *message) finished(o local.FormatOptions) (body io.Reader, done func()) {
	o.Time, o.Escape = m.s.Now(), m.s.Escape
	pr, pw := io.Pipe()
	formatted := make(chan struct{})
	go func() {
		defer close(formatted)
		pw.CloseWithError(local.Format(pw, o, m.m.Data()))
	}()
	return pr, func() {
		pr.CloseWithError(io.ErrClosedPipe)
		<-formatted
	}
}

// localDone draws the lesson for the gate. A mailbox or a list that took long and
// failed is left alone for a while: what else waits for it need not wait for
// the same lock. A program that fails says nothing about the next one.
func (r *Runner) localDone(gate schedule.Gate, t *localTarget, x answer, took time.Duration) {
	o, isSettled := x.(settled)
	_, isRead := x.(read)
	good := isRead || isSettled && o.outcome.Action == outcome.Delivered
	switch {
	case x == nil || t.step.Kind == route.StepRun:
	case good && took < boxSlow:
		r.sched.Grow(gate)
	case took >= boxSlow:
		r.sched.Narrow(gate)
		if isSettled && o.outcome.Action == outcome.Deferred {
			r.sched.Down(gate, o.outcome)
		}
	}
}
