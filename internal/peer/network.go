package peer

import "net/netip"

// Network returns what counts as one address of somebody's: an IPv4 address, or
// the /64 that an IPv6 site is given. A zone is dropped.
func Network(a netip.Addr) netip.Prefix {
	a = a.Unmap()
	bits := 32
	if a.Is6() {
		bits = 64
	}
	p, _ := a.Prefix(bits) // the zero Addr is a key too
	return p
}

// Site returns the /56 and the /48 around an IPv6 address: what one customer is
// given, who so has hundreds of networks. IPv4 has none.
func Site(a netip.Addr) (networks []netip.Prefix) {
	if a = a.Unmap(); !a.Is6() {
		return nil
	}
	for _, bits := range []int{56, 48} {
		p, _ := a.Prefix(bits) // cannot fail: it has as many
		networks = append(networks, p)
	}
	return networks
}
