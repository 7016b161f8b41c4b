package config

import (
	"net/netip"
	"path/filepath"
	"strconv"
	"strings"
	"unicode"

	"postoffice/internal/smtp"
)

// What follows are the checks of text and list values: each says whether s is
// good and returns it in the form that the rest of the program expects.

// path takes an absolute path.
func path(s string) (string, bool) {
	return filepath.Clean(s), filepath.IsAbs(s)
}

// certFile takes an absolute path, or none.
func certFile(s string) (string, bool) {
	if smtp.EqualFold(s, NoTLS) {
		return NoTLS, true
	}
	return path(s)
}

// account takes a login name as useradd(8) makes them.
func account(s string) (string, bool) {
	if s[0] == '-' || len(s) > 32 {
		return "", false
	}
	for i := range len(s) {
		if c := s[i]; !letter(c) && !digit(c) && c != '_' && c != '-' && c != '.' {
			return "", false
		}
	}
	return s, true
}

func letter(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }
func digit(c byte) bool  { return '0' <= c && c <= '9' }

// host takes a host name and drops a final dot.
func host(s string) (string, bool) {
	s = smtp.AsHost(s)
	if len(s) > 253 {
		return "", false
	}
	for label := range strings.SplitSeq(s, ".") {
		if len(label) == 0 || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return "", false
		}
		for i := range len(label) {
			if c := label[i]; !letter(c) && !digit(c) && c != '-' && c != '_' {
				return "", false
			}
		}
	}
	return s, true
}

// hostname takes auto, literal or a name that is no address.
func hostname(s string) (string, bool) {
	s = smtp.AsHost(s) // an address with a final dot is none either
	for _, word := range []string{"auto", "literal"} {
		if smtp.EqualFold(s, word) {
			return word, true
		}
	}
	if _, err := netip.ParseAddr(s); err == nil {
		return "", false
	}
	return host(s)
}

// domain takes a domain name or an address literal, [192.0.2.1].
func domain(s string) (string, bool) {
	if a, ok := smtp.ParseLiteral(s); ok {
		return smtp.FormatLiteral(a), true
	}
	s, ok := host(s)
	return smtp.Fold(s), ok
}

// client takes an address, with or without brackets, a network or a host name.
func client(s string) (string, bool) {
	p, ok := smtp.ParseNetwork(s)
	switch {
	case !ok:
		return host(s)
	case strings.Contains(s, "/"):
		return p.String(), true
	}
	return p.Addr().String(), true
}

// network takes an address, with or without brackets, or a network.
func network(s string) (string, bool) {
	s, ok := client(s)
	_, read := smtp.ParseNetwork(s)
	return s, ok && read
}

// relayHost takes a host name or an address in brackets, with or without a
// port, and an IPv6 address without either; brackets round a name say that its MX is not to be asked for.
func relayHost(s string) (string, bool) {
	if a, err := netip.ParseAddr(s); err == nil && a.Is6() { // no port: its last colon is its own
		return "[" + a.Unmap().String() + "]", a.Zone() == ""
	}
	name, number, ok := splitPort(s)
	if !ok {
		return "", false
	}
	if number != "" {
		number = ":" + number
	}
	if a, ok := smtp.ParseLiteral(name); ok {
		return "[" + a.String() + "]" + number, true
	}
	if strings.HasPrefix(name, "[") && strings.HasSuffix(name, "]") {
		h, ok := host(name[1 : len(name)-1])
		return "[" + h + "]" + number, ok
	}
	h, ok := host(name)
	return h + number, ok
}

// splitPort parts host:port; number is "" where s names none.
func splitPort(s string) (name, number string, ok bool) {
	i := strings.LastIndexByte(s, ':')
	if i < 0 || strings.HasSuffix(s, "]") {
		return s, "", true
	}
	n, ok := port(s[i+1:])
	return s[:i], n, ok
}

// port takes the number of a port.
func port(s string) (string, bool) {
	n, err := strconv.ParseUint(s, 10, 16)
	return strconv.FormatUint(n, 10), err == nil && n > 0
}

// listenAddr takes host:port, :port, and a host alone for its port 25.
func listenAddr(s string) (string, bool) {
	if a, err := netip.ParseAddr(s); err == nil {
		return netip.AddrPortFrom(a, 25).String(), true
	}
	name, number, ok := splitPort(s)
	if !ok || name == "" && number == "" {
		return "", false
	}
	if number == "" {
		number = "25"
	}
	switch a, ok := smtp.ParseLiteral(name); {
	case ok:
		if a.Is6() {
			return "[" + a.String() + "]:" + number, true
		}
		return a.String() + ":" + number, true
	case name == "" || name == "*":
		return ":" + number, true
	case strings.Trim(smtp.AsHost(name), "0123456789") == "": // a port without its colon
		return "", false
	}
	h, ok := host(name)
	return h + ":" + number, ok
}

// dnsServer takes an address with or without a port.
func dnsServer(s string) (string, bool) {
	if a, ok := smtp.ParseLiteral(s); ok {
		return netip.AddrPortFrom(a, 53).String(), true
	}
	if a, err := netip.ParseAddr(s); err == nil {
		return netip.AddrPortFrom(a, 53).String(), true
	}
	a, err := netip.ParseAddrPort(s)
	return a.String(), err == nil && a.Port() > 0
}

// logSink takes what maillog.Options.Sink may be.
func logSink(s string) (string, bool) {
	if name, ok := strings.CutPrefix(s, "file:"); ok {
		return "file:" + filepath.Clean(name), filepath.IsAbs(name)
	}
	s = smtp.Fold(s)
	return s, s == "syslog" || s == "stderr"
}

// delimiter takes what may part a name from its detail.
func delimiter(s string) (string, bool) {
	return s, len(s) == 1 && strings.Contains("+-=_", s)
}

// usermapEntry takes pattern:targets; what they mean is internal/alias's.
func usermapEntry(s string) (string, bool) {
	pattern, targets, ok := strings.Cut(s, ":")
	return s, ok && pattern != "" && targets != "" && !strings.ContainsFunc(s, func(r rune) bool { return r == '#' || unicode.IsControl(r) })
}

// mailbox takes a place in the home directory, with a slash at its end for a
// Maildir, or an LMTP server's socket.
func mailbox(s string) (string, bool) {
	if socket, ok := strings.CutPrefix(s, "lmtp:"); ok {
		socket, ok = path(socket)
		return "lmtp:" + socket, ok
	}
	rest, ok := strings.CutPrefix(s, "~/")
	if !ok || !filepath.IsLocal(rest) || filepath.Clean(rest) == "." {
		return "", false
	}
	clean := "~/" + filepath.Clean(rest)
	if strings.HasSuffix(rest, "/") {
		clean += "/"
	}
	return clean, true
}

// command takes an absolute path and arguments.
func command(s string) (string, bool) { return s, filepath.IsAbs(s) }

// filter takes a unix socket or host:port.
func filter(s string) (string, bool) {
	if s[0] == '/' {
		return path(s)
	}
	name, number, ok := splitPort(s)
	h, good := host(strings.Trim(name, "[]"))
	if a, literal := smtp.ParseLiteral(name); literal {
		h, good = "["+a.String()+"]", true
	}
	return h + ":" + number, ok && good && number != ""
}
