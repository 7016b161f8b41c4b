package route

import (
	"context"
	"errors"
	"fmt"

	"postoffice/deliver/local"
	"postoffice/deliver/outcome"
	"postoffice/internal/alias"
	"postoffice/internal/smtp"
	"postoffice/spool/envelope"
)

// maxMembers bounds the list in a file that an alias names with :include:.
const maxMembers = 60000

// Ask takes a StepRead further: it has the file read, and may wait for a user's
// process meanwhile.
func (r *Router) Read(ctx context.Context, n *Node, s Step) Step {
	s, lines, err := r.Lines(ctx, s)
	if err != nil {
		return s.unread(err)
	}
	return r.Listed(n, s, lines)
}

// Unread is the outcome of a list that could not be read. It is for everybody, so
// that it quotes nothing of the list.
func Unread(v envelope.Via, err error) outcome.Outcome {
	return outcome.Deferral("4.3.5", unreadable(v), local.Public(err))
}

// unread is the StepFailed of a list that could not be read, with what is to be
// quoted to its owner.
func (s Step) unread(err error) Step {
	end := Step{Outcome: Unread(s.Via, err), Via: s.Via, Owner: s.Owner}
	if bad, ok := errors.AsType[*local.LineError](err); ok {
		end.Quote = bad
	}
	return end
}

// ReadForward is the StepRead of a StepMailbox whose account has a .forward.
func (s Step) ReadForward() Step {
	return Step{
		Kind: StepRead, Account: s.Account, Extension: s.Extension, User: s.Account.Name,
		Via:  envelope.Via{Source: envelope.FromForward, Name: s.Account.Name},
		Item: local.Item{Source: local.FromForward, Name: s.Account.Name},
	}
}

// Lines has a list read: by User, or by the owner of the file that the user may
// not read. Nobody reads it as uid 0.
// The Step that it returns says whose the list is.
func (r *Router) Lines(ctx context.Context, s Step) (Step, []local.Line, error) {
	g := local.Listing{User: s.User, Item: s.Item, Extension: s.Extension}
	lines, err := r.o.Users.List(ctx, g)
	other := (*local.OwnerError)(nil)
	if s.Via.Source != envelope.FromList || !errors.As(err, &other) || other.User == "" || other.UID == 0 || other.User == s.User {
		return s, lines, err
	}
	g.User, s.Owner = other.User, other.User
	lines, err = r.o.Users.List(ctx, g)
	return s, lines, err
}

// unreadable says what can't be used now, without a path.
func unreadable(v envelope.Via) string {
	name := smtp.Printable(v.Name, 100)
	switch v.Source {
	case envelope.FromForward:
		return "the .forward of " + name + " can't be used now"
	case envelope.FromList:
		return "the list of alias " + name + " can't be used now"
	}
	return "the alias file for " + name + " can't be used now"
}

// listed says what follows from the lines of a list.
func (r *Router) Listed(n *Node, s Step, lines []local.Line) Step {
	if len(lines) == 0 {
		switch {
		case s.Via.Source == envelope.FromForward:
			return Step{Kind: StepMailbox, Account: s.Account, Extension: s.Extension, Final: true}
		case s.Via.Source == envelope.FromList:
			return failed(Unread(s.Via, errors.New("the list is empty, or not there: put an address in, or take it out of the alias")))
		case s.mapping.Then == nil:
			return failed(outcome.Refusal("5.1.1", noUser, nil))
		}
		lines, s.Owner = []local.Line{{Target: *s.mapping.Then}}, "" // the configuration says it
	}
	if err := misplaced(s.Via, lines); err != nil {
		return s.unread(err)
	}
	most := MaxExpanded - n.Added
	if s.Via.Source == envelope.FromList {
		most = maxMembers
	}
	switch {
	case n.depth() >= maxDepth:
		return failed(tooDeep(s.Via))
	case len(lines) > most:
		return failed(TooMany(s.Via))
	}
	s.Kind, s.Targets = StepExpand, lines
	return s
}

// misplaced finds what may not stand where it does: a list names addresses and
// mailboxes, and only the alias file names lists (A50).
func misplaced(v envelope.Via, lines []local.Line) error {
	for _, line := range lines {
		bad := line.Kind == alias.Include
		if v.Source == envelope.FromList {
			bad = line.Kind != alias.Address && line.Kind != alias.Mailbox
		}
		if bad {
			return &local.LineError{File: line.File, Line: line.Line, Quote: fmt.Sprintf("%s is %s, which may stand in the alias file only: take it out", line.Target, line.Kind)}
		}
	}
	return nil
}

// expansion is what the spool records of a StepExpand.
func (s Step) Expansion() envelope.Expansion {
	x := envelope.Expansion{Via: s.Via, Owner: s.Owner, ReversePath: s.ReversePath, Targets: make([]envelope.Target, len(s.Targets))}
	for i := range s.Targets {
		x.Targets[i] = s.target(i)
	}
	return x
}

// target is target number i as the spool has it: items by their hash.
func (s Step) target(i int) envelope.Target {
	switch t := s.Targets[i].Target; t.Kind {
	case alias.Address:
		return envelope.Target{Kind: envelope.Address, Path: t.Path}
	case alias.Mailbox:
		return envelope.Target{Kind: envelope.Mailbox, Path: t.Path}
	default:
		return envelope.Target{Kind: envelope.Program, Agent: &envelope.Agent{Source: s.Via.Source, Name: s.Via.Name, Hash: t.Hash()}}
	}
}
