package rates

import (
	"hash/maphash"
	"iter"
	"net/netip"
	"slices"
)

// Networks of the table are kept in sets by a hash that nobody outside can know.
const (
	sets = 2048
	ways = 8 // networks in a set
)

// key is a network.
type key struct {
	addr [16]byte
	bits uint8 // of addr; 0: none
}

func keyOf(a netip.Addr, bits int) key {
	p, _ := a.Prefix(bits) // cannot fail but for the zero Addr, which is a key too
	k := key{addr: p.Addr().As16(), bits: uint8(bits)}
	if a.Is4() {
		k.bits += 96
	}
	return k
}

// network is what the key stands for, and its level.
func (k key) network() (netip.Prefix, level) {
	a, all := netip.AddrFrom16(k.addr), levels6
	bits := int(k.bits)
	if a.Is4In6() {
		a, all, bits = a.Unmap(), levels4, bits-96
	}
	for _, lv := range all {
		if lv.bits == bits {
			return netip.PrefixFrom(a, bits), lv
		}
	}
	return netip.Prefix{}, level{bits: bits, times: 1}
}

// entry is what a network has had.
type entry struct {
	key     key
	changed bool          // since Changed was called
	empty   [kinds]int64  // when nothing of it counts any more, in Unix nanoseconds
	refused [kinds]uint32 // since it was allowed the last time
}

// last is when nothing of the entry counts any more.
func (e *entry) last() int64 { return slices.Max(e.empty[:]) }

// store is the table. The zero store is empty, and takes its memory, 1.6 MB,
// with the first entry.
type store struct {
	seed    maphash.Seed
	entries []entry
}

// set is where a key may be.
func (s *store) set(k key) []entry {
	n := maphash.Comparable(s.seed, k) % sets * ways
	return s.entries[n : n+ways]
}

// find returns the entry of a key; nil: there is none.
func (s *store) find(k key) *entry {
	if s.entries == nil {
		return nil
	}
	set := s.set(k)
	for i := range set {
		if set[i].key == k {
			return &set[i]
		}
	}
	return nil
}

// make returns the entry of a key. Where it makes one, the one of its set goes that will
// be of no account the soonest.
func (s *store) make(k key) *entry {
	if e := s.find(k); e != nil {
		return e
	}
	if s.entries == nil {
		s.seed, s.entries = maphash.MakeSeed(), make([]entry, sets*ways)
	}
	set := s.set(k)
	e := &set[0]
	for i := range set {
		if set[i].last() < e.last() {
			e = &set[i]
		}
	}
	*e = entry{key: k}
	return e
}

// all are the entries of networks.
func (s *store) all() iter.Seq[*entry] {
	return func(yield func(*entry) bool) {
		for i := range s.entries {
			if e := &s.entries[i]; e.key.bits != 0 && !yield(e) {
				return
			}
		}
	}
}
