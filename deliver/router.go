package deliver

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"strings"

	"postoffice/deliver/local"
	"postoffice/internal/alias"
	"postoffice/internal/maillog"
	"postoffice/internal/smtp"
	"postoffice/resolver"
	"postoffice/spool"
)

// A Router says what is local and who exists here. It keeps no state of its
// own and may be used by any number of goroutines.
type Router struct {
	o      Options
	static map[string]bool // folded names that are local without a question

	usermap *alias.Usermap
}

// NewRouter returns a Router; of o it needs Hostname, Resolver, LocalDomains,
// LocalByDNS, Aliases, Accounts, Postmaster, Usermap, Delimiter, Log and, for
// usermap and DryRun, DefaultUser and Local. What is wrong with an entry of
// Usermap is told when a name may be meant by it.
func NewRouter(o Options) *Router {
	usermap, _ := alias.ParseUsermap(o.Usermap)
	r := &Router{usermap: usermap, o: o.filled(), static: map[string]bool{"": true, "localhost": true}}
	for _, d := range append([]string{o.Hostname}, o.LocalDomains...) {
		r.static[fold(d)] = true
	}
	return r
}

// IsLocal says whether mail for domain stays on this machine. What needs no
// DNS is decided without it; an error means that DNS could not tell now.
func (r *Router) IsLocal(ctx context.Context, domain string) (bool, error) {
	if r.isStatic(domain) {
		return true, nil
	}
	if !r.o.LocalByDNS || isLiteral(domain) {
		return false, nil
	}
	return r.isOursByDNS(ctx, domain)
}

// isStatic says whether domain is local whatever DNS says.
func (r *Router) isStatic(domain string) bool {
	if r.static[fold(domain)] {
		return true
	}
	a, ok := literal(domain)
	return ok && r.o.Resolver.IsOurs(a)
}

// isOursByDNS says whether a best MX of domain, or without MX its own
// address, is an address of this machine. Loopback addresses don't count:
// anybody can publish them.
func (r *Router) isOursByDNS(ctx context.Context, domain string) (bool, error) {
	mxs, err := r.o.Resolver.MX(ctx, domain)
	switch {
	case errors.Is(err, resolver.ErrNotFound), errors.Is(err, resolver.ErrNullMX):
		return false, nil
	case err != nil:
		return false, err
	}
	for _, mx := range mxs {
		if mx.Pref != mxs[0].Pref {
			break
		}
		addrs, err := r.o.Resolver.Addrs(ctx, mx.Host)
		if errors.Is(err, resolver.ErrNotFound) {
			continue
		}
		if err != nil {
			return false, err
		}
		for _, a := range addrs {
			if a = a.Unmap(); !a.IsLoopback() && !a.IsUnspecified() && r.o.Resolver.IsOurs(a) {
				return true, nil
			}
		}
	}
	return false, nil
}

// Exists says whether the local part of p is an alias, an account or in
// usermap; postmaster and root always are there. The domain of p is taken to be local. An
// error means that a database could not tell now: later, never "no".
func (r *Router) Exists(ctx context.Context, p smtp.Path) (bool, error) {
	why, err := r.missing(ctx, p.Local)
	return why == "" && err == nil, err
}

// missing returns why there is nobody called name, "" if there is somebody.
// Nothing is expanded; a personal alias file is asked whether it has the name.
func (r *Router) missing(ctx context.Context, name string) (why string, err error) {
	switch fold(name) {
	case "postmaster", "root":
		return "", nil
	}
	f, o := r.find(ctx, name, func(spool.Via) bool { return false })
	switch {
	case o != nil:
		return "", o.err()
	case f.alias.Name != "", f.account.Name != "", f.mapping.Then != nil:
		return "", nil
	case f.mapping.Entry == "":
		return f.missing, nil
	}
	lines, err := r.o.Local.List(ctx, local.Listing{User: f.mapping.User, Item: local.Item{Source: local.FromUsermap, Name: name}})
	if len(lines) == 0 && err == nil {
		return f.missing, nil
	}
	return "", err
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
	switch fold(name) {
	case "postmaster":
		to = "root"
	case "root":
		to = r.o.Postmaster
	}
	if to == "" || fold(to) == fold(name) {
		return alias.Entry{}, alias.ErrNotFound
	}
	return alias.Entry{Name: name, Targets: []alias.Target{{Kind: alias.Address, Path: smtp.Path{Local: to}}}}, nil
}

// Recipient is the answer to RCPT: a zero Reply means that to is accepted.
// A trusted client's foreign domains are accepted without any question to
// DNS; a stranger may send to what is local and nowhere else.
func (r *Router) Recipient(ctx context.Context, to smtp.Path, trusted bool) smtp.Reply {
	if spool.CheckRecipient(to) != nil { // nothing could be queued for it
		return smtp.Reply{Code: 553, Status: "5.1.3", Text: "no mailbox has such a name"}
	}
	isLocal := r.isStatic(to.Domain)
	if !isLocal && trusted {
		return smtp.Reply{}
	}
	if !isLocal {
		var err error
		isLocal, err = r.IsLocal(ctx, to.Domain)
		switch {
		case err != nil:
			return smtp.Reply{Code: 451, Status: "4.4.3", Text: "the name service does not answer for that domain, try again later"}
		case !isLocal:
			return smtp.Reply{Code: 550, Status: "5.7.1", Text: "no mail is relayed to that domain for you"}
		}
	}
	switch why, err := r.missing(ctx, to.Local); {
	case err != nil: // strangers are not told what is wrong
		r.o.Log.LogAttrs(ctx, slog.LevelWarn, "recipient not known now", maillog.To(to), maillog.Err(err))
		return smtp.Reply{Code: 451, Status: "4.3.0", Text: "the user database can't be read now, try again later"}
	case why != "":
		return smtp.Reply{Code: 550, Status: "5.1.1", Text: why}
	}
	return smtp.Reply{}
}

// noUserWords tells a client why there is no such user: the reason of the
// accounts where they give one of their own.
func noUserWords(err error) string {
	if words := err.Error(); err != local.ErrNoUser && words != "" {
		return printable(words, 400)
	}
	return "no such user here"
}

// fold makes ASCII letters small and leaves every other octet alone.
func fold(s string) string {
	b := []byte(s)
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}

func isLiteral(domain string) bool { return strings.HasPrefix(domain, "[") }

// literal returns the address of "[1.2.3.4]" or "[IPv6:::1]".
func literal(domain string) (netip.Addr, bool) {
	s, ok := strings.CutPrefix(domain, "[")
	if !ok {
		return netip.Addr{}, false
	}
	s, ok = strings.CutSuffix(s, "]")
	if !ok {
		return netip.Addr{}, false
	}
	if len(s) > 5 && fold(s[:5]) == "ipv6:" {
		s = s[5:]
	}
	a, err := netip.ParseAddr(s)
	return a.Unmap(), err == nil && a.Zone() == ""
}
