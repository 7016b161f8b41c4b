package peer

import "net/netip"

// Network returns what counts as one address of somebody's: an IPv4 address, or
// the /64 that an IPv6 site is given. Of what a translator passes on it is the IPv4
// address behind. A zone is dropped.
func Network(a netip.Addr) netip.Prefix {
	a = counted(a)
	bits := 32
	if a.Is6() {
		bits = 64
	}
	p, _ := a.Prefix(bits) // the zero Addr is a key too
	return p
}

// Site returns the /56 and the /48 around an IPv6 address: what one customer is
// given, who so has hundreds of networks. IPv4 has none, nor has what a translator
// passes on.
func Site(a netip.Addr) (networks []netip.Prefix) {
	if a = counted(a); !a.Is6() {
		return nil
	}
	for _, bits := range []int{56, 48} {
		p, _ := a.Prefix(bits) // cannot fail: it has as many
		networks = append(networks, p)
	}
	return networks
}

// counted is the address that a client counts by, wherever addresses are counted.
func counted(a netip.Addr) netip.Addr {
	a = a.Unmap()
	if v4, ok := Translated(a); ok && v4.IsGlobalUnicast() {
		return v4
	}
	return a
}

// Translated returns the IPv4 address of whom a translator shows with an IPv6 address: of
// 64:ff9b::/96, in the last 32 bits, or of 64:ff9b:1::/48, where a network chooses the
// place (RFC 8215). All of IPv4 is in one /64 there, or in one /48. RFC 6052 section 2.2
// has the places: what is behind the address is zero, so that tells which one it is, but
// for addresses that end with zeros themselves, which then are another address, and one
// for all that.
func Translated(a netip.Addr) (v4 netip.Addr, ok bool) {
	b := a.As16()
	if b[0] != 0 || b[1] != 0x64 || b[2] != 0xff || b[3] != 0x9b {
		return netip.Addr{}, false
	}
	zeros := 0 // at the end
	for zeros < 12 && b[15-zeros] == 0 {
		zeros++
	}
	at := [4]int{12, 13, 14, 15}
	switch [2]byte(b[4:6]) {
	case [2]byte{0, 0}: // 64:ff9b::/96
		if [6]byte(b[6:12]) != [6]byte{} {
			return netip.Addr{}, false
		}
	case [2]byte{0, 1}: // 64:ff9b:1::/48; octet 8 belongs to none
		switch {
		case zeros >= 5: // a prefix of 48 bits
			at = [4]int{6, 7, 9, 10}
		case zeros == 4: // of 56
			at = [4]int{7, 9, 10, 11}
		case zeros == 3: // of 64
			at = [4]int{9, 10, 11, 12}
		}
	default:
		return netip.Addr{}, false
	}
	return netip.AddrFrom4([4]byte{b[at[0]], b[at[1]], b[at[2]], b[at[3]]}), true
}
