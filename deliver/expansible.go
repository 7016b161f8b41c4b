package deliver

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"postoffice/internal/alias"
	"postoffice/spool"
)

// Expansion ends (hostile.md A50).
const (
	maxDepth    = 10    // expansions within expansions
	maxExpanded = 1000  // recipients that one recipient, or one member of a list, may be expanded to
	maxNodes    = 10000 // names looked at in search of a loop
)

// inexpansible says why an alias can't be expanded now: nil if it can. None
// of it is permanent: the alias file can be mended while the mail waits.
func (r *Router) inexpansible(ctx context.Context, l *Lead, e alias.Entry) *Outcome {
	v := spool.Via{Source: spool.FromAlias, Name: l.Path.Local}
	path, err := r.loop(ctx, l.Path.Local, e)
	var o Outcome
	var depth, size int
	switch {
	case err != nil:
		o = deferral("4.3.0", "alias "+printable(v.Name, 100)+": "+err.Error(), nil)
		return &o
	case path != nil:
		o = leadsBack(v, path)
		return &o
	}
	switch depth, size = r.survey(ctx, e); {
	case l.depth()+depth > maxDepth:
		o = tooDeep(v)
	case l.Added+size > maxExpanded:
		o = tooMany(v)
	default:
		return nil
	}
	return &o
}

func tooDeep(v spool.Via) Outcome {
	return deferral("4.4.6", fmt.Sprintf("%s %s: aliases are nested more than %d deep", v.Source, printable(v.Name, 100), maxDepth), nil)
}

func tooMany(v spool.Via) Outcome {
	if v.Source == spool.FromList {
		return deferral("4.5.3", fmt.Sprintf("the list of alias %s has more than %d members", printable(v.Name, 100), maxMembers), nil)
	}
	text := fmt.Sprintf("%s %s: the message would get more than %d recipients by aliases", v.Source, printable(v.Name, 100), maxExpanded)
	if v.Source == spool.FromAlias {
		text += "; a file that it names with :include: may list more"
	}
	return deferral("4.5.3", text, nil)
}

// below returns the alias that a target of an alias names, without asking for
// accounts where it can. ok is false where it names none; what can't be read
// now is met again when the target's own turn comes.
func (r *Router) below(ctx context.Context, t alias.Target) (e alias.Entry, ok bool) {
	if t.Kind != alias.Address || !r.isStatic(t.Path.Domain) {
		return e, false
	}
	e, err := r.lookupAlias(ctx, t.Path.Local)
	base, _, parted := r.split(t.Path.Local)
	if !parted || !errors.Is(err, alias.ErrNotFound) {
		return e, err == nil
	}
	if e, err = r.lookupAlias(ctx, base); err != nil {
		return e, false
	}
	_, err = r.o.Accounts.Lookup(ctx, t.Path.Local)
	return e, err != nil
}

// loop returns the way from an alias back to itself, name first and last; nil
// if there is none. One's own name among one's targets is the mailbox and no
// loop.
func (r *Router) loop(ctx context.Context, name string, e alias.Entry) ([]string, error) {
	start := alias.Key(e.Name)
	from := map[string]string{} // how a name was reached first
	shown := map[string]string{start: name}
	queue := []alias.Entry{e}
	for len(queue) > 0 {
		at := queue[0]
		queue = queue[1:]
		here := alias.Key(at.Name)
		for _, t := range at.Targets {
			next, ok := r.below(ctx, t)
			to := alias.Key(next.Name)
			if !ok || to == here {
				continue
			}
			if to == start {
				return wayBack(from, shown, start, here), nil
			}
			if _, seen := shown[to]; seen {
				continue
			}
			if shown[to] = t.Path.Local; len(shown) > maxNodes {
				return nil, fmt.Errorf("more than %d names hang on it", maxNodes)
			}
			from[to] = here
			queue = append(queue, next)
		}
	}
	return nil, nil
}

// wayBack lists the names from start over from[...] to at, and start again.
func wayBack(from, shown map[string]string, start, at string) []string {
	way := []string{shown[start]}
	for at != start {
		way = append(way, shown[at])
		at = from[at]
	}
	way = append(way, shown[start])
	slices.Reverse(way)
	return way
}

// survey says how deep aliases are nested below and with an alias, and how
// many recipients they would add to a message. A loop that does not lead back
// to the alias itself ends where it closes.
func (r *Router) survey(ctx context.Context, e alias.Entry) (depth, size int) {
	type extent struct{ depth, size int }
	known := map[string]extent{alias.Key(e.Name): {}}
	var visit func(e alias.Entry) extent
	visit = func(e alias.Entry) extent {
		x := extent{size: len(e.Targets)}
		for _, t := range e.Targets {
			next, ok := r.below(ctx, t)
			to := alias.Key(next.Name)
			if !ok || to == alias.Key(e.Name) {
				continue
			}
			below, seen := known[to]
			if !seen {
				known[to] = extent{}
				below = visit(next)
				known[to] = below
			}
			x.depth = max(x.depth, below.depth)
			x.size = min(x.size+below.size, maxExpanded+1)
		}
		x.depth++
		return x
	}
	x := visit(e)
	return x.depth, x.size
}
