package smtp

import (
	"errors"
	"strings"
	"unicode"
	"unicode/utf8"

	"postoffice/internal/idn"
)

var (
	errBrackets = errors.New("address must stand in < and >")
	errLocal    = errors.New("bad local part")
	errEmpty    = errors.New("empty local part")
	errQuoted   = errors.New("quoted local part without end")
	errDomain   = errors.New("bad domain")
	errNumeric  = errors.New("domain is a number; an address literal stands in [ and ]")
	errLiteral  = errors.New("bad address literal")
	errRoute    = errors.New("bad source route")
	errJunk     = errors.New("text behind the address")
	errUTF8     = errors.New("address is not UTF-8")
	errRune     = errors.New("blank, control or unseen character in address")
)

// ParsePath reads the path at the start of arg, which is what stands behind
// "FROM:" or "TO:" and begins with "<", and returns the text of the parameters
// behind it. "<>" gives the null path; whether that, or a local part without a
// domain, is allowed is the caller's decision. A source route is checked and
// dropped (RFC 5321 section 3.6.1).
//
// It takes two things that RFC 5321 does not: dots anywhere in a local part
// (they are printed quoted), and "_" in a domain. It refuses what other servers
// have read in two ways: controls, comments, blanks, a trailing dot, "@" or
// backslash outside quotes, and domains that are numbers.
//
// A local part may be UTF-8 (RFC 6531 section 3.3), and stays octet for octet what
// it is; a domain outside ASCII is given as A-labels. Whether the client may send
// such a path is the caller's decision, by the octets of arg.
func ParsePath(arg string) (p Path, rest string, err error) {
	if err := checkOctets(arg); err != nil {
		return Path{}, "", err
	}
	if !strings.HasPrefix(arg, "<") {
		return Path{}, "", errBrackets
	}
	s := arg[1:]
	if strings.HasPrefix(s, "@") {
		if s, err = skipRoute(s); err != nil {
			return Path{}, "", err
		}
	} else if strings.HasPrefix(s, ">") {
		rest, err = behindPath(s)
		return Path{}, rest, err
	}
	if p, s, err = parseMailbox(s); err != nil {
		return Path{}, "", err
	}
	if rest, err = behindPath(s); err != nil {
		return Path{}, "", err
	}
	return p, rest, nil
}

// ParseBarePath is ParsePath for a path whose brackets are missing, as old
// programs write MAIL and RCPT. There is no bare null path and no bare source
// route.
func ParseBarePath(arg string) (p Path, rest string, err error) {
	if err := checkOctets(arg); err != nil {
		return Path{}, "", err
	}
	address, params := arg, ""
	if !strings.HasPrefix(arg, `"`) { // blanks stand in quotes only
		address, params, _ = strings.Cut(arg, " ")
	}
	if p, rest, err = parseMailbox(address); err != nil {
		return Path{}, "", err
	}
	rest += " " + params
	if rest[0] != ' ' {
		return Path{}, "", errJunk
	}
	return p, strings.Trim(rest, " "), nil
}

// ParseAddress reads s, a path without its brackets: local@domain or a bare
// local part, nothing before or behind it, no source route, not empty.
func ParseAddress(s string) (Path, error) {
	if err := checkOctets(s); err != nil {
		return Path{}, err
	}
	p, rest, err := parseMailbox(s)
	if err == nil && rest != "" {
		err = errJunk
	}
	if err != nil {
		return Path{}, err
	}
	return p, nil
}

// ParseWritten is ParseAddress for an address that somebody wrote into a file: its
// domain is taken as AsHost takes it.
func ParseWritten(s string) (Path, error) {
	if at := strings.LastIndexByte(s, '@'); at >= 0 {
		s = s[:at+1] + AsHost(s[at+1:])
	}
	return ParseAddress(s)
}

// checkOctets looks at all of s, parameters too, so that no octet of it can
// end a word, a line or an address early, and no character is one that nobody sees
// (A15).
func checkOctets(s string) error {
	ascii := true
	for i := range len(s) {
		if isControl(s[i]) {
			return ErrControl
		}
		ascii = ascii && s[i] < utf8.RuneSelf
	}
	if ascii {
		return nil
	}
	if !utf8.ValidString(s) {
		return errUTF8
	}
	if strings.ContainsFunc(s, unseen) {
		return errRune
	}
	return nil
}

// Shown reports whether s is UTF-8 that people see as it is: without controls and without
// characters that show nothing or turn the direction of text (A15).
func Shown(s string) bool { return checkOctets(s) == nil }

// unseen reports whether r, which is not ASCII, is a blank or a line end, a control, or
// one of those that show nothing and turn the direction of text. The two joiners are
// letters' parts in some scripts.
func unseen(r rune) bool {
	switch {
	case r < utf8.RuneSelf, r == '\u200c', r == '\u200d':
		return false
	}
	return unicode.IsSpace(r) || unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || unicode.Is(unicode.Co, r) || r&0xfffe == 0xfffe
}

// behindPath takes the closing bracket and the blanks behind it.
func behindPath(s string) (rest string, err error) {
	rest, ok := strings.CutPrefix(s, ">")
	if !ok {
		return "", errBrackets
	}
	if rest != "" && rest[0] != ' ' {
		return "", errJunk
	}
	return strings.Trim(rest, " "), nil
}

// skipRoute returns what follows "@a,@b:" (RFC 5321 section 4.1.2, A-d-l).
func skipRoute(s string) (string, error) {
	route, s, ok := strings.Cut(s, ":")
	if !ok {
		return "", errRoute
	}
	for hop := range strings.SplitSeq(route, ",") {
		name, ok := strings.CutPrefix(hop, "@")
		if !ok || checkDomain(name) != nil {
			return "", errRoute
		}
	}
	return s, nil
}

// parseMailbox reads local@domain or a bare local part from the start of s.
func parseMailbox(s string) (p Path, rest string, err error) {
	if p.Local, rest, err = parseLocal(s); err != nil {
		return Path{}, "", err
	}
	if strings.HasPrefix(rest, "@") {
		end := strings.IndexAny(rest[1:], "> ") + 1
		if end == 0 {
			end = len(rest)
		}
		p.Domain, rest = rest[1:end], rest[end:]
		if !IsASCII(p.Domain) {
			if p.Domain, err = idn.ToASCII(p.Domain); err != nil {
				return Path{}, "", errDomain
			}
		}
		if err := checkDomain(p.Domain); err != nil {
			return Path{}, "", err
		}
	}
	if len(p.String())+2 > maxPath {
		return Path{}, "", ErrTooLong
	}
	return p, rest, nil
}

// parseLocal reads a Dot-string, with its dots anywhere, or a Quoted-string,
// and returns it unquoted.
func parseLocal(s string) (local, rest string, err error) {
	if strings.HasPrefix(s, `"`) {
		return parseQuoted(s)
	}
	n := 0
	for n < len(s) && (isAtextUTF8(s[n]) || s[n] == '.') {
		n++
	}
	switch {
	case n < len(s) && s[n] != '@' && s[n] != '>':
		return "", "", errLocal
	case n == 0:
		return "", "", errEmpty
	}
	return s[:n], s[n:], nil
}

func parseQuoted(s string) (local, rest string, err error) {
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '"':
			if b.Len() == 0 {
				return "", "", errEmpty
			}
			return b.String(), s[i+1:], nil
		case '\\':
			if i++; i == len(s) {
				return "", "", errQuoted
			}
		}
		b.WriteByte(s[i])
	}
	return "", "", errQuoted
}

// checkDomain takes a host name or an address literal. Underscores pass, since
// hosts with them exist; a last label of digits does not, since some resolvers
// read such a name as an address.
func checkDomain(s string) error {
	if strings.HasPrefix(s, "[") {
		return checkLiteral(s)
	}
	if len(s) > maxDomain {
		return ErrTooLong
	}
	last := ""
	for label := range strings.SplitSeq(s, ".") {
		if !isLabel(label) {
			return errDomain
		}
		last = label
	}
	if strings.Trim(last, "0123456789") == "" {
		return errNumeric
	}
	return nil
}

func isLabel(s string) bool {
	if s == "" || len(s) > maxLabel || s[0] == '-' || s[len(s)-1] == '-' {
		return false
	}
	for i := range len(s) {
		if !isAlnum(s[i]) && s[i] != '-' && s[i] != '_' {
			return false
		}
	}
	return true
}

// checkLiteral takes [1.2.3.4] and [IPv6:…] (RFC 5321 section 4.1.3), no zone.
func checkLiteral(s string) error {
	if _, ok := (Path{Domain: s}).Literal(); !ok {
		return errLiteral
	}
	return nil
}
