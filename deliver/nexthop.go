package deliver

import (
	"errors"
	"io"
	"iter"
	"strings"

	"postoffice/deliver/outcome"
	"postoffice/deliver/remote"
	"postoffice/deliver/schedule"
	"postoffice/internal/smtp"
	"postoffice/spool/envelope"
)

// job is what goes to one next hop. It has a place at the hop's gate until all
// its targets are answered for.
func (a *attempt) job(h *hop, gate schedule.Gate) remote.Job {
	m := remote.Message{
		ReversePath: a.s.router.Qualified(h.reverse),
		Params:      a.env.Params,
		Size:        int64(len(h.front)) + a.m.Size(),
		Open:        func() io.Reader { return a.m.Data() },
	}
	if h.front != "" {
		m.Open = func() io.Reader { return io.MultiReader(strings.NewReader(h.front), a.m.Data()) }
	}
	if names := a.s.Senders; names.Own(a.env.Client) {
		m.ReversePath = names.Path(m.ReversePath)
		open := m.Open
		m.Open = func() io.Reader { return names.Header(open()) }
	}
	for _, t := range h.targets {
		m.Recipients = append(m.Recipients, smtp.Recipient{Path: t.path, Params: t.params})
	}
	return remote.Job{
		Hop: h.rt.Hop, Message: m, Options: a.s.Remote, Stop: a.stop, Transcript: a.transcript(a.screens(firstKeys(h.targets))),
		Answer: func(x remote.Answer) {
			a.r.learn(gate, h.rt.Hop, x)
			a.answers <- a.replies(h.targets[x.From:x.To], x)
			if x.To == len(h.targets) {
				a.turn.Leave(gate)
			}
		},
	}
}

// firstKeys yields of each target the recipient that led to it first.
func firstKeys(targets []*remoteTarget) iter.Seq[envelope.Key] {
	return func(yield func(envelope.Key) bool) {
		for _, t := range targets {
			if !yield(t.keys[0]) {
				return
			}
		}
	}
}

// replies gives each of some targets its outcome. What was broken off because
// the runner is to stop was not tried.
func (a *attempt) replies(targets []*remoteTarget, x remote.Answer) []reply {
	replies := make([]reply, len(targets))
	for i, t := range targets {
		replies[i].t = t
		if x.Outcomes == nil || errors.Is(x.Outcomes[i].Err, remote.ErrUntried) {
			continue
		}
		if o := x.Outcomes[i]; o.Action != outcome.Deferred || !o.Reply.IsZero() || a.work.Err() == nil {
			replies[i].x = settled{outcome: o, remembered: x.Remembered}
		}
	}
	return replies
}

// learn opens the gate of a next hop wider when it has taken mail: twice as
// many messages as it may have sessions. One that can't be reached is left
// alone for a while, and all who come for it get the same words.
func (r *Runner) learn(gate schedule.Gate, h remote.Hop, x remote.Answer) {
	switch {
	case x.Down != nil: // also for those that waited: whoever is first must not let another in
		r.sched.Narrow(gate)
		r.sched.Down(gate, *x.Down)
	case x.Sessions > 0:
		r.sched.Widen(gate, 2*x.Sessions)
		if n, ok := networkGate(h); ok {
			r.sched.Widen(n, 2*x.Sessions)
		}
	}
}

// hostGate returns the gate before a next hop. Whoever enters it passes the gate
// of the network of its first address too, until it has taken mail: many names may
// lead to one machine. The pool counts by network whatever address it connects to.
func (r *Runner) hostGate(h remote.Hop) schedule.Gate {
	gate := schedule.Gate{Kind: schedule.Host, Key: h.Key}
	if n, ok := networkGate(h); ok {
		r.sched.Beside(gate, n)
	}
	return gate
}

// networkGate returns the gate before the network of a hop's first address; ok
// is false for one of this machine.
func networkGate(h remote.Hop) (gate schedule.Gate, ok bool) {
	for _, t := range h.Targets {
		for _, a := range t.Addrs {
			return schedule.Gate{Kind: schedule.Network, Key: networkName(a)}, true
		}
	}
	return schedule.Gate{}, false
}
