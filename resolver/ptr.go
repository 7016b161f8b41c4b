package resolver

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"
)

const (
	maxNames    = 5                // PTR names of one address that are checked
	nameTimeout = 10 * time.Second // all questions about one address: a client is waiting
)

// Name returns the name of a if a's PTR record names a host that has a as one
// of its addresses, else "". Names that are no host names are not used (A63),
// and failures of any kind, 10 seconds without an answer too, mean no name.
func (r *Resolver) Name(ctx context.Context, a netip.Addr) string {
	a = a.Unmap().WithZone("")
	ctx, cancel := context.WithTimeout(ctx, nameTimeout)
	defer cancel()
	arpa, err := dns.ReverseAddr(a.String())
	if err != nil {
		return ""
	}
	recs, err := r.lookup(ctx, strings.TrimSuffix(arpa, "."), dns.TypePTR)
	if err != nil {
		return ""
	}
	qtype := dns.TypeA
	if a.Is6() {
		qtype = dns.TypeAAAA
	}
	for _, rec := range recs[:min(len(recs), maxNames)] {
		name, ok := hostName(rec.host)
		if !ok {
			continue
		}
		back, err := r.lookup(ctx, name, qtype)
		if err == nil && slices.Contains(addrsOf(back), a) {
			return name
		}
	}
	return ""
}
