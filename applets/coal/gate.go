package coal

import (
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"postoffice/internal/peer"
)

// Gate decides whom the master keeps out when its server asks for it.
type Gate struct {
	// Ours returns this machine's addresses, as they are now.
	Ours func() ([]netip.Addr, error)

	mu      sync.Mutex // guards what follows
	trusted []netip.Prefix
	spare   float64 // requests that may come at once
	asked   time.Time
}

const (
	maxAtOnce  = 60 // requests to keep a client out that the master does at once, after a minute without any
	maxASecond = 1  // of them in the long run, each second
)

// ErrTooMany says that there were many requests just now.
var ErrTooMany = errors.New("too many clients to keep out at once")

// Trust says whom never to keep out, beside this machine.
func (g *Gate) Trust(trusted []netip.Prefix) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.trusted = trusted
}

// Judge returns what is to be kept out for an address: it alone, or its /64. The error
// says why nothing is. Of what a translator passes on nothing is: all of IPv4 is in one
// /64 there.
func (g *Gate) Judge(now time.Time, a netip.Addr) (netip.Prefix, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.take(now) {
		return netip.Prefix{}, ErrTooMany
	}
	a = a.Unmap()
	if _, translated := peer.Translated(a); translated || !a.IsGlobalUnicast() && !a.IsLinkLocalUnicast() {
		return netip.Prefix{}, fmt.Errorf("%s is no one client's address", a)
	}
	p := peer.Network(a)
	ours, err := g.Ours()
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("read this machine's addresses: %w", err)
	}
	for _, our := range ours {
		if p.Contains(our.Unmap().WithZone("")) {
			return netip.Prefix{}, fmt.Errorf("%s has this machine's address %s", p, our)
		}
	}
	for _, t := range g.trusted {
		if t.Overlaps(p) {
			return netip.Prefix{}, fmt.Errorf("%s has addresses of options trusted, proxy-from or xclient-from (%s)", p, t)
		}
	}
	return p, nil
}

// take takes one of the requests that may come now.
func (g *Gate) take(now time.Time) bool {
	if g.asked.IsZero() {
		g.spare = maxAtOnce
	} else {
		g.spare = min(g.spare+max(now.Sub(g.asked).Seconds(), 0)*maxASecond, maxAtOnce)
	}
	g.asked = now
	if g.spare < 1 {
		return false
	}
	g.spare--
	return true
}
