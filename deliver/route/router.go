package route

import (
	"cmp"
	"context"
	"errors"
	"maps"

	"postoffice/deliver/local"
	"postoffice/internal/account"
	"postoffice/internal/alias"
	"postoffice/internal/smtp"
	"postoffice/resolver"
	"postoffice/spool/envelope"
)

// A Router says what is local and who exists here. It keeps no state of its
// own and may be used by any number of goroutines.
type Router struct {
	o      Options
	own    map[string]bool // folded names that are this machine's, and never virtual
	static map[string]bool // those that are local without a question

	usermap *alias.Usermap
}

// New returns a Router. What is wrong with an entry of Usermap is told when a
// name may be meant by it.
func New(o Options) *Router {
	usermap, _ := alias.ParseUsermap(o.Usermap)
	r := &Router{usermap: usermap, o: o.filled(), own: map[string]bool{"": true, "localhost": true, smtp.DomainKey(o.Hostname): true}}
	if name, ok := resolver.LocalhostIn(smtp.Fold(o.Hostname)); ok {
		r.own[name] = true
	}
	r.static = maps.Clone(r.own)
	for _, d := range o.LocalDomains {
		r.static[smtp.DomainKey(d)] = true
	}
	return r
}

// IsLocal reports whether mail for domain stays on this machine. What needs no
// DNS is decided without it; an error means that DNS could not tell now.
func (r *Router) IsLocal(ctx context.Context, domain string) (bool, error) {
	static, err := r.isStatic(domain)
	if static || err != nil {
		return static, err
	}
	if _, named := r.o.Routes.Domain(domain); named || !r.o.LocalByDNS || smtp.IsLiteral(domain) {
		return false, nil
	}
	return r.isOursByDNS(ctx, domain)
}

// IsStatic reports whether domain is local whatever DNS says.
func (r *Router) IsStatic(domain string) bool {
	static, _ := r.isStatic(domain)
	return static
}

// isStatic is IsStatic with an error where that isn't known now: the names and
// addresses of this host can't be read.
func (r *Router) isStatic(domain string) (bool, error) {
	if w, named := r.o.Routes.Domain(domain); named && !r.own[smtp.DomainKey(domain)] {
		return w.Local, nil
	}
	if r.static[smtp.DomainKey(domain)] {
		return true, nil
	}
	if key, err := r.virtual(domain); key != "" || err != nil {
		return key != "", err
	}
	if a, ok := smtp.ParseLiteral(domain); ok {
		return r.o.Resolver.IsOurs(a)
	}
	return r.o.Resolver.IsLocalName(domain)
}

// isOursByDNS reports whether a best MX of domain, or without MX its own
// address, is an address of this machine.
func (r *Router) isOursByDNS(ctx context.Context, domain string) (bool, error) {
	return r.exchanges(ctx, domain, true)
}

// Exchanges reports whether any MX of domain, or without MX its own address, is an
// address of this machine. An error means that DNS could not tell now.
func (r *Router) Exchanges(ctx context.Context, domain string) (bool, error) {
	return r.exchanges(ctx, domain, false)
}

// isBackup reports whether this machine is an MX of domain and another is a better
// one.
func (r *Router) isBackup(ctx context.Context, domain string) (bool, error) {
	if smtp.IsLiteral(domain) {
		return false, nil
	}
	best, err := r.isOursByDNS(ctx, domain)
	if best || err != nil {
		return false, err
	}
	return r.Exchanges(ctx, domain)
}

// maxExchangers bounds the exchangers of a domain that are asked for.
const maxExchangers = 20

// exchanges looks at the best exchangers of a domain alone, or at all. Loopback
// addresses don't count: anybody can publish them.
func (r *Router) exchanges(ctx context.Context, domain string, best bool) (bool, error) {
	mxs, err := r.o.Resolver.MX(ctx, domain)
	switch {
	case errors.Is(err, resolver.ErrNotFound), errors.Is(err, resolver.ErrNullMX):
		return false, nil
	case err != nil:
		return false, err
	}
	var unknown error
	for _, mx := range mxs[:min(len(mxs), maxExchangers)] {
		if best && mx.Pref != mxs[0].Pref {
			break
		}
		addrs, err := r.o.Resolver.Addrs(ctx, mx.Host)
		if err != nil && !errors.Is(err, resolver.ErrNotFound) {
			unknown = err // an equal one may be ours
		}
		for _, a := range addrs {
			if a = a.Unmap(); a.IsLoopback() || a.IsUnspecified() {
				continue
			}
			ours, err := r.o.Resolver.IsOurs(a)
			if ours {
				return true, nil
			}
			unknown = cmp.Or(err, unknown)
		}
	}
	return false, unknown
}

// Exists reports whether the local part of p is an alias, an account or in
// usermap; postmaster and root always are there. The domain of p is taken to
// be local. An error means that a database could not tell now: later, never "no".
func (r *Router) Exists(ctx context.Context, p smtp.Path) (bool, error) {
	_, why, err := r.missing(ctx, p, true)
	return why == "" && err == nil, err
}

// HasNoAccount reports whether there certainly is no account of that name.
func (r *Router) HasNoAccount(ctx context.Context, name string) bool {
	if user, domain, ok := account.SplitVirtual(name); ok && r.o.Virtual != nil {
		_, err := r.o.Virtual.User(ctx, domain, user)
		return errors.Is(err, account.ErrNoUser)
	}
	_, err := r.o.Accounts.Lookup(ctx, name)
	return errors.Is(err, account.ErrNoUser)
}

// missing returns why there is nobody at p, "" if there is somebody, who is found.
// Nothing is expanded; a personal alias file is asked whether it has the name.
// Accounts that can have no mailbox are nobody to strangers; what this machine
// sends them waits until somebody gives them an alias.
func (r *Router) missing(ctx context.Context, p smtp.Path, trusted bool) (f found, why string, err error) {
	name := p.Local
	virtual, err := r.virtual(p.Domain)
	switch smtp.Fold(name) {
	case "postmaster", "root":
		if virtual == "" && err == nil {
			return f, "", nil
		}
	}
	f, o := r.find(ctx, p, func(envelope.Via) bool { return false })
	switch {
	case o != nil:
		return f, "", o.Cause()
	case f.account.Name != "" && !trusted && r.noMailbox(f.account):
		return f, noUser, nil
	case f.alias.Name != "", f.account.Name != "", f.mapping.Then != nil:
		return f, "", nil
	case f.mapping.Entry == "":
		return f, f.missing, nil
	}
	lines, err := r.o.Users.List(ctx, local.Listing{User: f.mapping.User, Item: local.Item{Source: local.FromUsermap, Name: name}})
	if len(lines) == 0 && err == nil {
		return f, f.missing, nil
	}
	return f, "", err
}

// noMailbox reports whether no mailbox of ours can be the account's. An LMTP
// server has its own.
func (r *Router) noMailbox(a account.Account) bool {
	return !isVirtual(a) && r.Store(a) == "" && a.CheckMailbox() != nil
}

// lookupAlias returns what name stands for; its Name is never "".
// postmaster without an alias is root, and root is Options.Postmaster.
func (r *Router) lookupAlias(ctx context.Context, name string) (alias.Entry, error) {
	if r.o.Aliases != nil {
		e, err := r.o.Aliases.Find(ctx, name)
		if !errors.Is(err, alias.ErrNotFound) {
			return e, err
		}
	}
	to := ""
	switch smtp.Fold(name) {
	case "postmaster":
		to = "root"
	case "root":
		to = r.o.Postmaster
	}
	if to == "" || smtp.Fold(to) == smtp.Fold(name) {
		return alias.Entry{}, alias.ErrNotFound
	}
	return alias.Entry{Name: name, Targets: []alias.Target{{Kind: alias.Address, Path: smtp.Path{Local: to}}}}, nil
}

const noUser = "no such user here"

// noUserWords is why there is no such user. What the user database says of it
// names files and programs of this machine, which nobody elsewhere is to know.
func noUserWords(err error) string {
	if only := (account.OnlyError{}); errors.As(err, &only) {
		return smtp.Printable(only.Error(), 400)
	}
	return noUser
}
