package route

import (
	"context"
	"errors"

	"postoffice/deliver/outcome"
	"postoffice/deliver/remote"
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

// HopName returns the name under which the next hop of a recipient's domain is
// looked up and remembered.
func (r *Router) HopName(domain string) string {
	if r.o.RelayHost != "" && !r.o.LocalByDNS && !r.o.OnlyKnown {
		return relayDomain // they all go there
	}
	return smtp.Fold(domain)
}

// AsksNothing reports whether finding the next hop of name needs no DNS: it is
// an address.
func (r *Router) AsksNothing(name string) bool {
	if r.o.RelayHost == "" {
		return smtp.IsLiteral(name)
	}
	h, err := remote.ParseRelayHost(r.o.RelayHost)
	return (err != nil || h.Addr.IsValid()) && (!r.o.LocalByDNS && !r.o.OnlyKnown || smtp.IsLiteral(name))
}

// NextHop decides where mail goes whose domain, of this HopName, is not local
// by its name. Where DNS does not say now whether it is ours, it goes to what
// other exchangers DNS knows of, and with a relay-host there.
func (r *Router) NextHop(ctx context.Context, name string) NextHop {
	var unknown error // whether it is ours
	if r.o.LocalByDNS && !smtp.IsLiteral(name) {
		var ours bool
		if ours, unknown = r.isOursByDNS(ctx, name); ours {
			return NextHop{Local: true}
		}
	}
	hop := r.remoteHop(ctx, name)
	if hop.Failure != nil && unknown != nil && r.o.RelayHost == "" {
		return noHop(unknown) // whatever it says by now, it may be ours
	}
	return hop
}

// remoteHop returns the next hop of a domain that is not ours.
func (r *Router) remoteHop(ctx context.Context, name string) NextHop {
	hops := remote.Router{Resolver: r.o.Resolver, Hostname: r.o.Hostname, Port: r.o.SMTPPort}
	find, to := hops.NextHops, remote.HopTo
	if r.o.RelayHost != "" && !r.isUnknown(ctx, name) {
		find, to, name = hops.RelayHops, remote.HopToRelay, r.o.RelayHost
	}
	targets, err := find(ctx, name)
	if err != nil {
		return noHop(err)
	}
	return NextHop{Hop: to(targets)}
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
