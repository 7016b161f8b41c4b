package resolver

import (
	"context"
	"math/rand/v2"
	"sort"

	"github.com/miekg/dns"
)

// An MX is one host that takes mail for a domain.
type MX struct {
	Host     string // lower case, no final dot
	Pref     uint16 // lower is better
	Implicit bool   // the domain itself: it has no MX records (RFC 5321 section 5.1)
	Signed   bool   // DNSSEC vouches for the record, says a server whose word counts (trust-ad in resolv.conf)
}

// MX returns the exchangers of domain, best first and in random order among
// equals; without MX records the domain itself. Whether that has an address is
// a question for Addrs. Errors are ErrNotFound, ErrNullMX and ErrTemporary.
func (r *Resolver) MX(ctx context.Context, domain string) ([]MX, error) {
	name, ok := hostName(domain)
	q := question{domain, dns.TypeMX}
	if !ok {
		return nil, notFound(q, "not a domain name")
	}
	q.name = name
	recs, signed, err := r.lookupSigned(ctx, r.forMail, name, dns.TypeMX)
	if err != nil {
		return nil, err
	}
	if len(recs) == 0 {
		return []MX{{Host: name, Implicit: true, Signed: signed}}, nil
	}
	if len(recs) == 1 && recs[0].host == "." {
		return nil, &Error{Question: q.String(), Kind: ErrNullMX}
	}
	var list []MX
	for _, rec := range recs {
		if host, ok := hostName(rec.host); ok {
			list = append(list, MX{Host: host, Pref: rec.pref, Signed: signed})
		}
	}
	if len(list) == 0 {
		return nil, temporary(q, "no exchanger has a host name", nil)
	}
	shuffleEquals(list)
	return list, nil
}

// shuffleEquals spreads the load over hosts of one preference (RFC 5321
// section 5.1). The list is sorted already.
func shuffleEquals(list []MX) {
	rand.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	sort.SliceStable(list, func(i, j int) bool { return list[i].Pref < list[j].Pref })
}

// TXT returns the texts of a name, each record's strings joined, in the form that miekg/dns
// prints them in: octets other than printable ASCII, quotes and \ have a \ in front. A name
// without any has none; the error is ErrNotFound or ErrTemporary.
func (r *Resolver) TXT(ctx context.Context, name string) ([]string, error) {
	host, ok := hostName(name)
	if !ok {
		return nil, notFound(question{name, dns.TypeTXT}, "not a domain name")
	}
	recs, err := r.lookup(ctx, r.forClients, host, dns.TypeTXT)
	if err != nil {
		return nil, err
	}
	var texts []string
	for _, rec := range recs {
		texts = append(texts, rec.text)
	}
	return texts, nil
}
