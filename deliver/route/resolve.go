package route

import (
	"context"
	"errors"
	"strings"

	"postoffice/deliver/local"
	"postoffice/deliver/outcome"
	"postoffice/internal/account"
	"postoffice/internal/alias"
	"postoffice/internal/smtp"
	"postoffice/spool/envelope"
)

// A StepKind says what follows from a recipient.
type StepKind int

const (
	StepFailed  StepKind = iota // Outcome says why it goes nowhere, now or ever
	StepExpand                  // it stands for Targets
	StepRead                    // a file says what it stands for, which User reads: Router.Read
	StepMailbox                 // the mailbox of Account, unless it has a .forward and Final is not set
	StepRun                     // a program or a file, with the rights of User
	StepRemote                  // another machine, unless its domain is local by DNS: Router.ResolveHere
	StepChanged                 // an item that the files no longer have: Router.Again; Outcome where that is no help
)

// A Step is what one recipient leads to. The queue run and the dry run take the
// same ones.
type Step struct {
	Kind    StepKind
	Outcome outcome.Outcome // of StepFailed

	Via         envelope.Via // of StepExpand and StepRead: what is looked up
	Owner       string       // of StepExpand: the user whose list or personal alias file says it; "" nobody's
	Quote       error        // of StepFailed: what Outcome says without quoting a user's file; nil: it quotes none
	Targets     []local.Line // of StepExpand; File is "" where the configuration says it
	Circle      []string     // of StepExpand: the names of a circle that was left out of Targets
	ReversePath *smtp.Path   // of StepExpand: where failures are reported from here on; nil: as before

	Account   account.Account // of StepMailbox
	Final     bool            // into the mailbox whatever .forward says
	User      string          // of StepRead and StepRun: with whose rights
	Item      local.Item      // of StepRead and StepRun: what is read or run
	Extension string          // the detail of user+detail

	mapping alias.Mapping // of a StepRead in a personal alias file
}

func failed(o outcome.Outcome) Step { return Step{Outcome: o} }

// Resolve says what a recipient leads to. It reads the alias file and asks for
// accounts, and nothing else.
func (r *Router) Resolve(ctx context.Context, n *Node) Step {
	switch {
	case n.Kind == envelope.Program:
		return r.item(ctx, n)
	case n.Kind == envelope.Mailbox:
		return r.ownMailbox(ctx, n)
	}
	static, err := r.isStatic(n.Path.Domain)
	switch {
	case err != nil:
		return failed(outcome.Deferral("4.3.0", "it isn't known now whether that domain is this machine's", err))
	case !static:
		return Step{Kind: StepRemote}
	}
	return r.ResolveHere(ctx, n)
}

// Mailbox returns the account whose mailbox an address leads to at once; ok is
// false where it leads elsewhere, or where that isn't known now.
func (r *Router) Mailbox(ctx context.Context, to smtp.Path) (name string, ok bool) {
	s := r.Resolve(ctx, &Node{Kind: envelope.Address, Path: to})
	return s.Account.Name, s.Kind == StepMailbox
}

// ResolveHere is Resolve for an address whose domain is known to be local.
func (r *Router) ResolveHere(ctx context.Context, n *Node) Step {
	f, o := r.find(ctx, n.Path, n.own)
	switch {
	case o != nil:
		return failed(*o)
	case f.alias.Name != "":
		return r.byAlias(ctx, n, f.alias)
	case f.account.Name != "":
		return r.toMailbox(n, f)
	case f.mapping.Entry != "":
		return r.byUsermap(ctx, n, f.mapping)
	}
	return failed(outcome.Refusal("5.1.1", f.missing, nil))
}

// found is what a local name is: one of alias, account and mapping, or nothing.
type found struct {
	alias     alias.Entry
	account   account.Account
	mapping   alias.Mapping
	extension string
	missing   string // why there is nobody of that name
}

// find looks a name up: as an alias, as an account, as both without its
// detail, and in usermap (docs/decisions/0009). What skip names is passed
// over: the name stands in there itself.
func (r *Router) find(ctx context.Context, p smtp.Path, skip func(envelope.Via) bool) (f found, o *outcome.Outcome) {
	name := p.Local
	later := func(text string, err error) (found, *outcome.Outcome) {
		o := outcome.Deferral("4.3.0", text, err)
		return f, &o
	}
	switch virtual, err := r.virtual(p.Domain); {
	case err != nil:
		return later("it isn't known now whether that domain is this machine's", err)
	case virtual != "":
		return r.findVirtual(ctx, virtual, name, skip)
	}
	if strings.Contains(name, "@") { // what was to be an address, in quotes: no pattern is meant for it
		f.missing = "that is no address"
		return f, nil
	}
	base, detail, parted := r.Split(name)
	for _, as := range []struct{ name, extension string }{{name, ""}, {base, detail}} {
		f.extension = as.extension
		if !skip(envelope.Via{Source: envelope.FromAlias, Name: alias.Key(as.name)}) {
			e, err := r.lookupAlias(ctx, as.name)
			if err == nil {
				f.alias = e
				return f, nil
			}
			if !errors.Is(err, alias.ErrNotFound) {
				return later("the aliases can't be read now", err)
			}
		}
		a, err := r.o.Accounts.Lookup(ctx, as.name)
		if err == nil {
			f.account = a
			return f, nil
		}
		if !errors.Is(err, account.ErrNoUser) {
			return later("the user database can't be read now", err)
		}
		if f.missing == "" {
			f.missing = noUserWords(err)
		}
		if !parted {
			break
		}
	}
	f.extension = ""
	if !skip(envelope.Via{Source: envelope.FromUsermap, Name: name}) {
		m, err := r.mapping(ctx, name)
		if err != nil {
			return later("option usermap or the user database can't be read now", err)
		}
		f.mapping = m
	}
	if r.o.Aliases != nil && f.mapping.Entry == "" {
		if damage := r.o.Aliases.Damage(); damage != nil { // not known to be unknown
			return later("the aliases can't be read now", damage)
		}
	}
	return f, nil
}

// mapping is what usermap says of a name; its Entry is "" where it says
// nothing. Nobody reads a file as uid 0: for such a user there are none.
func (r *Router) mapping(ctx context.Context, name string) (alias.Mapping, error) {
	var user account.Account
	m, _, err := r.usermap.Match(name, func(name string) (string, bool, error) {
		var err error
		user, err = r.o.Accounts.Lookup(ctx, name)
		if errors.Is(err, account.ErrNoUser) {
			return "", false, nil
		}
		return user.Name, err == nil, err
	})
	if user.UID == 0 {
		m.Files = nil
	}
	if err != nil || len(m.Files) == 0 && m.Then == nil {
		return alias.Mapping{}, err
	}
	return m, nil
}

// byAlias expands an alias, or says why it can't be now.
func (r *Router) byAlias(ctx context.Context, n *Node, e alias.Entry) Step {
	s := Step{Kind: StepExpand, Via: envelope.Via{Source: envelope.FromAlias, Name: alias.Key(e.Name)}}
	if end, looped := r.closed(ctx, n, s.Via); looped {
		return end
	}
	on, o := r.inexpansible(ctx, n, e)
	if o != nil {
		return failed(*o)
	}
	s.Circle = on.circle
	file := e.File
	if r.o.Aliases != nil && e.Line > 0 && file == "" {
		file = r.o.Aliases.Path()
	}
	for _, t := range on.targets {
		s.Targets = append(s.Targets, local.Line{Target: t, File: file, Line: e.Line})
	}
	owner, err := r.owner(ctx, n, s.Via.Name)
	if err != nil {
		return failed(outcome.Deferral("4.3.0", "the aliases can't be read now", err))
	}
	s.ReversePath = owner
	return s
}

// ownerName is the alias that would be the owner of an alias.
func ownerName(key string) string {
	if isOwner(key) {
		return "owner-owner"
	}
	return "owner-" + key
}

// owner is the reverse-path of what goes to an alias that has an owner: its
// failures are the owner's to mend. Owners' own names have owner-owner. A
// null reverse-path stays null.
func (r *Router) owner(ctx context.Context, n *Node, key string) (*smtp.Path, error) {
	local, domain, virtual := account.SplitVirtual(key)
	name := ownerName(key)
	switch {
	case n.ReversePath.IsNull() || name == key:
		return nil, nil
	case virtual && r.o.Virtual != nil:
		return r.virtualOwner(ctx, domain, local)
	}
	switch _, err := r.lookupAlias(ctx, name); {
	case errors.Is(err, alias.ErrNotFound):
		return nil, nil
	case err != nil:
		return nil, err
	}
	return &smtp.Path{Local: name, Domain: r.o.Hostname}, nil
}

// IsOwner reports whether the owner of the alias that names a list is who a
// reverse-path leads to.
func (r *Router) IsOwner(p smtp.Path, f File) bool {
	return f.Source == envelope.FromList && p == smtp.Path{Local: ownerName(f.Name), Domain: r.o.Hostname}
}

// closed says whether n is to be expanded by what led to it. A .forward that
// leads back means its user's mailbox (B53); else it is a mistake in the
// configuration, and somebody can mend it while the mail waits.
func (r *Router) closed(ctx context.Context, n *Node, v envelope.Via) (end Step, looped bool) {
	names, user := n.circle(v)
	if names == nil {
		return end, false
	}
	if user != "" {
		return r.mailboxOf(ctx, user), true
	}
	return failed(leadsBack(v, names)), true
}

// leadsBack is the outcome of a circle.
func leadsBack(v envelope.Via, names []string) outcome.Outcome {
	return outcome.Deferral("4.4.6", string(v.Source)+" "+smtp.Printable(names[0], 100)+": "+CircleWords(names), nil)
}

// CircleWords tells of a circle.
func CircleWords(names []string) string {
	return "it leads back to itself: " + smtp.Printable(strings.Join(names, " -> "), 400)
}

// toMailbox leads to the mailbox of an account. Whoever has forwarded the
// message, and gets it back, keeps it.
func (r *Router) toMailbox(n *Node, f found) Step {
	return Step{
		Kind: StepMailbox, Account: f.account, Extension: f.extension,
		Final: n.Kind == envelope.Mailbox || isVirtual(f.account) || n.passed(envelope.Via{Source: envelope.FromForward, Name: f.account.Name}),
	}
}

// ownMailbox leads to the mailbox that \user names.
func (r *Router) ownMailbox(ctx context.Context, n *Node) Step {
	aliases := func(v envelope.Via) bool { return true }
	f, o := r.find(ctx, n.Path, aliases)
	switch {
	case o != nil:
		return failed(*o)
	case f.account.Name == "":
		return failed(outcome.Refusal("5.1.1", f.missing, nil))
	}
	return r.toMailbox(n, f)
}

// mailboxOf leads to a user's mailbox, whatever their .forward says.
func (r *Router) mailboxOf(ctx context.Context, user string) Step {
	return r.ownMailbox(ctx, &Node{Kind: envelope.Mailbox, Path: smtp.Path{Local: user}})
}

// byUsermap leads where option usermap says, or to the personal alias file that
// does.
func (r *Router) byUsermap(ctx context.Context, n *Node, m alias.Mapping) Step {
	s := Step{
		Kind: StepRead, Via: envelope.Via{Source: envelope.FromUsermap, Name: n.Path.Local}, mapping: m,
		User: m.User, Item: local.Item{Source: local.FromUsermap, Name: n.Path.Local},
	}
	if end, looped := r.closed(ctx, n, s.Via); looped {
		return end
	}
	if len(m.Files) > 0 {
		s.Owner = m.User
		return s
	}
	return r.Listed(n, s, nil)
}

// item says who runs a program, writes a file or reads a list, which the spool
// names by its hash alone.
func (r *Router) item(ctx context.Context, n *Node) Step {
	a := n.Agent
	s := Step{
		Kind: StepRun, User: r.o.DefaultUser, Extension: r.detail(n),
		Item: *a,
	}
	switch a.Source {
	case envelope.FromForward:
		s.User = a.Name
		return s
	case envelope.FromUsermap:
		m, err := r.mapping(ctx, a.Name)
		switch {
		case err != nil:
			return failed(outcome.Deferral("4.3.0", "option usermap or the user database can't be read now", err))
		case m.Then != nil && m.Then.Hash() == a.Hash:
			return s
		case len(m.Files) > 0:
			s.User = m.User
			return s
		}
		return Step{Kind: StepChanged, Outcome: Changed(a)}
	}
	e, err := r.lookupAlias(ctx, a.Name)
	if err != nil && !errors.Is(err, alias.ErrNotFound) {
		return failed(outcome.Deferral("4.3.0", "the aliases can't be read now", err))
	}
	for _, t := range e.Targets {
		if t.Hash() != a.Hash {
			continue
		}
		if t.Kind == alias.Include {
			s.Kind, s.Via = StepRead, envelope.Via{Source: envelope.FromList, Name: a.Name}
		}
		return s
	}
	return Step{Kind: StepChanged, Outcome: Changed(a)}
}

// changed is the outcome for an item that is not there any more.
func Changed(a *envelope.Agent) outcome.Outcome {
	return outcome.Deferral("4.3.5", string(a.Source)+" "+smtp.Printable(a.Name, 100)+" was changed since this message was expanded: it is looked up again at the next attempt", nil)
}
