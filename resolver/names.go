package resolver

import (
	"strings"

	"postoffice/internal/smtp"
)

const (
	maxName  = 253 // octets of a name without its final dot (RFC 1035 section 2.3.4)
	maxLabel = 63  // octets of one label
)

// hostName lowers s, takes a final dot away and says whether the rest can be a
// host name (RFC 1123 section 2.1, with underscores, which are in use).
func hostName(s string) (string, bool) {
	s = strings.TrimSuffix(s, ".")
	if s == "" || len(s) > maxName {
		return "", false
	}
	for label := range strings.SplitSeq(s, ".") {
		if !validLabel(label) {
			return "", false
		}
	}
	return smtp.Fold(s), true
}

func validLabel(l string) bool {
	if l == "" || len(l) > maxLabel || l[0] == '-' || l[len(l)-1] == '-' {
		return false
	}
	for i := range len(l) {
		switch c := l[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_':
		default:
			return false
		}
	}
	return true
}

// IsHostName reports whether s is a name that this package would ask for.
func IsHostName(s string) bool {
	_, ok := hostName(s)
	return ok
}

// loopbackName reports names that mean this machine on every machine (RFC 6761
// section 6.3).
func loopbackName(name string) bool {
	return name == "localhost" || strings.HasSuffix(name, ".localhost")
}

// localhost reports names that must not be ours towards others: those of
// loopbackName, and what /etc/hosts files make of them.
func localhost(name string) bool {
	switch first, _, _ := strings.Cut(name, "."); first {
	case "localhost", "localhost4", "localhost6", "ip6-localhost", "ip6-loopback":
		return true
	}
	return loopbackName(name)
}
