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
func host(s string) (string, bool) { return smtp.CheckHost(s) }

// hostname takes auto, literal, the path of a file with a name, or a name that is no
// address.
func hostname(s string) (string, bool) {
	if filepath.IsAbs(s) {
		return path(s)
	}
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

// tooWide reports whether a network is wider than any one site has: clients in it are
// anybody.
func tooWide(p netip.Prefix) bool {
	private := netip.MustParsePrefix("fc00::/7") // RFC 4193
	switch {
	case p.Addr().Is4():
		return p.Bits() < 8
	case private.Contains(p.Addr()) && p.Bits() >= private.Bits():
		return false
	}
	return p.Bits() < 19 // the widest that a provider has
}

// senderDomain takes a domain name and no address.
func senderDomain(s string) (string, bool) {
	s, ok := host(s)
	_, err := netip.ParseAddr(s)
	return s, ok && err != nil
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

// loginSource takes a word of option auth.
func loginSource(s string) (string, bool) {
	const dovecot = "dovecot:"
	for _, word := range []string{"virtual", LoginSystem} {
		if smtp.EqualFold(s, word) {
			return word, true
		}
	}
	socket, ok := strings.CutPrefix(s, dovecot)
	if !ok {
		return "", false
	}
	socket, ok = path(socket)
	return dovecot + socket, ok
}

// mechanism takes the name of a mechanism of SASL (RFC 4422 section 3.1).
func mechanism(s string) (string, bool) {
	s = strings.ToUpper(s)
	return s, len(s) <= 20 && strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") == ""
}

// network takes an address, with or without brackets, or a network.
func network(s string) (string, bool) {
	s, ok := client(s)
	_, read := smtp.ParseNetwork(s)
	return s, ok && read
}

// networkLengths takes yes, no, or the lengths of networks of IPv4 and IPv6.
func networkLengths(s string) (string, bool) {
	var on bool
	if (!digit(s[0]) || len(s) == 1) && (flagValue{p: &on}).set(s) == nil {
		if on {
			return "24/64", true
		}
		return "no", true
	}
	v4, v6, _ := strings.Cut(s, "/")
	a, ok4 := length(v4, 8, 32)
	b, ok6 := length(v6, 19, 128)
	return strconv.Itoa(a) + "/" + strconv.Itoa(b), ok4 && ok6
}

func length(s string, min, max int) (int, bool) {
	n, err := strconv.ParseUint(s, 10, 8)
	return int(n), err == nil && int(n) >= min && int(n) <= max
}

// GreylistNetworks are the lengths of option greylist-network; 0 is none.
func (c *Config) GreylistNetworks() (v4, v6 int) {
	a, b, _ := strings.Cut(c.GreylistNetwork, "/")
	v4, _ = length(a, 0, 32)
	v6, _ = length(b, 0, 128)
	return v4, v6
}

// poolDomain takes a domain name, or one of two words.
func poolDomain(s string) (string, bool) {
	for _, word := range []string{PoolsShipped, NoPools} {
		if smtp.EqualFold(s, word) {
			return word, true
		}
	}
	s, ok := host(s)
	return smtp.Fold(s), ok && strings.Contains(s, ".")
}

// addressOrDomain takes an address, or @ and a domain.
func addressOrDomain(s string) (string, bool) {
	if d, is := strings.CutPrefix(s, "@"); is {
		d, ok := domain(d)
		return "@" + smtp.DomainKey(d), ok
	}
	p, err := smtp.ParseWritten(s)
	return smtp.Fold(p.String()), err == nil && p.Domain != ""
}

// hostOrAddress takes a host name or an IPv4 address.
func hostOrAddress(s string) (string, bool) {
	if a, err := netip.ParseAddr(s); err == nil && a.Is4() {
		return a.String(), true
	}
	return host(s)
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
	h, ok := hostOrAddress(name)
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
	return s, s == "syslog" || s == "stderr" || s == "stdout"
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

// vhostMailbox takes mbox, maildir or lmtp:/socket.
func vhostMailbox(s string) (string, bool) {
	for _, word := range []string{VHostFile, VHostMaildir} {
		if smtp.EqualFold(s, word) {
			return word, true
		}
	}
	socket, ok := strings.CutPrefix(s, "lmtp:")
	if !ok {
		return "", false
	}
	socket, ok = path(socket)
	return "lmtp:" + socket, ok
}

// vhostFolder takes a name that can stand in a file's.
func vhostFolder(s string) (string, bool) {
	return s, len(s) <= 32 && !strings.ContainsAny(s, "/.:~") && smtp.Printable(s, 32) == s
}

// command takes an absolute path and arguments.
func command(s string) (string, bool) { return s, filepath.IsAbs(s) }

// scanner takes a command, with the first postoffice's | in front or without.
func scanner(s string) (string, bool) {
	return command(strings.TrimSpace(strings.TrimPrefix(s, "|")))
}

// userCommand takes an account, a colon, and a command.
func userCommand(s string) (string, bool) {
	user, path, ok := strings.Cut(s, ":")
	if !ok || user == "" {
		return "", false
	}
	_, ok = account(user)
	return s, ok && filepath.IsAbs(path)
}

// filter takes a unix socket or host:port.
func filter(s string) (string, bool) {
	if s[0] == '/' {
		return path(s)
	}
	name, number, ok := splitPort(s)
	h, good := hostOrAddress(strings.Trim(name, "[]"))
	if a, literal := smtp.ParseLiteral(name); literal {
		h, good = "["+a.String()+"]", true
	}
	return h + ":" + number, ok && good && number != ""
}
