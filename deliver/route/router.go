package route

import (
	"cmp"
	"context"
	"errors"

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
	static map[string]bool // folded names that are local without a question

	usermap *alias.Usermap
}

// New returns a Router. What is wrong with an entry of Usermap is told when a
// name may be meant by it.
func New(o Options) *Router {
	usermap, _ := alias.ParseUsermap(o.Usermap)
	r := &Router{usermap: usermap, o: o.filled(), static: map[string]bool{"": true, "localhost": true}}
	for _, d := range append([]string{o.Hostname}, o.LocalDomains...) {
		r.static[smtp.DomainKey(d)] = true
	}
	if name, ok := resolver.LocalhostIn(smtp.Fold(o.Hostname)); ok {
		r.static[name] = true
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
	if !r.o.LocalByDNS || smtp.IsLiteral(domain) {
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
	if r.static[smtp.DomainKey(domain)] {
		return true, nil
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
	why, err := r.missing(ctx, p.Local, true)
	return why == "" && err == nil, err
}

// HasNoAccount reports whether there certainly is no account of that name.
func (r *Router) HasNoAccount(ctx context.Context, name string) bool {
	_, err := r.o.Accounts.Lookup(ctx, name)
	return errors.Is(err, account.ErrNoUser)
}

// missing returns why there is nobody called name, "" if there is somebody.
// Nothing is expanded; a personal alias file is asked whether it has the name.
// Accounts that can have no mailbox are nobody to strangers; what this machine
// sends them waits until somebody gives them an alias.
func (r *Router) missing(ctx context.Context, name string, trusted bool) (why string, err error) {
	switch smtp.Fold(name) {
	case "postmaster", "root":
		return "", nil
	}
	f, o := r.find(ctx, name, func(envelope.Via) bool { return false })
	switch {
	case o != nil:
		return "", o.Cause()
	case f.account.Name != "" && !trusted && r.noMailbox(f.account):
		return noUser, nil
	case f.alias.Name != "", f.account.Name != "", f.mapping.Then != nil:
		return "", nil
	case f.mapping.Entry == "":
		return f.missing, nil
	}
	lines, err := r.o.Users.List(ctx, local.Listing{User: f.mapping.User, Item: local.Item{Source: local.FromUsermap, Name: name}})
	if len(lines) == 0 && err == nil {
		return f.missing, nil
	}
	return "", err
}

// noMailbox reports whether no mailbox of ours can be the account's. An LMTP
// server has its own.
func (r *Router) noMailbox(a account.Account) bool {
	return r.Store() == "" && a.CheckMailbox() != nil
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

// NotRelayed is the status of Recipient for what is not local and whose client
// may not send elsewhere.
const NotRelayed = "5.7.1"

// Recipient returns the answer to RCPT: a zero Reply means that to is accepted.
// A trusted client's foreign domains are accepted without any question to
// DNS; a stranger may send to what is local and nowhere else.
// The error is for the log: strangers are not told what is wrong here.
func (r *Router) Recipient(ctx context.Context, to smtp.Path, trusted bool) (smtp.Reply, error) {
	if envelope.CheckRecipient(to) != nil { // nothing could be queued for it
		return smtp.Reply{Code: 553, Status: "5.1.3", Text: "no mailbox has such a name, check the address"}, nil // an address that no message in the queue can have
	}
	isLocal := r.IsStatic(to.Domain)
	if !isLocal && trusted {
		return smtp.Reply{}, nil
	}
	if !isLocal {
		var err error
		isLocal, err = r.IsLocal(ctx, to.Domain)
		pooled := false
		if r.o.MXPool && !isLocal && err == nil {
			pooled, err = r.isBackup(ctx, to.Domain)
		}
		switch {
		case pooled:
			return smtp.Reply{}, nil
		case err != nil:
			return smtp.Reply{Code: 451, Status: "4.4.3", Text: "the name service does not answer for that domain, try again later"}, nil // whether a domain is ours is not known now
		case !isLocal:
			return smtp.Reply{Code: 550, Status: NotRelayed, Text: "no mail is relayed to that domain for you, send it through the server that serves you"}, nil // a stranger, and a domain that is not ours
		}
	}
	switch why, err := r.missing(ctx, to.Local, trusted); {
	case err != nil:
		return smtp.Reply{Code: 451, Status: "4.3.0", Text: "the user database can't be read now, try again later"}, err // accounts or aliases: the log says more
	case why != "" && !trusted:
		return smtp.Reply{Code: 550, Status: "5.1.1", Text: noUser + ", check the address"}, nil // neither an alias, nor an account, nor in option usermap
	case why != "":
		return smtp.Reply{Code: 550, Status: "5.1.1", Text: why + ", check the address"}, nil // the same, for a trusted client: why it is no account of mail
	}
	return smtp.Reply{}, nil
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
