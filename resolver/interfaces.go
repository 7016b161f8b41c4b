package resolver

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"postoffice/internal/maillog"
)

const interfacesAge = 10 * time.Second // an address list older than this is read again

// interfaces knows this host's addresses.
type interfaces struct {
	list func() ([]netip.Addr, error)
	log  *slog.Logger

	mu     sync.Mutex
	addrs  []netip.Addr
	read   time.Time
	failed bool // told once; again after it worked in between
}

func (n *interfaces) init(o Options) {
	n.list, n.log = o.Interfaces, o.Log
}

// current returns the interface addresses, none while they can't be read.
func (n *interfaces) current() []netip.Addr {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.read.IsZero() && time.Since(n.read) < interfacesAge {
		return n.addrs
	}
	n.read = time.Now()
	addrs, err := n.list()
	if err != nil {
		if !n.failed {
			n.log.LogAttrs(context.Background(), slog.LevelWarn, "interface addresses not readable, only loopback is ours", maillog.Err(err))
		}
		n.addrs, n.failed = nil, true
		return nil
	}
	n.addrs, n.failed = addrs, false
	return addrs
}

// IsOurs reports whether a is loopback or an address of one of our interfaces.
// While the interfaces can't be read that is loopback alone, with one line in
// the log: the wrong guess the other way would trust strangers.
func (r *Resolver) IsOurs(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	return a.IsLoopback() || slices.Contains(r.ours.current(), a)
}

// interfaceAddrs lists the addresses of all interfaces, without zones.
func interfaceAddrs() ([]netip.Addr, error) {
	nets, err := net.InterfaceAddrs()
	if err != nil {
		return nil, err
	}
	var addrs []netip.Addr
	for _, n := range nets {
		p, ok := n.(*net.IPNet)
		if !ok {
			continue
		}
		if a, ok := netip.AddrFromSlice(p.IP); ok && !a.IsUnspecified() {
			addrs = append(addrs, a.Unmap())
		}
	}
	return addrs, nil
}
