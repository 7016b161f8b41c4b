package remote

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"postoffice/internal/smtp"
	"postoffice/resolver"
)

// RelayHost is a parsed relay-host option.
//
//	192.0.2.1  [192.0.2.1]  [IPv6:2001:db8::1]   that address
//	[name]                                       the addresses of name, no MX
//	name                                         /etc/hosts, else its MX, else its addresses
//
// Each may be followed by :port. An IPv6 address with a port needs brackets.
type RelayHost struct {
	Name string     // "" when it is an address
	Addr netip.Addr // valid when it is an address
	MX   bool       // the MX records of Name count
	Port int        // 0: none given
}

// ParseRelayHost reads the text of a relay-host option.
func ParseRelayHost(text string) (RelayHost, error) {
	var h RelayHost
	if a, err := netip.ParseAddr(text); err == nil {
		return RelayHost{Addr: a.Unmap()}, nil
	}
	host, port, err := splitPort(text)
	if err != nil {
		return h, err
	}
	h.Port = port
	inner, bracketed := strings.CutPrefix(host, "[")
	if bracketed {
		if inner, bracketed = strings.CutSuffix(inner, "]"); !bracketed {
			return h, fmt.Errorf("%q: want a closing bracket", text)
		}
	}
	if a, ok := smtp.ParseLiteral("[" + inner + "]"); ok {
		h.Addr = a
		return h, nil
	}
	if !resolver.IsHostName(inner) {
		return h, fmt.Errorf("%q: want a host name or an [address], with or without :port", text)
	}
	h.Name, h.MX = inner, !bracketed
	return h, nil
}

// splitPort takes a :port off the end, where a colon outside brackets is one.
func splitPort(text string) (host string, port int, err error) {
	i := strings.LastIndexByte(text, ':')
	if i < 0 || i < strings.LastIndexByte(text, ']') {
		return text, 0, nil
	}
	port, err = strconv.Atoi(text[i+1:])
	if err != nil || port < 1 || port > 65535 {
		return "", 0, fmt.Errorf("%q: want a port from 1 to 65535 behind the colon", text)
	}
	return text[:i], port, nil
}

// String returns the option's text in its plainest form.
func (h RelayHost) String() string {
	host := h.Name
	if h.Addr.IsValid() {
		host = "[" + h.Addr.String() + "]"
	} else if !h.MX {
		host = "[" + host + "]"
	}
	if h.Port == 0 {
		return host
	}
	return host + ":" + strconv.Itoa(h.Port)
}

// RelayHops returns the hosts that relay-host names, best first. Whatever goes
// wrong is a deferral: the option, the smarthost and the DNS can be mended, and
// the mail must be there then.
func (r *Router) RelayHops(ctx context.Context, text string) ([]Target, error) {
	h, err := ParseRelayHost(text)
	if err != nil {
		return nil, deferral(fmt.Errorf("relay-host: %w", err))
	}
	port := h.Port
	if port == 0 {
		port = r.port()
	}
	if h.Addr.IsValid() {
		return []Target{{Host: smtp.FormatLiteral(h.Addr), Addrs: []netip.Addr{h.Addr}, Port: port}}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, hopTimeout)
	defer cancel()
	targets, err := r.relayTargets(ctx, h)
	if err != nil {
		return nil, deferral(fmt.Errorf("relay-host %s: %w", text, err))
	}
	for i := range targets {
		targets[i].Port = port
	}
	return targets, nil
}

// relayTargets looks a relay-host's name up. Where its MX records lead is the
// DNS's word, not the administrator's, so the rules of NextHops hold there.
func (r *Router) relayTargets(ctx context.Context, h RelayHost) ([]Target, error) {
	if addrs := r.Resolver.HostsFile(h.Name); len(addrs) > 0 {
		return []Target{{Host: h.Name, Addrs: addrs[:min(len(addrs), maxAddrs)]}}, nil
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
	return []Target{{Host: h.Name, Addrs: addrs[:min(len(addrs), maxAddrs)]}}, nil
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
