package resolver

import (
	"context"
	"errors"
	"net/netip"

	"github.com/miekg/dns"

	"postoffice/internal/smtp"
)

// Addrs returns the A and AAAA addresses of host, IPv4 and IPv6 in turn, or
// the address of a [literal]. ErrNotFound: there is no such name; an empty list
// without an error: the name has no address. Address records of one family are
// enough when the other family's question fails.
func (r *Resolver) Addrs(ctx context.Context, host string) ([]netip.Addr, error) {
	if a, ok := smtp.ParseLiteral(host); ok {
		return []netip.Addr{a}, nil
	}
	name, ok := hostName(host)
	if !ok {
		return nil, notFound(question{host, dns.TypeA}, "not a host name")
	}
	type result struct {
		records []record
		err     error
	}
	six := make(chan result)
	go func() {
		recs, err := r.lookup(ctx, r.forMail, name, dns.TypeAAAA)
		six <- result{recs, err}
	}()
	v4, err4 := r.lookup(ctx, r.forMail, name, dns.TypeA)
	v6 := <-six
	addrs := interleave(addrsOf(v4), addrsOf(v6.records))
	if len(addrs) > 0 {
		return addrs, nil
	}
	return nil, worse(err4, v6.err)
}

// HostAddrs is Addrs for a name that the administrator wrote: /etc/hosts is
// asked first, and localhost needs no DNS (RFC 6761 section 6.3).
func (r *Resolver) HostAddrs(ctx context.Context, host string) ([]netip.Addr, error) {
	if addrs := r.HostsFile(host); len(addrs) > 0 {
		return addrs, nil
	}
	return r.Addrs(ctx, host)
}

// HostsFile returns what /etc/hosts says of host, nothing if it is silent.
func (r *Resolver) HostsFile(host string) []netip.Addr {
	name, ok := hostName(host)
	if !ok {
		return nil
	}
	addrs := r.hosts.lookup(name)
	if len(addrs) == 0 && loopbackName(name) {
		return []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()}
	}
	var v4, v6 []netip.Addr
	for _, a := range addrs {
		if a.Is4() {
			v4 = append(v4, a)
		} else {
			v6 = append(v6, a)
		}
	}
	return interleave(v4, v6)
}

// worse picks the error to report when neither family gave an address: a
// temporary one, since it may hide addresses, before a definite one.
func worse(err4, err6 error) error {
	if errors.Is(err4, ErrTemporary) {
		return err4
	}
	if errors.Is(err6, ErrTemporary) {
		return err6
	}
	if err4 == nil || err6 == nil {
		return nil // the name exists for one type, so it exists
	}
	return err4
}

func addrsOf(recs []record) []netip.Addr {
	var addrs []netip.Addr
	for _, r := range recs {
		addrs = append(addrs, r.addr)
	}
	return addrs
}

// interleave mixes the families, so that a broken one costs every second try
// only. IPv4 begins: peers ask less of it (no PTR rules of its own).
func interleave(v4, v6 []netip.Addr) []netip.Addr {
	var all []netip.Addr
	for i := range max(len(v4), len(v6)) {
		if i < len(v4) {
			all = append(all, v4[i])
		}
		if i < len(v6) {
			all = append(all, v6[i])
		}
	}
	return all
}
