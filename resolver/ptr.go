package resolver

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"
)

const (
	maxNames    = 5               // PTR names of one address that are checked
	nameTimeout = 5 * time.Second // all questions about one address: a client is waiting
)

// ErrForged is an address whose PTR records name no host that has it.
var ErrForged = errors.New("the name of the address does not lead back to it")

// Name returns the name of a if a's PTR record names a host that has a as one
// of its addresses. Names that are no host names are not used (A63). The error is
// ErrNotFound where there are no PTR records, ErrForged, or ErrTemporary, also
// after 5 seconds.
func (r *Resolver) Name(ctx context.Context, a netip.Addr) (string, error) {
	a = a.Unmap().WithZone("")
	ctx, cancel := context.WithTimeout(ctx, nameTimeout)
	defer cancel()
	arpa, err := dns.ReverseAddr(a.String())
	if err != nil {
		return "", ErrNotFound
	}
	recs, err := r.lookup(ctx, r.forClients, strings.TrimSuffix(arpa, "."), dns.TypePTR)
	if err != nil {
		return "", err
	}
	if len(recs) == 0 {
		return "", ErrNotFound
	}
	failure := ErrForged
	qtype := dns.TypeA
	if a.Is6() {
		qtype = dns.TypeAAAA
	}
	for _, rec := range recs[:min(len(recs), maxNames)] {
		name, ok := hostName(rec.host)
		if !ok {
			continue
		}
		back, err := r.lookup(ctx, r.forClients, name, qtype)
		switch {
		case err == nil && slices.Contains(addrsOf(back), a):
			return name, nil
		case errors.Is(err, ErrTemporary):
			failure = err
		}
	}
	return "", failure
}
