package route

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"postoffice/deliver/outcome"
	"postoffice/internal/account"
	"postoffice/internal/alias"
	"postoffice/internal/smtp"
	"postoffice/spool/envelope"
)

// Virtual knows domains whose users have no account on this machine. Domains are
// given as smtp.DomainKey has them, and an error that is neither alias.ErrNotFound
// nor account.ErrNoUser means later.
type Virtual interface {
	IsVirtual(domain string) (bool, error)
	// Alias returns what a name stands for in its domain; "*" is the domain's
	// wildcard. The entry's File is that of the domain.
	Alias(ctx context.Context, domain, name string) (alias.Entry, error)
	// User returns the user of that name as an account whose Name is the address
	// (account.SplitVirtual).
	// Quota is what the line of the user says, and -1 that there is no bound.
	User(ctx context.Context, domain, name string) (account.Account, error)
	// Used returns how many octets are in a user's mailbox; what readers say of it is
	// believed where it is enough or less.
	Used(ctx context.Context, domain, name string, enough int64) (int64, error)
}

// wildcard is the alias for all names of a virtual domain that are neither alias nor
// user.
const wildcard = "*"

// virtual returns the virtual domain of a path, "" where it is none.
func (r *Router) virtual(domain string) (key string, err error) {
	key = smtp.DomainKey(domain)
	if r.o.Virtual == nil || r.own[key] || smtp.IsLiteral(domain) {
		return "", nil
	}
	yes, err := r.o.Virtual.IsVirtual(key)
	if !yes {
		return "", err
	}
	return key, nil
}

// IsVirtual reports whether a domain is a virtual one. What isn't known now is none.
func (r *Router) IsVirtual(domain string) bool {
	key, _ := r.virtual(domain)
	return key != ""
}

// isVirtual reports whether an account is a user of a virtual domain.
func isVirtual(a account.Account) bool { return isVirtualName(a.Name) }

func isVirtualName(name string) bool {
	_, _, ok := account.SplitVirtual(name)
	return ok
}

// BoxName is the name of the mailbox that the address of a delivered recipient led
// to, but for its case and a detail.
func (r *Router) BoxName(p smtp.Path) string {
	if domain, _ := r.virtual(p.Domain); domain != "" {
		return p.Local + "@" + domain
	}
	return p.Local
}

// findVirtual is find for a name of a virtual domain. Its users are found before the
// wildcard, and postmaster and abuse, if nothing else is, are the machine's.
func (r *Router) findVirtual(ctx context.Context, domain, name string, skip func(envelope.Via) bool) (f found, o *outcome.Outcome) {
	later := func(err error) (found, *outcome.Outcome) {
		o := outcome.Deferral("4.3.0", "the users of that domain can't be read now", err)
		return f, &o
	}
	skipped := func(name string) bool {
		return skip(envelope.Via{Source: envelope.FromAlias, Name: alias.Key(name) + "@" + domain})
	}
	f.missing = noUser
	base, detail, parted := r.Split(name)
	for _, as := range []struct{ name, extension string }{{name, ""}, {base, detail}} {
		f.extension = as.extension
		if !skipped(as.name) {
			e, err := r.virtualAlias(ctx, domain, as.name, name)
			if err == nil {
				f.alias = e
				return f, nil
			}
			if !errors.Is(err, alias.ErrNotFound) {
				return later(err)
			}
		}
		a, err := r.o.Virtual.User(ctx, domain, as.name)
		if err == nil {
			f.account = r.bounded(a)
			return f, nil
		}
		if !errors.Is(err, account.ErrNoUser) {
			return later(err)
		}
		if !parted {
			break
		}
	}
	f.extension = ""
	if !skipped(wildcard) {
		e, err := r.virtualAlias(ctx, domain, wildcard, name)
		if err == nil {
			f.alias = e
			return f, nil
		}
		if !errors.Is(err, alias.ErrNotFound) {
			return later(err)
		}
	}
	switch key := smtp.Fold(name); {
	case (key == "postmaster" || key == "abuse") && !skipped(key):
		f.alias = alias.Entry{Name: key + "@" + domain, Targets: []alias.Target{{Kind: alias.Address, Path: smtp.Path{Local: "postmaster"}}}}
	}
	return f, nil
}

// virtualAlias returns what an alias of a virtual domain stands for, under its whole
// name, where it is looked up for the name of an address: a wildcard's *@domain is
// that name there. Bare names are of the same domain. Programs, files and lists are
// none of it: whoever may write the file has no rights here (B77).
func (r *Router) virtualAlias(ctx context.Context, domain, name, of string) (alias.Entry, error) {
	e, err := r.o.Virtual.Alias(ctx, domain, name)
	if err != nil {
		return e, err
	}
	e.Name = name + "@" + domain
	for i, t := range e.Targets {
		switch {
		case t.Kind != alias.Address && t.Kind != alias.Mailbox:
			return e, fmt.Errorf("%s:%d: %s is %s, and an alias of a virtual domain names addresses alone: take it out", e.File, e.Line, t, t.Kind)
		case t.Path.Domain == "":
			e.Targets[i].Path.Domain = domain
		case name == wildcard && t.Path.Local == wildcard:
			e.Targets[i].Path.Local = of
		}
	}
	return e, nil
}

// aliasNamed returns the alias that an expansion was by.
func (r *Router) aliasNamed(ctx context.Context, name string, n *Node) (alias.Entry, error) {
	local, domain, ok := account.SplitVirtual(name)
	if !ok || r.o.Virtual == nil {
		return r.lookupAlias(ctx, name)
	}
	if yes, err := r.o.Virtual.IsVirtual(domain); !yes {
		if err == nil {
			err = alias.ErrNotFound
		}
		return alias.Entry{}, err
	}
	return r.virtualAlias(ctx, domain, local, n.Path.Local)
}

// belowVirtual is below for a name of a virtual domain.
func (r *Router) belowVirtual(ctx context.Context, domain string, t alias.Target) (e alias.Entry, ok bool) {
	f, o := r.findVirtual(ctx, domain, t.Path.Local, func(envelope.Via) bool { return false })
	return f.alias, o == nil && f.alias.Name != ""
}

// virtualOwner is owner for an alias of a virtual domain.
func (r *Router) virtualOwner(ctx context.Context, domain, key string) (*smtp.Path, error) {
	name := ownerName(key)
	if name == key || strings.Contains(key, wildcard) {
		return nil, nil
	}
	switch _, err := r.virtualAlias(ctx, domain, name, name); {
	case errors.Is(err, alias.ErrNotFound):
		return nil, nil
	case err != nil:
		return nil, err
	}
	return &smtp.Path{Local: name, Domain: domain}, nil
}
