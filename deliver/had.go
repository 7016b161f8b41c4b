package deliver

import (
	"errors"

	"postoffice/deliver/local"
	"postoffice/spool"
)

// had is what earlier attempts delivered a message to.
type had struct {
	names  map[string]bool     // folded names of mailboxes, as their recipients spelt them
	parted map[string][]string // those with a detail, by the folded name without it
	items  map[spool.Agent]bool
}

// earlier looks through the recipients, once an attempt.
func (a *attempt) earlier() *had {
	if a.had != nil {
		return a.had
	}
	a.had = &had{names: map[string]bool{}, parted: map[string][]string{}, items: map[spool.Agent]bool{}}
	lists := map[spool.Key]spool.Agent{} // that are expanded
	for rc := range a.m.Recipients() {
		if rc.Via != (spool.Via{}) && rc.Via.Source != spool.FromList {
			delete(lists, rc.Parent) // it has vanished, and something else stands in its place
		}
		switch {
		case rc.Agent != nil && rc.State == spool.Expanded:
			lists[rc.Key] = *rc.Agent
		case rc.Agent != nil:
			if rc.State == spool.Delivered {
				a.had.items[*rc.Agent] = true
			}
		case rc.State != spool.Delivered || rc.Kind == spool.Address && !a.s.router.isStatic(rc.Path.Domain):
		default:
			a.had.names[fold(rc.Path.Local)] = true
			if base, _, ok := a.s.router.split(rc.Path.Local); ok {
				a.had.parted[fold(base)] = append(a.had.parted[fold(base)], rc.Path.Local)
			}
		}
	}
	for _, agent := range lists {
		a.had.items[agent] = true
	}
	return a.had
}

// hadMailbox says that the message is recorded as delivered to the mailbox of
// an account.
func (a *attempt) hadMailbox(account string) bool {
	e := a.earlier()
	if e.names[fold(account)] {
		return true
	}
	for _, name := range e.parted[fold(account)] {
		if _, err := a.s.Accounts.Lookup(a.work, name); errors.Is(err, local.ErrNoUser) {
			return true // it was this account's, and not that of a user with such a name
		}
	}
	return false
}

// hadItem says that a program or file has the message, or that a list has been
// expanded.
func (a *attempt) hadItem(agent *spool.Agent) bool {
	return agent != nil && a.earlier().items[*agent]
}
