package route

import (
	"context"
	"errors"

	"postoffice/deliver/local"
	"postoffice/deliver/outcome"
	"postoffice/internal/account"
	"postoffice/internal/alias"
	"postoffice/internal/smtp"
	"postoffice/spool/envelope"
)

// Replace says what becomes of pending recipients of one expansion now that
// its file has another text (decisions/0009). members are all that the file had.
// kept are those that it still has and gone are the others, in their order;
// added is what the text has besides the members, each once. All of added is to
// stand in the place of the first that is gone, and the rest of gone to be
// cancelled.
func Replace(pending []envelope.Recipient, members, text []envelope.Target) (kept, gone []envelope.Recipient, added []envelope.Target) {
	now, before := map[identity]bool{}, map[identity]bool{}
	for _, t := range text {
		now[identityOf(t)] = true
	}
	for _, m := range members {
		before[identityOf(m)] = true
	}
	for _, rc := range pending {
		if now[identityOf(rc.Target)] {
			kept = append(kept, rc)
		} else {
			gone = append(gone, rc)
		}
	}
	for _, t := range text {
		if p := identityOf(t); !before[p] {
			before[p] = true
			added = append(added, t)
		}
	}
	return kept, gone, added
}

// An identity is what two targets have in common that are the same one.
type identity struct {
	kind  envelope.Kind
	path  string
	agent envelope.Agent
}

func identityOf(t envelope.Target) identity {
	if t.Agent != nil {
		return identity{kind: t.Kind, agent: *t.Agent}
	}
	return identity{kind: t.Kind, path: smtp.Fold(t.Path.String())}
}

// Again says what stands now where n was found: a StepExpand with all of it, a
// StepRead whose list says it, or why that isn't known.
func (r *Router) Again(ctx context.Context, n *Node) Step {
	from := *n.From
	from.Added = 0 // what is new is counted by whoever adds it
	switch v := n.Via; v.Source {
	case envelope.FromAlias:
		e, err := r.aliasNamed(ctx, v.Name, &from)
		if errors.Is(err, alias.ErrNotFound) && r.o.Aliases != nil && r.o.Aliases.Damage() != nil {
			err = r.o.Aliases.Damage() // not known to be gone
		}
		switch {
		case errors.Is(err, alias.ErrNotFound):
			return itself(&from, v)
		case err != nil:
			return failed(outcome.Deferral("4.3.0", "the aliases can't be read now", err))
		}
		return r.byAlias(ctx, &from, e)
	case envelope.FromForward:
		return Step{Account: account.Account{Name: v.Name}, Extension: r.detailOf(&from, v.Name)}.ReadForward()
	case envelope.FromUsermap:
		m, err := r.mapping(ctx, v.Name)
		switch {
		case err != nil:
			return failed(outcome.Deferral("4.3.0", "option usermap or the user database can't be read now", err))
		case m.Entry == "":
			return itself(&from, v)
		}
		return r.byUsermap(ctx, &from, m)
	}
	return r.item(ctx, &from)
}

// itself is what a name stands for that v says nothing of any more: what it is
// without v.
func itself(n *Node, v envelope.Via) Step {
	return Step{Kind: StepExpand, Via: v, Targets: []local.Line{{Target: alias.Target{Kind: alias.Address, Path: n.Path}}}}
}

// ListedAgain is what a list says that was read for Again.
func (r *Router) ListedAgain(n *Node, s Step, lines []local.Line) Step {
	from := *n.From
	from.Added = 0
	s = r.Listed(&from, s, lines)
	if s.Kind == StepMailbox { // the .forward is gone
		s.Kind, s.Via = StepExpand, n.Via
		s.Targets = []local.Line{{Target: alias.Target{Kind: alias.Mailbox, Path: smtp.Path{Local: s.Account.Name}}}}
	}
	return s
}
