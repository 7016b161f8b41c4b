package deliver

import (
	"context"
	"errors"
	"strings"

	"postoffice/deliver/local"
	"postoffice/internal/alias"
	"postoffice/internal/smtp"
	"postoffice/spool"
)

// A StepKind says what follows from a recipient.
type StepKind int

const (
	StepFailed  StepKind = iota // Outcome says why it goes nowhere, now or ever
	StepExpand                  // it stands for Targets
	StepAsk                     // a file says what it stands for, which User reads: Router.Ask
	StepMailbox                 // the mailbox of Account, unless it has a .forward and Final is not set
	StepRun                     // a program or a file, with the rights of User
	StepRemote                  // another machine, unless its domain is local by DNS: Router.ResolveHere
	StepChanged                 // an item that the files no longer have: Router.Again; Outcome where that is no help
)

// A Step is what one recipient leads to. The queue run and the dry run take the
// same ones.
type Step struct {
	Kind    StepKind
	Outcome Outcome // of StepFailed

	Via         spool.Via    // of StepExpand and StepAsk: what is looked up
	Targets     []local.Line // of StepExpand; File is "" where the configuration says it
	ReversePath *smtp.Path   // of StepExpand: where failures are reported from here on; nil: as before

	Account   local.Account // of StepMailbox
	Final     bool          // into the mailbox whatever .forward says
	User      string        // of StepAsk and StepRun: with whose rights
	Item      local.Item    // of StepAsk and StepRun: what is read or run
	Extension string        // the detail of user+detail

	mapping alias.Mapping // of a StepAsk in a personal alias file
}

func failed(o Outcome) Step { return Step{Outcome: o} }

// Resolve says what a recipient leads to. It reads the alias file and asks for
// accounts, and nothing else.
func (r *Router) Resolve(ctx context.Context, l *Lead) Step {
	switch {
	case l.Kind == spool.Program:
		return r.item(ctx, l)
	case l.Kind == spool.Mailbox:
		return r.ownMailbox(ctx, l)
	case !r.isStatic(l.Path.Domain):
		return Step{Kind: StepRemote}
	}
	return r.ResolveHere(ctx, l)
}

// ResolveHere is Resolve for an address whose domain is known to be local.
func (r *Router) ResolveHere(ctx context.Context, l *Lead) Step {
	f, o := r.find(ctx, l.Path.Local, l.own)
	switch {
	case o != nil:
		return failed(*o)
	case f.alias.Name != "":
		return r.byAlias(ctx, l, f.alias)
	case f.account.Name != "":
		return r.toMailbox(l, f)
	case f.mapping.Entry != "":
		return r.byUsermap(ctx, l, f.mapping)
	}
	return failed(refusal("5.1.1", f.missing))
}

// found is what a local name is: one of alias, account and mapping, or nothing.
type found struct {
	alias     alias.Entry
	account   local.Account
	mapping   alias.Mapping
	extension string
	missing   string // why there is nobody of that name
}

// find looks a name up: as an alias, as an account, as both without its
// detail, and in usermap (original.md section 5.2). What skip names is passed
// over: the name stands in there itself.
func (r *Router) find(ctx context.Context, name string, skip func(spool.Via) bool) (f found, o *Outcome) {
	later := func(text string, err error) (found, *Outcome) {
		o := deferral("4.3.0", text, err)
		return f, &o
	}
	base, detail, parted := r.split(name)
	for _, as := range []struct{ name, extension string }{{name, ""}, {base, detail}} {
		f.extension = as.extension
		if !skip(spool.Via{Source: spool.FromAlias, Name: alias.Key(as.name)}) {
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
		if !errors.Is(err, local.ErrNoUser) {
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
	if !skip(spool.Via{Source: spool.FromUsermap, Name: name}) {
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
	var user local.Account
	m, _, err := r.usermap.Match(name, func(name string) (string, bool, error) {
		var err error
		user, err = r.o.Accounts.Lookup(ctx, name)
		if errors.Is(err, local.ErrNoUser) {
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
func (r *Router) byAlias(ctx context.Context, l *Lead, e alias.Entry) Step {
	s := Step{Kind: StepExpand, Via: spool.Via{Source: spool.FromAlias, Name: alias.Key(e.Name)}}
	if end, looped := r.closed(ctx, l, s.Via); looped {
		return end
	}
	if o := r.inexpansible(ctx, l, e); o != nil {
		return failed(*o)
	}
	file := ""
	if r.o.Aliases != nil && e.Line > 0 {
		file = r.o.Aliases.Path()
	}
	for _, t := range e.Targets {
		s.Targets = append(s.Targets, local.Line{Target: t, File: file, Line: e.Line})
	}
	owner, err := r.owner(ctx, l, s.Via.Name)
	if err != nil {
		return failed(deferral("4.3.0", "the aliases can't be read now", err))
	}
	s.ReversePath = owner
	return s
}

// owner is the reverse-path of what goes to an alias that has an owner: its
// failures are the owner's to mend. Owners' own names have owner-owner. A
// null reverse-path stays null.
func (r *Router) owner(ctx context.Context, l *Lead, key string) (*smtp.Path, error) {
	name := "owner-" + key
	if isOwner(key) {
		name = "owner-owner"
	}
	if l.ReversePath.IsNull() || name == key {
		return nil, nil
	}
	switch _, err := r.lookupAlias(ctx, name); {
	case errors.Is(err, alias.ErrNotFound):
		return nil, nil
	case err != nil:
		return nil, err
	}
	return &smtp.Path{Local: name, Domain: r.o.Hostname}, nil
}

// closed says whether l is to be expanded by what led to it. A .forward that
// leads back means its user's mailbox (B53); else it is a mistake in the
// configuration, and somebody can mend it while the mail waits.
func (r *Router) closed(ctx context.Context, l *Lead, v spool.Via) (end Step, looped bool) {
	names, user := l.circle(v)
	if names == nil {
		return end, false
	}
	if user != "" {
		return r.mailboxOf(ctx, user), true
	}
	return failed(leadsBack(v, names)), true
}

// leadsBack is the outcome of a circle.
func leadsBack(v spool.Via, names []string) Outcome {
	return deferral("4.4.6", string(v.Source)+" "+printable(names[0], 100)+": it leads back to itself: "+printable(strings.Join(names, " -> "), 400), nil)
}

// toMailbox leads to the mailbox of an account. One who has forwarded the
// message himself, and gets it back, keeps it.
func (r *Router) toMailbox(l *Lead, f found) Step {
	return Step{
		Kind: StepMailbox, Account: f.account, Extension: f.extension,
		Final: l.Kind == spool.Mailbox || l.passed(spool.Via{Source: spool.FromForward, Name: f.account.Name}),
	}
}

// ownMailbox leads to the mailbox that \user names.
func (r *Router) ownMailbox(ctx context.Context, l *Lead) Step {
	aliases := func(v spool.Via) bool { return true }
	f, o := r.find(ctx, l.Path.Local, aliases)
	switch {
	case o != nil:
		return failed(*o)
	case f.account.Name == "":
		return failed(refusal("5.1.1", f.missing))
	}
	return r.toMailbox(l, f)
}

// mailboxOf leads to a user's mailbox, whatever his .forward says.
func (r *Router) mailboxOf(ctx context.Context, user string) Step {
	return r.ownMailbox(ctx, &Lead{Kind: spool.Mailbox, Path: smtp.Path{Local: user}})
}

// byUsermap leads where option usermap says, or to the personal alias file that
// does.
func (r *Router) byUsermap(ctx context.Context, l *Lead, m alias.Mapping) Step {
	s := Step{
		Kind: StepAsk, Via: spool.Via{Source: spool.FromUsermap, Name: l.Path.Local}, mapping: m,
		User: m.User, Item: local.Item{Source: local.FromUsermap, Name: l.Path.Local},
	}
	if end, looped := r.closed(ctx, l, s.Via); looped {
		return end
	}
	if len(m.Files) > 0 {
		return s
	}
	return r.listed(l, s, nil)
}

// item says who runs a program, writes a file or reads a list, which the spool
// names by its hash alone.
func (r *Router) item(ctx context.Context, l *Lead) Step {
	a := l.Agent
	s := Step{
		Kind: StepRun, User: r.o.DefaultUser, Extension: r.detail(l),
		Item: local.Item{Source: string(a.Source), Name: a.Name, Hash: a.Hash},
	}
	switch a.Source {
	case spool.FromForward:
		s.User = a.Name
		return s
	case spool.FromUsermap:
		m, err := r.mapping(ctx, a.Name)
		switch {
		case err != nil:
			return failed(deferral("4.3.0", "option usermap or the user database can't be read now", err))
		case m.Then != nil && m.Then.Hash() == a.Hash:
			return s
		case len(m.Files) > 0:
			s.User = m.User
			return s
		}
		return Step{Kind: StepChanged, Outcome: changed(a)}
	}
	e, err := r.lookupAlias(ctx, a.Name)
	if err != nil && !errors.Is(err, alias.ErrNotFound) {
		return failed(deferral("4.3.0", "the aliases can't be read now", err))
	}
	for _, t := range e.Targets {
		if t.Hash() != a.Hash {
			continue
		}
		if t.Kind == alias.Include {
			s.Kind, s.Via = StepAsk, spool.Via{Source: spool.FromList, Name: a.Name}
		}
		return s
	}
	return Step{Kind: StepChanged, Outcome: changed(a)}
}

// changed is the outcome for an item that is not there any more.
func changed(a *spool.Agent) Outcome {
	return deferral("4.3.5", string(a.Source)+" "+printable(a.Name, 100)+" was changed since this message was expanded: it is looked up again at the next attempt", nil)
}
