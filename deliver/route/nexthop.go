package route

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"postoffice/deliver/outcome"
	"postoffice/deliver/remote"
	"postoffice/internal/smarthost"
	"postoffice/internal/smtp"
	"postoffice/resolver"
)

// relayDomain is relay-host's place among the domains.
const relayDomain = "\x00relay"

// A NextHop says where the mail of a domain goes: to our own mailboxes, to
// hosts, or nowhere.
type NextHop struct {
	Local      bool
	remote.Hop                  // the hosts: all domains with the same exchangers have the same
	Failure    *outcome.Outcome // why there are none
}

func noHop(err error) NextHop {
	o := outcome.Of(err)
	return NextHop{Failure: &o}
}

// What a line of Options.Routes says, as a HopName: where to, and behind a NUL the domain
// that may yet be local; or words; or that it isn't known, and the domain.
const (
	routeTo    = "\x00to "
	routeError = "\x00error "
	routeLater = "\x00later "
)

// HopName returns the name under which the next hop of a recipient's domain is
// looked up and remembered, for mail with this reverse-path.
func (r *Router) HopName(reverse smtp.Path, domain string) string {
	if !r.o.Routes.Known() {
		return routeLater + smtp.Fold(domain)
	}
	if w, named, ok := r.o.Routes.Find(r.Qualified(reverse), domain); ok && !w.Local {
		here := ""
		if !named && r.o.LocalByDNS {
			here = smtp.Fold(domain)
		}
		if w.Error != "" {
			return routeError + w.Error + "\x00" + here
		}
		return routeTo + w.Host.String() + "\x00" + here
	}
	if r.o.RelayHost != "" && !r.o.LocalByDNS && !r.o.OnlyKnown {
		return relayDomain // they all go there
	}
	return smtp.Fold(domain)
}

// routed takes the name of a line of Options.Routes apart.
func routed(name string) (to, words, domain string, ok bool) {
	to, isTo := strings.CutPrefix(name, routeTo)
	words, isError := strings.CutPrefix(name, routeError)
	switch {
	case isTo:
		to, domain, _ = strings.Cut(to, "\x00")
		return to, "", domain, true
	case isError:
		words, domain, _ = strings.Cut(words, "\x00")
		return "", words, domain, true
	}
	return "", "", name, false
}

// routesLine is file and line of what this HopName of a recipient came of, "" where that
// is no line of Options.Routes.
func (r *Router) routesLine(n *Node, name string) string {
	if _, _, _, isRouted := routed(name); !isRouted {
		return ""
	}
	w, _, _ := r.o.Routes.Find(r.Qualified(n.ReversePath), n.Path.Domain)
	return fmt.Sprintf("%s:%d", r.o.Routes.Path(), w.Line)
}

// AsksNothing reports whether finding the next hop of name needs no DNS: it is
// an address.
func (r *Router) AsksNothing(name string) bool {
	if to, words, domain, ok := routed(name); ok {
		h, err := smarthost.Parse(to)
		return domain == "" && (words != "" || err == nil && h.Addr.IsValid())
	}
	if r.o.RelayHost == "" {
		return smtp.IsLiteral(name)
	}
	h, err := smarthost.Parse(r.o.RelayHost)
	return (err != nil || h.Addr.IsValid()) && (!r.o.LocalByDNS && !r.o.OnlyKnown || smtp.IsLiteral(name))
}

// NextHop decides where mail goes whose domain, of this HopName, is not local
// by its name. Where DNS does not say now whether it is ours, it goes to what
// other exchangers DNS knows of, and with a relay-host there.
func (r *Router) NextHop(ctx context.Context, name string) NextHop {
	if strings.HasPrefix(name, routeLater) {
		return noHop(errors.New("the file of option routes can't be read; the log says why")) // the next attempt asks again
	}
	to, words, domain, isRouted := routed(name)
	var unknown error // whether it is ours
	if r.o.LocalByDNS && domain != "" && domain != relayDomain && !smtp.IsLiteral(domain) {
		var ours bool
		if ours, unknown = r.isOursByDNS(ctx, domain); ours {
			return NextHop{Local: true}
		}
	}
	switch {
	case words != "":
		o := outcome.Refusal("5.7.1", words, nil)
		return NextHop{Failure: &o}
	case isRouted:
		return r.relayHop(ctx, to)
	}
	hop := r.remoteHop(ctx, name)
	if hop.Failure != nil && unknown != nil && r.o.RelayHost == "" {
		return noHop(unknown) // whatever it says by now, it may be ours
	}
	return hop
}

// remoteHop returns the next hop of a domain that is not ours.
func (r *Router) remoteHop(ctx context.Context, name string) NextHop {
	if r.o.RelayHost != "" && !r.isUnknown(ctx, name) {
		return r.relayHop(ctx, r.o.RelayHost)
	}
	hops := r.hops()
	targets, err := hops.NextHops(ctx, name)
	if err != nil {
		return noHop(err)
	}
	return NextHop{Hop: remote.HopTo(targets)}
}

// relayHop returns the next hop that is a smarthost.
func (r *Router) relayHop(ctx context.Context, to string) NextHop {
	hops := r.hops()
	hop, err := hops.RelayHops(ctx, to)
	if err != nil {
		return noHop(err)
	}
	return NextHop{Hop: hop}
}

func (r *Router) hops() remote.Router {
	return remote.Router{Resolver: r.o.Resolver, Hostname: r.o.Hostname, Port: r.o.SMTPPort}
}

// isUnknown reports whether mail for a domain is kept from the relay-host, since DNS
// says that there is no such domain. What it doesn't say now keeps nothing.
func (r *Router) isUnknown(ctx context.Context, name string) bool {
	if !r.o.OnlyKnown || name == relayDomain || smtp.IsLiteral(name) {
		return false
	}
	_, err := r.o.Resolver.MX(ctx, name)
	return errors.Is(err, resolver.ErrNotFound)
}
