package deliver

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"postoffice/deliver/outcome"
	"postoffice/deliver/schedule"
	"postoffice/internal/maillog"
	"postoffice/internal/smtp"
	"postoffice/spool"
	"postoffice/spool/envelope"
)

// record writes down what a round has brought, one sync for each state, and the
// expansions behind it, whose recipients are to be placed then. It plans
// nothing. After the first failure nothing more is recorded.
func (a *attempt) record() {
	settled, expanded, cancelled := a.tally.unrecorded()
	if !a.recordStates(settled, cancelled) {
		return
	}
	for _, x := range expanded {
		if refused := a.recordExpansion(x); refused != nil {
			settled = append(settled, *refused)
		}
		if a.tally.broken {
			return
		}
	}
	a.conclusions(settled)
}

// recordStates records who is delivered and who is cancelled.
func (a *attempt) recordStates(settled []settled, cancelled []envelope.Key) bool {
	var done []envelope.Key
	for _, x := range settled {
		if x.outcome.Action == outcome.Delivered {
			done = append(done, x.keys...)
		}
	}
	if !a.tally.setState(a.message, done, envelope.Delivered) || !a.tally.setState(a.message, cancelled, envelope.Cancelled) {
		return false
	}
	for _, k := range cancelled {
		rc := a.rcpt(k)
		a.log(slog.LevelInfo, "recipient cancelled", maillog.To(addressee(rc)), maillog.OrigTo(a.original(rc)), maillog.Delay(a.delay()),
			maillog.Reason(string(rc.Via.Source)+" "+smtp.Printable(rc.Via.Name, 100)+" doesn't have it any more, and nothing in its place"))
	}
	return true
}

// recordExpansion records what a recipient stands for. Where that isn't
// possible the answer is for all that it was to stand for.
func (a *attempt) recordExpansion(x expanded) (refused *settled) {
	keys := []envelope.Key{x.rc.Key}
	if x.list != nil {
		keys = x.list.keys[x.rest:]
	}
	err := a.m.Expand(x.rc.Key, x.what)
	switch {
	case err == nil:
		block, n := a.m.LastBlock()
		a.todo.place(a.tree.append(x.rc, block, n, x.instead)...)
		if x.list != nil {
			x.list.over(outcome.Delivered)
			a.todo.place(keys[1:]...) // they find the list expanded
		}
		return nil
	case errors.Is(err, spool.ErrLater):
		a.tally.setBroken(a.message, err)
		return nil
	}
	if x.list != nil {
		x.list.over(outcome.Deferred)
	}
	o := outcome.Deferral("4.3.0", "what it stands for can't be recorded now", err)
	if errors.Is(err, envelope.ErrInvalid) {
		o = outcome.Deferral("4.5.3", fmt.Sprintf("it stands for something that is no address, or the message would get more than %d recipients: take some out", envelope.MaxRecipients), err)
	}
	return &settled{keys: keys, outcome: o}
}

// conclusions counts, logs and notes what has settled.
func (a *attempt) conclusions(all []settled) {
	next := a.s.Now().Add(schedule.RetryDelay(a.timely))
	for _, x := range all {
		switch x.outcome.Action {
		case outcome.Delivered:
			a.logRecipients(x.keys, x.outcome, "message delivered", maillog.Sent, time.Time{})
		case outcome.Bounced:
			a.tally.fail(x)
		default:
			a.tally.postpone(a.message, x, next)
		}
		if x.token != "" {
			a.s.Local.Recorded(x.token)
		}
	}
	a.note(all, next)
}
