package deliver

import (
	"context"

	"postoffice/internal/smtp"
	"postoffice/spool/envelope"
)

// reached is what earlier attempts delivered a message to.
type reached struct {
	names  map[string]bool     // folded names of mailboxes, as their recipients spelt them
	parted map[string][]string // those with a detail, by the folded name without it
	items  map[envelope.Agent]bool
}

// reached looks through the recipients, once an attempt.
func (t *tree) reached() *reached {
	if t.earlier != nil {
		return t.earlier
	}
	e := &reached{names: map[string]bool{}, parted: map[string][]string{}, items: map[envelope.Agent]bool{}}
	t.earlier = e
	lists := map[envelope.Key]envelope.Agent{} // that are expanded
	for rc := range t.m.Recipients() {
		if rc.Via != (envelope.Via{}) && rc.Via.Source != envelope.FromList {
			delete(lists, rc.Parent) // it has vanished, and something else stands in its place
		}
		switch {
		case rc.Agent != nil && rc.State == envelope.Expanded:
			lists[rc.Key] = *rc.Agent
		case rc.Agent != nil:
			if rc.State == envelope.Delivered {
				e.items[*rc.Agent] = true
			}
		case rc.State != envelope.Delivered || rc.Kind == envelope.Address && !t.s.router.IsStatic(rc.Path.Domain):
		default:
			name := t.s.router.BoxName(rc.Path)
			e.names[smtp.Fold(name)] = true
			if base, _, ok := t.s.router.Split(rc.Path.Local); ok {
				base = smtp.Fold(base + name[len(rc.Path.Local):])
				e.parted[base] = append(e.parted[base], name)
			}
		}
	}
	for _, agent := range lists {
		e.items[agent] = true
	}
	return e
}

// reachedMailbox says that the message is recorded as delivered to the mailbox
// of an account.
func (t *tree) reachedMailbox(ctx context.Context, user string) bool {
	e := t.reached()
	if e.names[smtp.Fold(user)] {
		return true
	}
	for _, name := range e.parted[smtp.Fold(user)] {
		if t.s.router.HasNoAccount(ctx, name) {
			return true // it was this account's, and not that of a user with such a name
		}
	}
	return false
}

// reachedItem says that a program or file has the message, or that a list has
// been expanded.
func (t *tree) reachedItem(agent *envelope.Agent) bool {
	return agent != nil && t.reached().items[*agent]
}
