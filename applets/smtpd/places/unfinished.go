package places

import (
	"net/netip"
	"sync"

	"postoffice/internal/peer"
)

// Unfinished counts the octets of messages that are being received: they are on the
// disk, and nobody can say how long they stay there. The zero value is empty.
type Unfinished struct {
	mu  sync.Mutex
	all int64 // strangers', in all and for each network
	of  map[netip.Prefix]int64
	by  map[int]int64 // of this machine's programs, for each user
}

// Take counts n octets of an address, if with them all have at most half of what is
// free, the octets that they have included, and the networks that it belongs to
// half of what the others leave of that: so there is room for whoever comes next.
func (u *Unfinished) Take(from netip.Addr, n, spare int64) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	half := u.all/2 + spare/2
	for _, network := range networksOf(from) {
		if has := u.of[network]; has+n > (half-u.all+has)/2 {
			return false
		}
	}
	u.add(from, n)
	return true
}

// Drop takes back what Take counted.
func (u *Unfinished) Drop(from netip.Addr, n int64) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.add(from, -n)
}

// add counts. The caller holds mu.
func (u *Unfinished) add(from netip.Addr, n int64) {
	if u.of == nil {
		u.of = map[netip.Prefix]int64{}
	}
	u.all += n
	for _, network := range networksOf(from) {
		if u.of[network] += n; u.of[network] <= 0 {
			delete(u.of, network)
		}
	}
}

// TakeBy counts n octets of a user of this machine, who has no more than what is
// free: whoever comes next finds as much as each of those before.
func (u *Unfinished) TakeBy(user int, n, spare int64) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.by[user]+n > spare {
		return false
	}
	if u.by == nil {
		u.by = map[int]int64{}
	}
	u.by[user] += n
	return true
}

// DropBy takes back what TakeBy counted.
func (u *Unfinished) DropBy(user int, n int64) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.by[user] -= n; u.by[user] <= 0 {
		delete(u.by, user)
	}
}

// networksOf are the networks for which a stranger counts: the address or its /64,
// and the sites around that.
func networksOf(a netip.Addr) []netip.Prefix {
	return append([]netip.Prefix{peer.Network(a)}, peer.Site(a)...)
}

// Held returns how many octets of strangers' are counted, and for how many networks
// and users anything is.
func (u *Unfinished) Held() (octets int64, networks, users int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.all, len(u.of), len(u.by)
}
