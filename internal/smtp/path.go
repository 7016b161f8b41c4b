package smtp

import (
	"errors"
	"strings"
	"unicode/utf8"
)

// A Path is a reverse-path or forward-path without its brackets and without a
// source route. Paths are comparable with ==; domains keep the letter case
// that they came in.
type Path struct {
	Local  string // unquoted; may hold any printable ASCII, and UTF-8
	Domain string // as given, with A-labels; "" for a bare local name; a literal keeps its brackets
}

// Limits of RFC 5321 section 4.5.3.1. The 64 octets of a local part are not
// enforced: bounce addresses of large senders (VERP, SRS) are longer every
// day. The path as a whole bounds it.
const (
	maxDomain = 255 // octets of a domain
	maxLabel  = 63  // octets of one of its labels
	maxPath   = 256 // octets of a path with "<" and ">", in the form that String prints
)

// Why an address is refused. Other reasons are plain syntax errors; every text
// is constant and fit for a reply.
var (
	ErrTooLong = errors.New("address too long")
	ErrControl = errors.New("control character in address")
)

// IsNull reports whether p is the null reverse-path "<>".
func (p Path) IsNull() bool { return p == Path{} }

// IsASCII reports whether p can be said without SMTPUTF8 (RFC 6531).
func (p Path) IsASCII() bool { return IsASCII(p.Local) && IsASCII(p.Domain) }

// String returns p without brackets, its local part quoted only where it must
// be; the null path is "".
func (p Path) String() string {
	if p.IsNull() {
		return ""
	}
	local := p.Local
	if !isDotString(local) {
		local = quote(local)
	}
	if p.Domain == "" {
		return local
	}
	return local + "@" + p.Domain
}

// isDotString reports whether s can stand as a local part without quotes
// (RFC 5321 section 4.1.2, Dot-string; RFC 6531 section 3.3).
func isDotString(s string) bool {
	dot := true // at the start, or behind a dot
	for i := range len(s) {
		switch {
		case s[i] == '.' && !dot:
			dot = true
		case isAtextUTF8(s[i]):
			dot = false
		default:
			return false
		}
	}
	return !dot
}

// quote returns s as a quoted-string.
func quote(s string) string {
	var b strings.Builder
	b.Grow(len(s) + 2)
	b.WriteByte('"')
	for i := range len(s) {
		if s[i] == '"' || s[i] == '\\' {
			b.WriteByte('\\')
		}
		b.WriteByte(s[i])
	}
	b.WriteByte('"')
	return b.String()
}

func isAlnum(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'z'
}

// isAtext reports whether c is atext of RFC 5322 section 3.2.3.
func isAtext(c byte) bool {
	return isAlnum(c) || c < 0x80 && strings.IndexByte("!#$%&'*+-/=?^_`{|}~", c) >= 0
}

// isAtextUTF8 is isAtext with the octets of RFC 6532 section 3.2.
func isAtextUTF8(c byte) bool { return isAtext(c) || c >= utf8.RuneSelf }

func isControl(c byte) bool { return c < 0x20 || c == 0x7f }
