package smtp

import (
	"net/netip"
	"strings"
)

// IsLiteral reports whether a domain is meant as an address literal, well
// written or not.
func IsLiteral(domain string) bool { return strings.HasPrefix(domain, "[") }

// ParseLiteral reads an address literal in brackets, [192.0.2.1] or
// [IPv6:2001:db8::1] (RFC 5321 section 4.1.3). The tag IPv6: may be missing,
// as configurations have it; see Path.Literal for what may stand in mail.
func ParseLiteral(s string) (netip.Addr, bool) {
	a, _, ok := readLiteral(s)
	return a.Unmap(), ok
}

// ParseNetwork reads what options name clients by: a network, 192.0.2.0/24, in the
// form that UnmapPrefix returns, or an address with or without brackets, which is a
// network of its own. Neither has a zone.
func ParseNetwork(s string) (netip.Prefix, bool) {
	if p, err := netip.ParsePrefix(s); err == nil {
		return UnmapPrefix(p), true
	}
	a, ok := ParseLiteral(s)
	if bare, err := netip.ParseAddr(s); err == nil {
		a, ok = bare.Unmap(), bare.Zone() == ""
	}
	return netip.PrefixFrom(a, a.BitLen()), ok
}

// UnmapPrefix returns a network with its bits behind the length cleared, and one of
// IPv4-mapped addresses of IPv6 as that of IPv4: clients' addresses are never mapped.
func UnmapPrefix(p netip.Prefix) netip.Prefix {
	if a := p.Addr(); a.Is4In6() && p.Bits() >= 96 {
		p = netip.PrefixFrom(a.Unmap(), p.Bits()-96)
	}
	return p.Masked()
}

// FormatLiteral returns an address as RFC 5321 section 4.1.3 writes it.
func FormatLiteral(a netip.Addr) string {
	if a.Is6() {
		return "[IPv6:" + a.WithZone("").String() + "]"
	}
	return "[" + a.String() + "]"
}

// DomainKey returns a domain in the form in which two are compared: a name by
// Fold, an address literal by its address.
func DomainKey(domain string) string {
	if a, ok := ParseLiteral(domain); ok {
		return FormatLiteral(a)
	}
	return Fold(domain)
}

// Literal returns the address of a domain that is an address literal. There
// the tag IPv6: says of which kind it is.
func (p Path) Literal() (netip.Addr, bool) {
	a, tagged, ok := readLiteral(p.Domain)
	if !ok || a.Is6() != tagged {
		return netip.Addr{}, false
	}
	return a, true
}

// readLiteral reads an address in brackets, without a zone, and says whether
// it has the tag IPv6:.
func readLiteral(s string) (a netip.Addr, tagged, ok bool) {
	s, open := strings.CutPrefix(s, "[")
	s, end := strings.CutSuffix(s, "]")
	if !open || !end {
		return netip.Addr{}, false, false
	}
	const tag = "IPv6:"
	if tagged = len(s) > len(tag) && EqualFold(s[:len(tag)], tag); tagged {
		s = s[len(tag):]
	}
	a, err := netip.ParseAddr(s)
	if err != nil || a.Zone() != "" {
		return netip.Addr{}, tagged, false
	}
	return a, tagged, true
}

// CheckHost takes a host name as people write it, in the form that AsHost gives it, and
// says whether it is one; underscores pass, as DNS has them, and nothing that is numbers at its
// end.
func CheckHost(s string) (host string, ok bool) {
	s = AsHost(s)
	if len(s) > 253 {
		return "", false
	}
	last := ""
	for label := range strings.SplitSeq(s, ".") {
		last = label
		if len(label) == 0 || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return "", false
		}
		for i := range len(label) {
			if c := label[i]; !isAlnum(c) && c != '-' && c != '_' {
				return "", false
			}
		}
	}
	return s, strings.Trim(last, "0123456789") != "" // which would be an address (RFC 1123 section 2.1)
}
