package deliver

import (
	"context"

	"postoffice/deliver/outcome"
	"postoffice/deliver/route"
	"postoffice/deliver/schedule"
	"postoffice/spool/envelope"
)

// routed is the answer for the recipients of one domain.
type routed struct {
	name       string
	keys       []envelope.Key
	rt         *route.NextHop
	failure    *outcome.Outcome
	remembered bool
}

// knownRoute returns what was found lately. Nobody needs a place at the gate
// for that.
func (r *Runner) knownRoute(turn *schedule.Work, name string) *route.NextHop {
	rt := r.answers.known(name)
	if rt != nil {
		turn.GiveUpAt(domainGate(name))
	}
	return rt
}

// findRoute asks DNS about a domain, whose gate was entered.
func (r *Runner) findRoute(ctx context.Context, s *settings, turn *schedule.Work, name string) *route.NextHop {
	gate := domainGate(name)
	defer turn.Leave(gate)
	if rt := r.answers.known(name); rt != nil { // found since it was looked for
		return rt
	}
	rt := s.router.NextHop(ctx, name)
	switch {
	case ctx.Err() != nil: // no answer of DNS
	case rt.Failure != nil && rt.Failure.Action == outcome.Deferred:
		r.sched.Down(gate, *rt.Failure)
	default:
		r.answers.keep(name, rt)
		r.sched.CallAll(gate) // the way is open to all
	}
	return &rt
}

func domainGate(name string) schedule.Gate {
	return schedule.Gate{Kind: schedule.Domain, Key: name}
}
