package smtpd

import (
	"net/netip"
	"sync"
	"time"
)

// limits counts the sessions that are open.
type limits struct {
	freed chan struct{} // gets a word when a place on Submission is given back

	mu      sync.Mutex
	open    [2]int // by Kind
	network map[netip.Prefix]int
	user    map[int]int

	load     float64
	loadErr  error
	loadTime time.Time
}

// take takes a place of kind k, if fewer than limit are taken.
func (l *limits) take(k Kind, limit int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open[k] >= limit {
		return false
	}
	l.open[k]++
	return true
}

// give gives a place back.
func (l *limits) give(k Kind) {
	l.mu.Lock()
	l.open[k]--
	l.mu.Unlock()
	if k == Submission {
		select {
		case l.freed <- struct{}{}:
		default: // a word is waiting already
		}
	}
}

// enter counts a session of c's among those of its address or user; false is
// one too many. What was counted is taken back by leave.
func (l *limits) enter(c *Client, o *Options) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case c.Kind == Submission && c.UID != 0:
		return count(&l.user, c.UID, max(o.Submissions/2, 1))
	case c.Kind == Port25 && !c.Local:
		limit := o.ClientsPerAddress
		if limit == 0 {
			limit = o.Clients
		}
		return count(&l.network, network(c.Addr.Addr()), limit)
	}
	return true
}

// leave takes back what enter counted.
func (l *limits) leave(c *Client) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case c.Kind == Submission && c.UID != 0:
		uncount(l.user, c.UID)
	case c.Kind == Port25 && !c.Local:
		uncount(l.network, network(c.Addr.Addr()))
	}
}

func count[K comparable](m *map[K]int, k K, limit int) bool {
	if (*m)[k] >= limit {
		return false
	}
	if *m == nil {
		*m = make(map[K]int)
	}
	(*m)[k]++
	return true
}

func uncount[K comparable](m map[K]int, k K) {
	if m[k]--; m[k] <= 0 {
		delete(m, k)
	}
}

// network is what counts as one address: an IPv4 address, or the /64 that an
// IPv6 site is given.
func network(a netip.Addr) netip.Prefix {
	bits := 32
	if a.Is6() {
		bits = 64
	}
	p, _ := a.Prefix(bits) // a zone is dropped; the zero Addr is a key too
	return p
}

// overloaded reports whether the load is above o.Load. The load is looked up
// once in five seconds; one that can't be read refuses nobody.
func (l *limits) overloaded(o *Options) (bool, error) {
	if o.Load <= 0 {
		return false, nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if now := time.Now(); l.loadTime.IsZero() || now.Sub(l.loadTime) > 5*time.Second {
		l.load, l.loadErr = o.LoadAverage()
		l.loadTime = now
		if l.loadErr != nil {
			return false, l.loadErr
		}
	}
	return l.loadErr == nil && l.load > o.Load, nil
}
