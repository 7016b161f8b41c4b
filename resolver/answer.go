package resolver

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/miekg/dns"

	"postoffice/internal/smtp"
)

const (
	maxAliases = 10 // CNAMEs followed for one name (R62, A58)
	maxRecords = 64 // records of one answer that are looked at
)

// answer is what one definite DNS message said of a question.
type answer struct {
	missing bool     // NXDOMAIN
	alias   string   // the name to ask next: the message ended in a CNAME
	aliases int      // CNAMEs followed within the message
	records []record // of the type asked; none: there are none
	ttl     time.Duration
	signed  bool // a server that we trust says that it checked the signatures
}

// record is one address, exchanger, name or text.
type record struct {
	addr netip.Addr
	host string // exchanger or PTR name, as miekg/dns prints it: not yet checked
	text string // of a TXT record, as miekg/dns prints it: with \ before what isn't plain
	pref uint16
}

// lookup answers q, following CNAMEs to other messages, from the cache where
// that knows, else in one of p's places. NXDOMAIN is ErrNotFound; no records is an empty answer.
func (r *Resolver) lookup(ctx context.Context, p places, name string, qtype uint16) ([]record, error) {
	recs, _, err := r.lookupSigned(ctx, p, name, qtype)
	return recs, err
}

// lookupSigned is lookup; signed says that DNSSEC vouches for the answer, and for each
// CNAME that led there.
func (r *Resolver) lookupSigned(ctx context.Context, p places, name string, qtype uint16) (recs []record, signed bool, err error) {
	first := question{name, qtype}
	q := first
	signed = true
	for left := maxAliases; ; {
		a, err := r.once(ctx, p, q)
		if err != nil {
			return nil, false, err
		}
		left -= a.aliases
		signed = signed && a.signed
		switch {
		case left < 0: // temporary: it is mended as a broken server is (A41)
			return nil, false, temporary(first, fmt.Sprintf("more than %d CNAMEs in a row", maxAliases), nil)
		case a.missing:
			return nil, false, notFound(first, "")
		case a.alias == "":
			return a.records, signed, nil
		}
		q = question{a.alias, qtype}
	}
}

// once answers q from the cache or by asking, together with all who ask the
// same at this moment.
func (r *Resolver) once(ctx context.Context, p places, q question) (answer, error) {
	if a, ok := r.cache.get(q); ok {
		return a, nil
	}
	return r.calls.do(ctx, q, func(ctx context.Context) (answer, error) {
		a, err := p.ask(ctx, r, q)
		if err == nil {
			r.cache.put(q, a)
		}
		return a, err
	})
}

// read takes the answer to q out of m. Records of other names or types are not
// looked at (B89). An error is a reason to ask the next server.
func read(m *dns.Msg, q question) (answer, error) {
	if m.Rcode != dns.RcodeSuccess && m.Rcode != dns.RcodeNameError {
		return answer{}, fmt.Errorf("said %s", rcodeWord(m.Rcode))
	}
	if lame(m) {
		return answer{}, errors.New("knows nothing of the name (lame delegation)")
	}
	a := answer{ttl: maxTTL}
	name, err := a.follow(m, q.name)
	if err != nil {
		return answer{}, err
	}
	if a.aliases > maxAliases {
		return a, nil
	}
	a.collect(m, question{name, q.qtype})
	soa, hasSOA := negativeTTL(m)
	switch {
	case m.Rcode == dns.RcodeNameError:
		a.missing, a.records = true, nil
	case len(a.records) == 0 && a.aliases > 0 && !hasSOA:
		a.alias = name // the server left the rest to us
		return a, nil
	}
	if len(a.records) == 0 {
		a.ttl = min(a.ttl, soa)
	}
	return a, nil
}

func rcodeWord(code int) string {
	if s, ok := dns.RcodeToString[code]; ok {
		return s
	}
	return fmt.Sprintf("code %d", code)
}

// lame: neither an answer nor authority nor somebody who would ask others.
func lame(m *dns.Msg) bool {
	_, soa := negativeTTL(m)
	return m.Rcode == dns.RcodeSuccess && len(m.Answer) == 0 && !m.Authoritative && !m.RecursionAvailable && !soa
}

// follow walks the CNAMEs of m from name and returns where they end. It stops
// after one too many.
func (a *answer) follow(m *dns.Msg, name string) (string, error) {
	for {
		next := ""
		for _, rr := range m.Answer {
			c, ok := rr.(*dns.CNAME)
			if ok && c.Hdr.Class == dns.ClassINET && sameName(c.Hdr.Name, name) {
				next = c.Target
				a.ttl = min(a.ttl, ttlOf(rr))
				break
			}
		}
		if next == "" {
			return name, nil
		}
		a.aliases++
		host, ok := aliasName(next)
		if !ok {
			return "", errors.New("sent a CNAME to something that is no name")
		}
		if name = host; a.aliases > maxAliases {
			return name, nil
		}
	}
}

// aliasName accepts what a CNAME may lead to. Classless delegation (RFC 2317)
// uses names as 0/25.2.0.192.in-addr.arpa, so "/" is allowed here.
func aliasName(s string) (string, bool) {
	if _, ok := hostName(strings.ReplaceAll(s, "/", "_")); !ok {
		return "", false
	}
	return smtp.Fold(strings.TrimSuffix(s, ".")), true
}

func sameName(wire, name string) bool {
	return smtp.EqualFold(strings.TrimSuffix(wire, "."), name)
}

// collect takes the records of q.
func (a *answer) collect(m *dns.Msg, q question) {
	for _, rr := range m.Answer {
		h := rr.Header()
		if h.Rrtype != q.qtype || h.Class != dns.ClassINET || !sameName(h.Name, q.name) {
			continue
		}
		rec, ok := recordOf(rr)
		if !ok || slices.Contains(a.records, rec) {
			continue
		}
		a.records = append(a.records, rec)
		a.ttl = min(a.ttl, ttlOf(rr))
	}
	sort.SliceStable(a.records, func(i, j int) bool { return a.records[i].pref < a.records[j].pref })
	a.records = slices.Clip(a.records[:min(len(a.records), maxRecords)])
}

func recordOf(rr dns.RR) (record, bool) {
	switch v := rr.(type) {
	case *dns.A:
		addr, ok := netip.AddrFromSlice(v.A)
		return record{addr: addr.Unmap()}, ok
	case *dns.AAAA:
		addr, ok := netip.AddrFromSlice(v.AAAA)
		return record{addr: addr.Unmap()}, ok
	case *dns.MX:
		return record{host: v.Mx, pref: v.Preference}, true
	case *dns.PTR:
		return record{host: v.Ptr}, true
	case *dns.TXT:
		return record{text: strings.Join(v.Txt, "")}, true
	}
	return record{}, false
}

func ttlOf(rr dns.RR) time.Duration {
	ttl := rr.Header().Ttl
	if ttl > 1<<31-1 {
		return 0 // RFC 2181 section 8
	}
	return time.Duration(ttl) * time.Second
}

// negativeTTL is how long "no" may be kept (RFC 2308 section 5): 0 without SOA.
func negativeTTL(m *dns.Msg) (time.Duration, bool) {
	for _, rr := range m.Ns {
		if soa, ok := rr.(*dns.SOA); ok {
			return min(ttlOf(rr), time.Duration(soa.Minttl)*time.Second), true
		}
	}
	return 0, false
}
