package remote

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"postoffice/deliver/outcome"
	"postoffice/internal/smtp"
	"postoffice/resolver"
)

const (
	maxAddrs   = 20              // addresses tried in one attempt (A58)
	maxHosts   = 20              // exchangers whose addresses are asked for
	hopTimeout = 2 * time.Minute // all DNS questions of one attempt
)

// Resolver is what of *resolver.Resolver finding a next hop needs.
type Resolver interface {
	MX(ctx context.Context, domain string) ([]resolver.MX, error)
	Addrs(ctx context.Context, host string) ([]netip.Addr, error)
	HostsFile(host string) []netip.Addr
	IsOurs(a netip.Addr) (bool, error)
}

// A Target is one host with its addresses in the order to try them.
type Target struct {
	Host  string // a name, or an address literal in brackets
	Addrs []netip.Addr
	Port  int

	Vouched bool // nobody could have forged Host: a certificate for it is the right one
}

// Router finds next hops. It keeps nothing: each attempt decides anew.
type Router struct {
	Resolver Resolver
	Hostname string // ours: an exchanger of that name is this host
	Port     int    // of hosts found by MX, and of a relay-host without one; 0 is 25
}

func (r *Router) port() int {
	if r.Port == 0 {
		return 25
	}
	return r.Port
}

// NextHops returns the hosts that take mail for domain, a name or a literal,
// best first: the MX records before our own preference, or the domain's own
// addresses when it has no MX. The error is a *outcome.Failure: permanent for
// NXDOMAIN (5.1.2), a null MX (5.1.10), and a domain whose best exchanger is
// this host (5.4.6).
//
// A domain that exists without MX and address is deferred, as are too long
// CNAME chains: only the answers above are final (A41).
func (r *Router) NextHops(ctx context.Context, domain string) ([]Target, error) {
	ctx, cancel := context.WithTimeout(ctx, hopTimeout)
	defer cancel()
	if smtp.IsLiteral(domain) {
		return r.literal(domain)
	}
	list, err := r.Resolver.MX(ctx, domain)
	if err != nil {
		return nil, hopFailure(domain, err)
	}
	return r.exchangers(ctx, domain, list)
}

func (r *Router) literal(domain string) ([]Target, error) {
	a, ok := smtp.ParseLiteral(domain)
	if !ok {
		return nil, bounce(550, "5.1.2", domain+" is no address", nil)
	}
	ours, err := r.Resolver.IsOurs(a)
	switch {
	case nowhere(a) || ours:
		return nil, loopsBack(domain)
	case err != nil:
		return nil, deferral(err)
	}
	return []Target{{Host: domain, Addrs: []netip.Addr{a}, Port: r.port(), Vouched: true}}, nil
}

func loopsBack(domain string) error {
	return bounce(554, "5.4.6", "mail for "+domain+" leads back to this host, which does not serve it", nil)
}

// hopFailure gives resolver's errors their outcome.
func hopFailure(domain string, err error) *outcome.Failure {
	switch {
	case errors.Is(err, resolver.ErrTemporary):
		return deferral(err)
	case errors.Is(err, resolver.ErrNullMX):
		return bounce(556, "5.1.10", "domain "+domain+" takes no mail (null MX)", err)
	case errors.Is(err, resolver.ErrNotFound):
		return noDomain(domain, err)
	}
	return deferral(err)
}

func noDomain(domain string, err error) *outcome.Failure {
	return bounce(550, "5.1.2", "domain "+domain+" does not exist", err)
}

// nowhere reports addresses that an MX must not lead to whoever we are: they
// are this host's in disguise, or no host's (A58).
func nowhere(a netip.Addr) bool {
	zero := netip.PrefixFrom(netip.IPv4Unspecified(), 8)
	return !a.IsValid() || a.IsLoopback() || a.IsUnspecified() || a.IsMulticast() || zero.Contains(a)
}

// hops gathers targets from exchangers.
type hops struct {
	targets []Target
	addrs   int   // in targets
	ours    bool  // an exchanger is this host: those behind it lead away from the domain
	unsure  error // why an exchanger may be, for all that is known now
	nowhere bool  // an exchanger's addresses are loopback and the like
	missing int   // exchangers that don't exist
	hosts   int   // exchangers asked for
	err     error
}

// has reports an address that an earlier exchanger has as well.
func (h *hops) has(a netip.Addr) bool {
	return slices.ContainsFunc(h.targets, func(t Target) bool { return slices.Contains(t.Addrs, a) })
}

// exchangers looks up the hosts of list, one preference after the other, until
// there are addresses enough or one of them is this host: those of our own
// preference and worse are as far from the domain as we are (RFC 5321 section
// 5.1). Exchangers at loopback addresses, a common trick, are passed over.
func (r *Router) exchangers(ctx context.Context, domain string, list []resolver.MX) ([]Target, error) {
	var h hops
	implicit := len(list) > 0 && list[0].Implicit
	for len(list) > 0 && !h.ours && h.unsure == nil && h.addrs < maxAddrs && h.hosts < maxHosts {
		n := 1
		for n < len(list) && list[n].Pref == list[0].Pref {
			n++
		}
		better := h
		for _, mx := range list[:n] {
			r.exchanger(ctx, &h, mx.Host, vouched(domain, mx.Host, mx.Signed))
		}
		if h.ours || h.unsure != nil {
			better.ours, better.unsure = h.ours, h.unsure
			h = better
		}
		list = list[n:]
	}
	switch {
	case len(h.targets) > 0:
		return h.targets, nil
	case h.err != nil:
		return nil, deferral(h.err)
	case h.unsure != nil && !h.ours:
		return nil, deferral(h.unsure)
	case h.ours, h.nowhere:
		return nil, loopsBack(domain)
	case h.missing > 0 && implicit:
		return nil, noDomain(domain, nil)
	case h.missing > 0 && h.missing == h.hosts:
		return nil, bounce(550, "5.4.4", "no exchanger of "+domain+" exists", nil)
	}
	return nil, deferral(fmt.Errorf("no host of %s has an address", domain))
}

func (r *Router) exchanger(ctx context.Context, h *hops, host string, vouched bool) {
	if h.hosts == maxHosts {
		return
	}
	h.hosts++
	if r.Hostname != "" && smtp.EqualFold(strings.TrimSuffix(r.Hostname, "."), host) {
		h.ours = true
		return
	}
	addrs, err := r.Resolver.Addrs(ctx, host)
	if errors.Is(err, resolver.ErrNotFound) {
		h.missing++
		return
	}
	if err != nil {
		h.err = err
		return
	}
	var good []netip.Addr
	for _, a := range addrs {
		if nowhere(a) {
			h.nowhere = true
			continue
		}
		ours, err := r.Resolver.IsOurs(a)
		if ours || err != nil {
			h.ours, h.unsure = h.ours || ours, err
			return
		}
		if !slices.Contains(good, a) && !h.has(a) {
			good = append(good, a)
		}
	}
	if good = good[:min(len(good), maxAddrs-h.addrs)]; len(good) > 0 {
		h.targets = append(h.targets, Target{Host: host, Addrs: good, Port: r.port(), Vouched: vouched})
		h.addrs += len(good)
	}
}
