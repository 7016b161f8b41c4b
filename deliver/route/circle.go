package route

import (
	"context"
	"fmt"

	"postoffice/internal/alias"
	"postoffice/spool/envelope"
)

// An onward is what of an alias's targets leads on. A target that leads to
// nothing but what is being expanded already is left out: whoever is in the
// circle beside it gets the message by the others.
type onward struct {
	targets []alias.Target
	circle  []string // the names of the first that was left out, from itself to itself; nil: none was
}

// onward finds what leads on where e is expanded for n.
func (r *Router) onward(ctx context.Context, n *Node, e alias.Entry) (onward, error) {
	w := walk{r: r, ctx: ctx, above: n.aliasesAbove(e.Name), ends: map[string]bool{}}
	var on onward
	for _, t := range e.Targets {
		switch ends, err := w.leadsOn(e.Name, t); {
		case err != nil:
			return on, err
		case ends:
			on.targets = append(on.targets, t)
		case on.circle == nil:
			on.circle = w.circle(n, e.Name, t)
		}
	}
	return on, nil
}

// aliasesAbove are the keys of the aliases that are being expanded where n is,
// one in the other, and of name, which is what n is. A .forward or a list
// between them ends that: closed meets what leads back through it.
func (n *Node) aliasesAbove(name string) map[string]bool {
	above := map[string]bool{alias.Key(name): true}
	for ; n.From != nil && n.Via.Source == envelope.FromAlias; n = n.From {
		above[n.Via.Name] = true
	}
	return above
}

// A walk follows aliases to their ends.
type walk struct {
	r     *Router
	ctx   context.Context
	above map[string]bool // what is being expanded
	ends  map[string]bool // of aliases that are known: whether anything but what is above is at their ends
}

// leadsOn reports whether target t of alias from leads to something else than
// aliases: a user, a program, an address. What is being expanded doesn't count,
// and one's own name among one's targets is the mailbox.
func (w *walk) leadsOn(from string, t alias.Target) (bool, error) {
	first, ok := w.r.below(w.ctx, t)
	key := alias.Key(first.Name)
	known, been := w.ends[key]
	switch {
	case !ok, key == alias.Key(from):
		return true, nil
	case w.above[key], been:
		return known, nil
	}
	seen := map[string]bool{key: true}
	for queue := []alias.Entry{first}; len(queue) > 0; queue = queue[1:] {
		for _, t := range queue[0].Targets {
			next, ok := w.r.below(w.ctx, t)
			to := alias.Key(next.Name)
			switch known, been := w.ends[to]; {
			case !ok, known, to == alias.Key(queue[0].Name):
				w.ends[key] = true
				return true, nil
			case w.above[to], been, seen[to]:
			case len(seen) == maxNodes:
				return false, fmt.Errorf("more than %d names hang on it", maxNodes)
			default:
				seen[to] = true
				queue = append(queue, next)
			}
		}
	}
	for to := range seen {
		w.ends[to] = false
	}
	return false, nil
}

// circle returns the names of a circle that t leads to, which leads nowhere
// else: n's own, where name and those above are in it.
func (w *walk) circle(n *Node, name string, t alias.Target) []string {
	var names []string
	at := map[string]int{}
	for {
		next, ok := w.r.below(w.ctx, t)
		key := alias.Key(next.Name)
		names = append(names, t.Path.Local)
		switch i, been := at[key]; {
		case been:
			return ring(names[i:])
		case key == alias.Key(name):
			return ring(append([]string{n.Path.Local}, names...))
		case w.above[key]:
			from, _ := n.circle(envelope.Via{Source: envelope.FromAlias, Name: key})
			return ring(append(from, names...))
		case !ok: // it was changed just now
			return names
		}
		at[key] = len(names) - 1
		t = next.Targets[0]
	}
}

// ring spells the last name of a circle as the first one, which it is.
func ring(names []string) []string {
	names[len(names)-1] = names[0]
	return names
}
