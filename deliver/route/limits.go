package route

import (
	"context"
	"errors"
	"fmt"

	"postoffice/deliver/outcome"
	"postoffice/internal/account"
	"postoffice/internal/alias"
	"postoffice/internal/smtp"
	"postoffice/spool/envelope"
)

// Expansion ends (A50).
const (
	maxDepth    = 10    // expansions within expansions
	MaxExpanded = 1000  // recipients that one recipient, or one member of a list, may be expanded to
	maxNodes    = 10000 // names looked at in search of a loop
)

// inexpansible says why an alias can't be expanded now, nil if it can, and what
// of its targets leads elsewhere than back to it. None of it is permanent: the
// alias file can be mended while the mail waits.
func (r *Router) inexpansible(ctx context.Context, n *Node, e alias.Entry) (onward, *outcome.Outcome) {
	v := envelope.Via{Source: envelope.FromAlias, Name: n.Path.Local}
	if _, _, virtual := account.SplitVirtual(e.Name); virtual {
		v.Name = e.Name
	}
	on, err := r.onward(ctx, n, e)
	var o outcome.Outcome
	switch {
	case err != nil:
		o = outcome.Deferral("4.3.0", "alias "+smtp.Printable(v.Name, 100)+": "+err.Error(), nil)
		return on, &o
	case len(on.targets) == 0:
		o = leadsBack(v, on.circle)
		return on, &o
	}
	switch depth, size := r.survey(ctx, e); {
	case n.depth()+depth > maxDepth:
		o = tooDeep(v)
	case n.Added+size > MaxExpanded:
		o = TooMany(v)
	default:
		return on, nil
	}
	return on, &o
}

func tooDeep(v envelope.Via) outcome.Outcome {
	return outcome.Deferral("4.4.6", fmt.Sprintf("%s %s: aliases are nested more than %d deep", v.Source, smtp.Printable(v.Name, 100), maxDepth), nil)
}

func TooMany(v envelope.Via) outcome.Outcome {
	if v.Source == envelope.FromList {
		return outcome.Deferral("4.5.3", fmt.Sprintf("the list of alias %s has more than %d members", smtp.Printable(v.Name, 100), maxMembers), nil)
	}
	text := fmt.Sprintf("%s %s: the message would get more than %d recipients by aliases", v.Source, smtp.Printable(v.Name, 100), MaxExpanded)
	if v.Source == envelope.FromAlias {
		text += "; a file that it names with :include: may list more"
	}
	return outcome.Deferral("4.5.3", text, nil)
}

// below returns the alias that a target of an alias names, without asking for
// accounts where it can. ok is false where it names none; what can't be read
// now is met again when the target's own turn comes.
func (r *Router) below(ctx context.Context, t alias.Target) (e alias.Entry, ok bool) {
	if t.Kind != alias.Address || !r.IsStatic(t.Path.Domain) {
		return e, false
	}
	if domain, _ := r.virtual(t.Path.Domain); domain != "" {
		return r.belowVirtual(ctx, domain, t)
	}
	e, err := r.lookupAlias(ctx, t.Path.Local)
	base, _, parted := r.Split(t.Path.Local)
	if !parted || !errors.Is(err, alias.ErrNotFound) {
		return e, err == nil
	}
	if e, err = r.lookupAlias(ctx, base); err != nil {
		return e, false
	}
	_, err = r.o.Accounts.Lookup(ctx, t.Path.Local)
	return e, err != nil
}

// survey says how deep aliases are nested below and with an alias, and how
// many recipients they would add to a message. A circle ends where it closes, and
// the survey where they are nested deeper than they may be.
func (r *Router) survey(ctx context.Context, e alias.Entry) (depth, size int) {
	type extent struct{ depth, size int }
	known := map[string]extent{alias.Key(e.Name): {}}
	tooDeep := false
	var visit func(e alias.Entry, above int) extent
	visit = func(e alias.Entry, above int) extent {
		x := extent{size: len(e.Targets)}
		tooDeep = tooDeep || above >= maxDepth
		for _, t := range e.Targets {
			if tooDeep {
				return extent{depth: maxDepth + 1}
			}
			next, ok := r.below(ctx, t)
			to := alias.Key(next.Name)
			if !ok || to == alias.Key(e.Name) {
				continue
			}
			below, seen := known[to]
			if !seen {
				known[to] = extent{}
				below = visit(next, above+1)
				known[to] = below
			}
			x.depth = max(x.depth, below.depth)
			x.size = min(x.size+below.size, MaxExpanded+1)
		}
		x.depth++
		return x
	}
	x := visit(e, 0)
	return x.depth, x.size
}
