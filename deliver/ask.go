package deliver

import (
	"context"
	"errors"
	"fmt"

	"postoffice/deliver/local"
	"postoffice/internal/alias"
	"postoffice/spool"
)

// maxMembers bounds the list in a file that an alias names with :include:.
const maxMembers = 60000

// Ask takes a StepAsk further: it has the file read, and may wait for a user's
// process meanwhile.
func (r *Router) Ask(ctx context.Context, l *Lead, s Step) Step {
	lines, err := r.list(ctx, s)
	if err != nil {
		return failed(cantAsk(s.Via, err))
	}
	return r.listed(l, s, lines)
}

// cantAsk is the outcome of a list that could not be read.
func cantAsk(v spool.Via, err error) Outcome { return deferral("4.3.5", unreadable(v), err) }

// AskForward is the StepAsk of a StepMailbox whose account has a .forward.
func (s Step) AskForward() Step {
	return Step{
		Kind: StepAsk, Account: s.Account, Extension: s.Extension, User: s.Account.Name,
		Via:  spool.Via{Source: spool.FromForward, Name: s.Account.Name},
		Item: local.Item{Source: local.FromForward, Name: s.Account.Name},
	}
}

// list has a list read: by User, or by the owner of the file that he may not
// read. Nobody reads it as uid 0.
func (r *Router) list(ctx context.Context, s Step) ([]local.Line, error) {
	g := local.Listing{User: s.User, Item: s.Item, Extension: s.Extension}
	lines, err := r.o.Local.List(ctx, g)
	other := (*local.OwnerError)(nil)
	if s.Via.Source != spool.FromList || !errors.As(err, &other) || other.User == "" || other.UID == 0 || other.User == s.User {
		return lines, err
	}
	g.User = other.User
	return r.o.Local.List(ctx, g)
}

// unreadable says what can't be used now, without a path.
func unreadable(v spool.Via) string {
	name := printable(v.Name, 100)
	switch v.Source {
	case spool.FromForward:
		return "the .forward of " + name + " can't be used now"
	case spool.FromList:
		return "the list of alias " + name + " can't be used now"
	}
	return "the alias file for " + name + " can't be used now"
}

// listed says what follows from the lines of a list.
func (r *Router) listed(l *Lead, s Step, lines []local.Line) Step {
	if len(lines) == 0 {
		switch {
		case s.Via.Source == spool.FromForward:
			return Step{Kind: StepMailbox, Account: s.Account, Extension: s.Extension, Final: true}
		case s.Via.Source == spool.FromList:
			return failed(cantAsk(s.Via, errors.New("the list is empty, or not there: put an address in, or take it out of the alias")))
		case s.mapping.Then == nil:
			return failed(refusal("5.1.1", "no such user here"))
		}
		lines = []local.Line{{Target: *s.mapping.Then}}
	}
	if err := misplaced(s.Via, lines); err != nil {
		return failed(cantAsk(s.Via, err))
	}
	most := maxExpanded - l.Added
	if s.Via.Source == spool.FromList {
		most = maxMembers
	}
	switch {
	case l.depth() >= maxDepth:
		return failed(tooDeep(s.Via))
	case len(lines) > most:
		return failed(tooMany(s.Via))
	}
	s.Kind, s.Targets = StepExpand, lines
	return s
}

// misplaced finds what may not stand where it does: a list names addresses and
// mailboxes, and only the alias file names lists (A50).
func misplaced(v spool.Via, lines []local.Line) error {
	for _, line := range lines {
		bad := line.Kind == alias.Include
		if v.Source == spool.FromList {
			bad = line.Kind != alias.Address && line.Kind != alias.Mailbox
		}
		if bad {
			return fmt.Errorf("%s:%d: %s is %s, which may stand in the alias file only: take it out", line.File, line.Line, line.Target, line.Kind)
		}
	}
	return nil
}

// expansion is what the spool records of a StepExpand.
func (s Step) expansion() spool.Expansion {
	x := spool.Expansion{Via: s.Via, ReversePath: s.ReversePath, Targets: make([]spool.Target, len(s.Targets))}
	for i := range s.Targets {
		x.Targets[i] = s.target(i)
	}
	return x
}

// target is target number i as the spool has it: items by their hash.
func (s Step) target(i int) spool.Target {
	switch t := s.Targets[i].Target; t.Kind {
	case alias.Address:
		return spool.Target{Kind: spool.Address, Path: t.Path}
	case alias.Mailbox:
		return spool.Target{Kind: spool.Mailbox, Path: t.Path}
	default:
		return spool.Target{Kind: spool.Program, Agent: &spool.Agent{Source: s.Via.Source, Name: s.Via.Name, Hash: t.Hash()}}
	}
}
