package deliver

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"postoffice/internal/alias"
	"postoffice/spool"
)

const (
	maxDepth    = 10    // aliases within aliases (hostile.md A50)
	maxExpanded = 1000  // recipients that aliases may add to one message
	maxNodes    = 10000 // names looked at in search of a loop
)

// inexpansible says why an alias can't be expanded now: nil if it can. None
// of it is permanent: the alias file can be mended while the mail waits.
func (a *attempt) inexpansible(rc spool.Recipient, targets []alias.Target) *Outcome {
	words := func(status, text string) *Outcome {
		o := deferral(status, "alias "+printable(rc.Path.Local, 100)+": "+text, nil)
		return &o
	}
	for _, t := range targets {
		if err := t.Unsupported(); err != nil {
			return words("4.3.5", printable(err.Error(), 400))
		}
	}
	if path, err := a.s.router.loop(a.work, rc.Path.Local, targets); err != nil {
		return words("4.3.0", err.Error())
	} else if path != nil {
		return words("4.4.6", "it leads back to itself: "+printable(strings.Join(path, " -> "), 400))
	}
	depth, size := a.s.router.survey(a.work, rc.Path.Local, targets)
	for p := rc.Parent; p != spool.NoKey; p = a.rcpts[p].Parent {
		depth++
	}
	for k := range a.rcpts {
		if k.Block > 0 {
			size++
		}
	}
	switch {
	case depth > maxDepth:
		return words("4.4.6", fmt.Sprintf("aliases are nested more than %d deep", maxDepth))
	case size > maxExpanded:
		return words("4.5.3", fmt.Sprintf("the message would get more than %d recipients by aliases", maxExpanded))
	}
	return nil
}

// loop returns the way from an alias back to itself, name first and last; nil
// if there is none. One's own name among one's targets is the mailbox and no
// loop.
func (r *Router) loop(ctx context.Context, name string, targets []alias.Target) ([]string, error) {
	start := fold(name)
	from := map[string]string{} // how a name was reached first
	shown := map[string]string{start: name}
	queue := []string{start}
	for len(queue) > 0 {
		at := queue[0]
		queue = queue[1:]
		if at != start {
			var err error
			if targets, err = r.lookupAlias(ctx, shown[at]); err != nil {
				continue // it will be met again when that name's turn comes
			}
		}
		for _, t := range targets {
			to := fold(t.Path.Local)
			if t.Kind != alias.Address || to == at || !r.isStatic(t.Path.Domain) {
				continue
			}
			if to == start {
				return wayBack(from, shown, start, at), nil
			}
			if _, seen := shown[to]; seen {
				continue
			}
			if shown[to] = t.Path.Local; len(shown) > maxNodes {
				return nil, fmt.Errorf("more than %d names hang on it", maxNodes)
			}
			from[to] = at
			queue = append(queue, to)
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
func (r *Router) survey(ctx context.Context, name string, targets []alias.Target) (depth, size int) {
	type extent struct{ depth, size int }
	known := map[string]extent{fold(name): {}}
	var visit func(name string, targets []alias.Target) extent
	visit = func(name string, targets []alias.Target) extent {
		x := extent{size: len(targets)}
		for _, t := range targets {
			to := fold(t.Path.Local)
			if t.Kind != alias.Address || to == name || !r.isStatic(t.Path.Domain) {
				continue
			}
			below, ok := known[to]
			if !ok {
				known[to] = extent{}
				if more, err := r.lookupAlias(ctx, t.Path.Local); err == nil {
					below = visit(to, more)
				}
				known[to] = below
			}
			x.depth = max(x.depth, below.depth)
			x.size = min(x.size+below.size, maxExpanded+1)
		}
		x.depth++
		return x
	}
	x := visit(fold(name), targets)
	return x.depth, x.size
}
