package resolver

import (
	"context"
	"fmt"
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

	mu    sync.Mutex
	addrs []netip.Addr // as they could be read last
	read  time.Time
	err   error // why they can't be read now, told once; again after it worked in between
}

func (n *interfaces) init(o Options) {
	n.list, n.log = o.Interfaces, o.Log
}

// current returns the interface addresses; while they can't be read, as they
// were before, with an error.
func (n *interfaces) current() ([]netip.Addr, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.err == nil && !n.read.IsZero() && time.Since(n.read) < interfacesAge {
		return n.addrs, nil
	}
	n.read = time.Now()
	addrs, err := n.list()
	if err != nil {
		if n.err == nil {
			n.log.LogAttrs(context.Background(), slog.LevelWarn, "interface addresses not readable", maillog.Err(err),
				maillog.Reason("mail for addresses that may be ours waits until they are"))
		}
		n.err = fmt.Errorf("the addresses of this host can't be listed: %w", err)
		return n.addrs, n.err
	}
	n.addrs, n.err = addrs, nil
	return addrs, nil
}

// IsOurs reports whether a is loopback or an address of one of our interfaces.
// While the interfaces can't be read those count that were there before, and of
// others an error says that it isn't known.
func (r *Resolver) IsOurs(a netip.Addr) (bool, error) {
	a = a.Unmap().WithZone("")
	if a.IsLoopback() {
		return true, nil
	}
	addrs, err := r.ours.current()
	if slices.Contains(addrs, a) {
		return true, nil
	}
	return false, err
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
