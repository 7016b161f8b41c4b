package peer

import (
	"net/netip"
	"slices"
)

// Networks are networks, of which the question whether an address is in one costs
// as many looks as there are lengths of them. The zero value has none.
type Networks struct {
	has     map[netip.Prefix]bool
	lengths []int
}

// Add adds a network, of which only the bits of its length count.
func (n *Networks) Add(p netip.Prefix) {
	if n.has == nil {
		n.has = map[netip.Prefix]bool{}
	}
	n.has[p.Masked()] = true
	if !slices.Contains(n.lengths, p.Bits()) {
		n.lengths = append(n.lengths, p.Bits())
	}
}

// Contains reports whether an address is in one of them; it has no zone.
func (n *Networks) Contains(a netip.Addr) bool {
	for _, bits := range n.lengths {
		if p, err := a.Prefix(bits); err == nil && n.has[p] {
			return true
		}
	}
	return false
}
