package pools

import (
	"context"
	"net/netip"
	"strings"

	"postoffice/internal/smtp"
)

// DNS is what is asked. Errors are those of the resolver; they mean that nothing is known.
type DNS interface {
	TXT(ctx context.Context, name string) ([]string, error)
	Addrs(ctx context.Context, host string) ([]netip.Addr, error)
	Exchangers(ctx context.Context, domain string) ([]string, error)
}

// Pools are providers, by the domain whose record lists their addresses.
type Pools struct {
	domains []string
	dns     DNS
}

// New returns pools of domains, which are in lower case.
func New(domains []string, dns DNS) *Pools { return &Pools{domains, dns} }

const (
	maxQuestions = 10 // of DNS about one address, RFC 7208 section 4.6.4
	maxTerms     = 64 // of a record that are looked at: RFC 7208 section 3.4 wants records of 450 octets at most
	maxDepth     = 5  // records within records
)

// Of names the provider for whom an address sends mail of a domain; "" is none, also where
// DNS doesn't say. It ends with its context.
func (p *Pools) Of(ctx context.Context, domain string, a netip.Addr) string {
	domain = smtp.Fold(domain)
	if domain == "" || smtp.IsLiteral(domain) {
		return ""
	}
	l := &look{ctx: ctx, dns: p.dns, left: maxQuestions}
	if name := p.listed(domain); name != "" && l.lists(name, a, 0) {
		return name
	}
	terms, ok := l.record(domain)
	for i := 0; ok && i < len(terms); i++ {
		target := terms[i].domain
		if terms[i].name != "include" && terms[i].name != "redirect" || target == domain {
			continue
		}
		if name := p.listed(target); name != "" && l.lists(name, a, 0) {
			return name
		}
	}
	return ""
}

// listed is the pool that a domain is of, by its own name or one above it.
func (p *Pools) listed(domain string) string {
	for _, name := range p.domains {
		if domain == name || strings.HasSuffix(domain, "."+name) {
			return name
		}
	}
	return ""
}
