package pools

import (
	"context"
	"net/netip"
	"strconv"
	"strings"

	"postoffice/internal/smtp"
)

// look is the search for one address.
type look struct {
	ctx  context.Context
	dns  DNS
	left int // questions that may be asked
}

// term is one of a record's.
type term struct {
	name   string // of the mechanism or modifier, in lower case
	pass   bool   // what it matches is listed, and not excluded
	domain string // behind it, in lower case; "" none
	prefix netip.Prefix
	v4, v6 int // lengths that addresses of domain count with
}

// take counts a question.
func (l *look) take() bool {
	l.left--
	return l.left >= 0 && l.ctx.Err() == nil
}

// record is the SPF record of a domain. One that has several has none (RFC 7208 section
// 4.5).
func (l *look) record(domain string) (terms []term, ok bool) {
	if !l.take() {
		return nil, false
	}
	texts, err := l.dns.TXT(l.ctx, domain)
	if err != nil {
		return nil, false
	}
	for _, text := range texts {
		words := strings.Fields(text)
		if len(words) == 0 || !smtp.EqualFold(words[0], "v=spf1") {
			continue
		}
		if ok {
			return nil, false
		}
		terms, ok = parse(words[1:min(len(words), maxTerms)]), true
	}
	return terms, ok
}

// parse reads the terms of a record. Those that depend on who sends, as macros and exists
// do, are left out: they list no addresses.
func parse(words []string) (terms []term) {
	for _, w := range words {
		t := term{pass: true, v4: 32, v6: 128}
		if strings.ContainsRune("+-~?", rune(w[0])) {
			t.pass = w[0] == '+'
			w = w[1:]
		}
		end := strings.IndexAny(w, ":=/")
		if end < 0 {
			end = len(w)
		}
		t.name = smtp.Fold(w[:end])
		if t.read(w[end:]) {
			terms = append(terms, t)
		}
	}
	return terms
}

// read reads what stands behind the name of a term.
func (t *term) read(rest string) (ok bool) {
	switch t.name {
	case "ip4", "ip6":
		t.prefix, ok = smtp.ParseNetwork(strings.TrimPrefix(rest, ":"))
		return ok && t.prefix.Addr().Is4() == (t.name == "ip4")
	case "include", "redirect":
		return len(rest) > 1 && t.host(rest[1:])
	case "a", "mx":
		host, lengths, _ := strings.Cut(rest, "/")
		if host = strings.TrimPrefix(host, ":"); host != "" && !t.host(host) {
			return false
		}
		return lengths == "" || t.lengths(lengths)
	case "all":
		return rest == ""
	}
	return false
}

func (t *term) host(s string) (ok bool) {
	t.domain, ok = smtp.CheckHost(s)
	t.domain = smtp.Fold(t.domain)
	return ok
}

// lengths reads n, n//m or /m.
func (t *term) lengths(s string) bool {
	v4, v6, has6 := strings.Cut(s, "/")
	number := func(p *int, s string) bool {
		n, err := strconv.ParseUint(s, 10, 8)
		if err != nil || int(n) > *p {
			return false
		}
		*p = int(n)
		return true
	}
	if v4 != "" && !number(&t.v4, v4) {
		return false
	}
	return !has6 || number(&t.v6, strings.TrimPrefix(v6, "/"))
}

// lists reports whether the record of a domain lists an address. What lists everybody lists
// nobody.
func (l *look) lists(domain string, a netip.Addr, depth int) bool {
	terms, ok := l.record(domain)
	if !ok || depth == maxDepth {
		return false
	}
	redirect := ""
	for _, t := range terms {
		switch {
		case l.left < 0: // too many questions: it says nothing that counts
			return false
		case t.name == "redirect":
			redirect = t.domain
		case t.name == "all":
			return false
		case l.matches(domain, t, a, depth):
			return t.pass
		}
	}
	return redirect != "" && l.lists(redirect, a, depth+1)
}

// matches reports whether a term means an address.
func (l *look) matches(domain string, t term, a netip.Addr, depth int) bool {
	if t.domain == "" {
		t.domain = domain
	}
	switch t.name {
	case "ip4", "ip6":
		return t.prefix.Contains(a)
	case "include":
		return l.lists(t.domain, a, depth+1)
	case "a":
		return l.has(t, t.domain, a)
	case "mx":
		if !l.take() {
			return false
		}
		hosts, err := l.dns.Exchangers(l.ctx, t.domain)
		for i := 0; err == nil && i < len(hosts); i++ {
			if l.has(t, hosts[i], a) {
				return true
			}
		}
	}
	return false
}

// has reports whether a host has an address, or one in the same network.
func (l *look) has(t term, host string, a netip.Addr) bool {
	if !l.take() {
		return false
	}
	addrs, err := l.dns.Addrs(l.ctx, host)
	if err != nil {
		return false
	}
	bits := t.v4
	if a.Is6() {
		bits = t.v6
	}
	for _, b := range addrs {
		if p, err := b.Prefix(bits); b.Is4() == a.Is4() && err == nil && p.Contains(a) {
			return true
		}
	}
	return false
}
