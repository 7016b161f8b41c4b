package peer

import (
	"net/netip"
	"slices"
	"sync"
)

const (
	siteShare  = 4  // of all places for an IPv6 /56: one in so many; for a /48 two
	maxWaiting = 10 // clients of one address that wait for their turn
)

// Strangers counts the clients from elsewhere that are served, and those that wait
// until another of their address has gone. Who waits has a place, in all and in
// each network, but never the last one, and loses it to whoever could be served and
// would find none: nobody is kept out by those who wait. The zero value is empty.
type Strangers struct {
	mu      sync.Mutex // guards what follows
	inside  map[netip.Prefix]int
	served  map[netip.Prefix]int         // of these, by address
	waiting map[netip.Prefix][]*Stranger // the others, by address, first come first
}

// StrangerPlaces are how many there are.
type StrangerPlaces struct {
	All     int // negative: no limit
	Address int // that are served at a time from one address, see Network; 0: no limit, for networks either
}

// A Stranger has a place.
type Stranger struct {
	all      *Strangers
	networks []netip.Prefix // it is counted for these: the address in front, everybody last
	limit    int            // of those that are served from the address; 0: none
	turn     chan bool      // nil: nobody stood in the way

	waits, gone bool // all.mu guards them
}

// everybody is what all strangers are counted for. No address is in it.
var everybody netip.Prefix

// Enter takes a place for a client, to be served or to wait for that; nil is that
// there is none.
func (s *Strangers) Enter(a netip.Addr, p StrangerPlaces) *Stranger {
	st := &Stranger{all: s, networks: []netip.Prefix{everybody}, limit: p.Address}
	if p.Address > 0 {
		st.networks = append(append([]netip.Prefix{Network(a)}, Site(a)...), everybody)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	address := st.networks[0]
	st.waits = !s.free(st)
	if st.waits && len(s.waiting[address]) >= maxWaiting || !s.makeRoom(st, p) {
		return nil
	}
	if s.inside == nil {
		s.inside, s.served, s.waiting = map[netip.Prefix]int{}, map[netip.Prefix]int{}, map[netip.Prefix][]*Stranger{}
	}
	for _, n := range st.networks {
		s.inside[n]++
	}
	if st.waits {
		st.turn = make(chan bool, 1)
		s.waiting[address] = append(s.waiting[address], st)
	} else {
		s.served[address]++
	}
	return st
}

// free reports whether one more may be served from the address.
func (s *Strangers) free(st *Stranger) bool {
	return st.limit == 0 || s.served[st.networks[0]] < st.limit
}

// makeRoom reports whether there is a place for st in all that it counts for. Who
// can be served gets one of those who wait there.
func (s *Strangers) makeRoom(st *Stranger, p StrangerPlaces) bool {
	if p.All < 0 {
		return true
	}
	var last *Stranger // of those who wait in the narrowest network that is full
	for i, n := range st.networks {
		limit := p.All
		switch {
		case n == everybody:
		case i == 0:
			continue // that is for free to say
		default:
			limit = max(p.All*i/siteShare, p.Address)
		}
		switch {
		case st.waits && s.inside[n]+1 >= limit:
			return false
		case s.inside[n] < limit || last != nil:
			continue
		}
		if last = s.lastIn(n); last == nil {
			return false
		}
	}
	if last != nil {
		s.remove(last)
		last.turn <- false
	}
	return true
}

// lastIn returns who came last of those who wait in a network, of the address that
// has most of them; nil is nobody.
func (s *Strangers) lastIn(n netip.Prefix) (last *Stranger) {
	most := 0
	for address, all := range s.waiting {
		if len(all) > most && (n == everybody || n.Contains(address.Addr())) {
			most, last = len(all), all[len(all)-1]
		}
	}
	return last
}

// remove takes st out.
func (s *Strangers) remove(st *Stranger) {
	st.gone = true
	address := st.networks[0]
	if st.waits {
		s.unwait(st)
	} else if s.served[address]--; s.served[address] == 0 {
		delete(s.served, address)
	}
	for _, n := range st.networks {
		if s.inside[n]--; s.inside[n] == 0 {
			delete(s.inside, n)
		}
	}
}

// unwait takes st out of the line of its address.
func (s *Strangers) unwait(st *Stranger) {
	address := st.networks[0]
	all := s.waiting[address]
	i := slices.Index(all, st)
	if all = slices.Delete(all, i, i+1); len(all) > 0 {
		s.waiting[address] = all
	} else {
		delete(s.waiting, address)
	}
}

// Turn returns nil for who is served at once; else what tells, once, that it is the
// client's turn, or with false that its place went to another.
func (st *Stranger) Turn() <-chan bool { return st.turn }

// Leave gives the place back. Who waits for it is served then.
func (st *Stranger) Leave() {
	s := st.all
	s.mu.Lock()
	defer s.mu.Unlock()
	if st.gone {
		return
	}
	s.remove(st)
	for all := s.waiting[st.networks[0]]; len(all) > 0 && s.free(all[0]); all = s.waiting[st.networks[0]] {
		next := all[0]
		s.unwait(next)
		next.waits = false
		s.served[next.networks[0]]++
		next.turn <- true
	}
}

// Served returns how many are served.
func (s *Strangers) Served() (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n = s.inside[everybody]
	for _, all := range s.waiting {
		n -= len(all)
	}
	return n
}

// Inside returns how many have places.
func (s *Strangers) Inside() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.inside[everybody]
}
