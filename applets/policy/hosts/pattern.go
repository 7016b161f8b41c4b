package hosts

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"postoffice/internal/smtp"
)

// kind is what a pattern looks at.
type kind uint8

const (
	all      kind = iota
	local         // a name without a dot
	known         // there is a name, and it leads back
	unknown       // there is none
	paranoid      // it doesn't lead back
	exact         // the name is text
	suffix        // the name ends with text, which begins with a dot
	network       // the address is in prefix
	glob          // the name or the address matches text, with * and ?
)

// A pattern is one word of a list of clients.
type pattern struct {
	kind   kind
	text   string // folded
	prefix netip.Prefix
}

// words are the patterns that are words, which come folded.
func words(word string) (kind, bool) {
	switch word {
	case "all":
		return all, true
	case "local":
		return local, true
	case "known":
		return known, true
	case "unknown":
		return unknown, true
	case "paranoid":
		return paranoid, true
	}
	return 0, false
}

// parsePattern reads a pattern for clients.
func parsePattern(word string) (pattern, error) {
	if k, ok := words(smtp.Fold(word)); ok {
		return pattern{kind: k}, nil
	}
	switch {
	case strings.HasPrefix(word, "@"):
		return pattern{}, errors.New("netgroups are not looked up")
	case strings.Contains(word, "@"):
		return pattern{}, errors.New("clients are not asked for users' names")
	case strings.ContainsAny(word, "*?"):
		return pattern{kind: glob, text: smtp.Fold(word)}, nil
	case strings.ContainsAny(word, "/[") || strings.HasSuffix(word, "."):
		prefix, err := parseNetwork(word)
		return pattern{kind: network, prefix: prefix}, err
	case strings.HasPrefix(word, "."):
		return pattern{kind: suffix, text: "." + smtp.Fold(smtp.AsHost(word[1:]))}, nil
	}
	if a, err := netip.ParseAddr(word); err == nil {
		return pattern{kind: network, prefix: netip.PrefixFrom(a.Unmap(), a.Unmap().BitLen())}, nil
	}
	return pattern{kind: exact, text: smtp.Fold(smtp.AsHost(word))}, nil
}

// parseNetwork reads 192.0.2., 192.0.2.0/24, 192.0.2.0/255.255.255.0, [2001:db8::1]
// and [2001:db8::]/32. That is not what smtp.ParseNetwork reads for options:
// hosts_access(5) has masks and lengths behind a bracket, and no tag IPv6:.
func parseNetwork(word string) (netip.Prefix, error) {
	if octets, ok := strings.CutSuffix(word, "."); ok {
		n := strings.Count(octets, ".") + 1
		a, err := netip.ParseAddr(octets + strings.Repeat(".0", max(4-n, 0)))
		if err != nil || n > 3 {
			return netip.Prefix{}, fmt.Errorf("%q is no beginning of an address", word)
		}
		return netip.PrefixFrom(a, 8*n), nil
	}
	host, mask, masked := strings.Cut(word, "/")
	if inner, ok := strings.CutPrefix(host, "["); ok {
		if host, ok = strings.CutSuffix(inner, "]"); !ok {
			return netip.Prefix{}, fmt.Errorf("%q has no closing bracket", word)
		}
	}
	a, err := netip.ParseAddr(host)
	if err != nil || a.Zone() != "" {
		return netip.Prefix{}, fmt.Errorf("%q is no address", host)
	}
	bits := a.BitLen()
	if masked {
		if bits, err = parseMask(mask, a); err != nil {
			return netip.Prefix{}, err
		}
	}
	return smtp.UnmapPrefix(netip.PrefixFrom(a, bits)), nil
}

// parseMask reads the length of a network, or for IPv4 its mask.
func parseMask(mask string, a netip.Addr) (bits int, err error) {
	if m, err := netip.ParseAddr(mask); err == nil && m.Is4() && a.Is4() {
		b := m.As4()
		v := uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
		for v&(1<<31) != 0 {
			v <<= 1
			bits++
		}
		if v != 0 {
			return 0, fmt.Errorf("the mask %q has gaps", mask)
		}
		return bits, nil
	}
	bits, err = strconv.Atoi(mask)
	if err != nil || bits < 0 || bits > a.BitLen() || strings.HasPrefix(mask, "+") {
		return 0, fmt.Errorf("%q is no length of a network of %v", mask, a)
	}
	return bits, nil
}

// matches tells whether the pattern is true of a client.
func (p *pattern) matches(c *Client) bool {
	switch p.kind {
	case all:
		return true
	case local:
		return c.Name != "" && !strings.Contains(c.Name, ".")
	case known:
		return c.Name != ""
	case unknown:
		return c.Name == "" && !c.Forged && !c.Unsure
	case paranoid:
		return c.Forged
	case exact:
		return c.Name == p.text
	case suffix:
		return strings.HasSuffix(c.Name, p.text)
	case network:
		return p.prefix.Contains(c.Addr)
	}
	return c.Name != "" && globs(p.text, c.Name) || globs(p.text, c.Addr.String())
}

// globs reports whether a text is what a pattern with * and ? describes.
func globs(pattern, text string) bool {
	p, t, star, from := 0, 0, -1, 0
	for t < len(text) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, from = p, t
			p++
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == text[t]):
			p++
			t++
		case star >= 0:
			from++
			p, t = star+1, from
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}

// A list is patterns, and what is taken out of them.
type list[P any] struct {
	patterns []P
	except   *list[P]
}

// parseList reads a list: patterns with blanks or commas between them, and behind
// EXCEPT another list. of reads one pattern.
func parseList[P any](text string, of func(word string) ([]P, error)) (*list[P], error) {
	l := &list[P]{}
	first := l
	for word := range strings.FieldsFuncSeq(text, func(r rune) bool { return strings.ContainsRune(" \t,", r) }) {
		if smtp.EqualFold(word, "EXCEPT") {
			if len(l.patterns) == 0 {
				return nil, errors.New("EXCEPT has nothing in front of it")
			}
			l.except = &list[P]{}
			l = l.except
			continue
		}
		patterns, err := of(word)
		if err != nil {
			return nil, err
		}
		l.patterns = append(l.patterns, patterns...)
	}
	switch {
	case len(l.patterns) > 0:
		return first, nil
	case l != first:
		return nil, errors.New("EXCEPT has nothing behind it")
	}
	return nil, errors.New("a list is empty")
}

// has reports whether a pattern of the list matches and none of what is taken
// out.
func (l *list[P]) has(matches func(p *P) bool) bool {
	for i := range l.patterns {
		if matches(&l.patterns[i]) {
			return l.except == nil || !l.except.has(matches)
		}
	}
	return false
}

// any reports whether a pattern of the list, or of what is taken out of it, is as
// wanted.
func (l *list[P]) any(wanted func(p *P) bool) bool {
	for ; l != nil; l = l.except {
		for i := range l.patterns {
			if wanted(&l.patterns[i]) {
				return true
			}
		}
	}
	return false
}
