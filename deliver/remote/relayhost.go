package remote

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"

	"postoffice/internal/smarthost"
	"postoffice/internal/smtp"
	"postoffice/resolver"
)

// RelayHops returns the hosts that a smarthost's text names, best first. Whatever goes
// wrong is a deferral: the option, the smarthost and the DNS can be mended, and the
// mail must be there then.
func (r *Router) RelayHops(ctx context.Context, text string) (Hop, error) {
	h, err := smarthost.Parse(text)
	if err != nil {
		return Hop{}, deferral(fmt.Errorf("relay-host: %w", err))
	}
	port := h.PortOr(r.port())
	if h.Addr.IsValid() {
		return HopToRelay(h, []Target{{Host: smtp.FormatLiteral(h.Addr), Addrs: []netip.Addr{h.Addr}, Port: port, Vouched: true}}), nil
	}
	ctx, cancel := context.WithTimeout(ctx, hopTimeout)
	defer cancel()
	targets, err := r.relayTargets(ctx, h)
	if err != nil {
		return Hop{}, deferral(fmt.Errorf("relay-host %s: %w", h, err))
	}
	for i := range targets {
		targets[i].Port = port
	}
	return HopToRelay(h, targets), nil
}

// relayTargets looks a smarthost's name up. Where its MX records lead is the
// DNS's word, not the administrator's, so the rules of NextHops hold there.
func (r *Router) relayTargets(ctx context.Context, h smarthost.Host) ([]Target, error) {
	if addrs := r.Resolver.HostsFile(h.Name); len(addrs) > 0 {
		return []Target{{Host: h.Name, Addrs: addrs[:min(len(addrs), maxAddrs)], Vouched: true}}, nil
	}
	if h.MX {
		list, err := r.Resolver.MX(ctx, h.Name)
		switch {
		case errors.Is(err, resolver.ErrNotFound): // some servers say so of all but addresses
		case err != nil:
			return nil, err
		case !list[0].Implicit:
			return r.exchangers(ctx, h.Name, list)
		}
	}
	addrs, err := r.Resolver.Addrs(ctx, h.Name)
	if err != nil {
		return nil, err
	}
	if len(addrs) == 0 {
		return nil, errors.New("it has no address")
	}
	return []Target{{Host: h.Name, Addrs: addrs[:min(len(addrs), maxAddrs)], Vouched: true}}, nil
}

// relayName is the log's and the notes' form of one peer: name[address]:port;
// a host given as an address has no name before it.
func relayName(t Target, a netip.Addr) string {
	name := t.Host
	if smtp.IsLiteral(name) {
		name = ""
	}
	return name + "[" + a.String() + "]:" + strconv.Itoa(t.Port)
}

func dialAddr(a netip.Addr, port int) string {
	return net.JoinHostPort(a.String(), strconv.Itoa(port))
}
