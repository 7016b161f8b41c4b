package smarthost

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"postoffice/internal/sasl"
	"postoffice/internal/smtp"
)

// A Scheme is how a session with a smarthost begins. The zero Scheme is that of a
// server on port 25.
type Scheme uint8

const (
	SMTP        Scheme = iota // in clear, with STARTTLS where that is offered
	Submission                // STARTTLS is demanded, and a certificate that is good (RFC 6409)
	Submissions               // TLS first, with a certificate that is good (RFC 8314)
)

// The words of the schemes, and where they are spoken; 0: wherever mail is sent to.
var schemes = [...]struct {
	word string
	port int
}{SMTP: {"smtp", 0}, Submission: {"submission", 587}, Submissions: {"submissions", 465}}

func (s Scheme) String() string { return schemes[s].word }

// A Host is a smarthost.
//
//	192.0.2.1  [192.0.2.1]  [IPv6:2001:db8::1]   that address
//	[name]                                       the addresses of name, no MX
//	name                                         /etc/hosts, else its MX, else its addresses
//	scheme://user;auth=MECHANISM@name            all in one
//
// Each may be followed by :port. An IPv6 address with a port needs brackets. Whoever
// logs in, and whoever encrypts, means that very name: no MX is asked.
type Host struct {
	Scheme    Scheme
	User      string     // who logs in; "" nobody
	Mechanism string     // to log in by; "" the best for a password
	Name      string     // "" when it is an address
	Addr      netip.Addr // valid when it is an address
	MX        bool       // the MX records of Name count
	Port      int        // 0: none given
}

const maxUser = 255 // octets of a user's name

// Parse reads a smarthost.
func Parse(text string) (h Host, err error) {
	rest, asURL := text, false
	if word, r, ok := strings.Cut(text, "://"); ok {
		if h.Scheme, err = parseScheme(word); err != nil {
			return Host{}, err
		}
		rest, asURL = strings.TrimSuffix(r, "/"), true
	}
	if i := strings.LastIndexByte(rest, '@'); i >= 0 {
		if !asURL {
			return Host{}, errors.New("want submissions:// or submission:// before a user")
		}
		if err := h.setUser(rest[:i]); err != nil {
			return Host{}, err
		}
		rest = rest[i+1:]
	}
	if err := h.setPlace(rest); err != nil {
		return Host{}, err
	}
	if h.Scheme == SMTP && h.Port == schemes[Submissions].port {
		h.Scheme = Submissions // nothing else is spoken there
	}
	h.MX = h.MX && h.Scheme == SMTP && h.User == ""
	if h.Port == schemes[h.Scheme].port {
		h.Port = 0
	}
	return h, nil
}

func parseScheme(word string) (Scheme, error) {
	for s := range schemes {
		if smtp.EqualFold(word, schemes[s].word) {
			return Scheme(s), nil
		}
	}
	return 0, fmt.Errorf("%q: want submissions, submission or smtp before ://", word)
}

// setUser reads what stands before the @.
func (h *Host) setUser(text string) error {
	user, auth, some := strings.Cut(text, ";")
	if some {
		word, mechanism, _ := strings.Cut(auth, "=")
		if h.Mechanism = strings.ToUpper(mechanism); !smtp.EqualFold(word, "auth") || !sasl.Known(h.Mechanism) {
			return fmt.Errorf("%q: want auth= and a mechanism, as PLAIN or XOAUTH2, behind the semicolon", auth)
		}
	}
	if strings.Contains(user, ":") {
		return errors.New("want a user without a colon: passwords stand in the file relay-passwords, and %3A is a colon")
	}
	name, err := unescape(user)
	switch {
	case err != nil:
		return err
	case name == "" || len(name) > maxUser:
		return fmt.Errorf("want a user of 1 to %d octets before the @", maxUser)
	}
	for i := range len(name) {
		if name[i] < ' ' || name[i] == 0x7f {
			return errors.New("want a user without control characters")
		}
	}
	h.User = name
	return nil
}

// setPlace reads the host and its port.
func (h *Host) setPlace(text string) error {
	if a, err := netip.ParseAddr(text); err == nil && a.Zone() == "" {
		h.Addr = a.Unmap()
		return nil
	}
	host := text
	if i := strings.LastIndexByte(text, ':'); i > strings.LastIndexByte(text, ']') {
		n, err := strconv.ParseUint(text[i+1:], 10, 16)
		if err != nil || n == 0 {
			return fmt.Errorf("%q: want a port from 1 to 65535 behind the colon", text)
		}
		host, h.Port = text[:i], int(n)
	}
	inner, bracketed := strings.CutPrefix(host, "[")
	if bracketed {
		if inner, bracketed = strings.CutSuffix(inner, "]"); !bracketed {
			return fmt.Errorf("%q: want a closing bracket", text)
		}
	}
	if a, ok := smtp.ParseLiteral("[" + inner + "]"); ok {
		h.Addr = a
		return nil
	}
	name, ok := smtp.CheckHost(inner)
	if !ok {
		return fmt.Errorf("%q: want a host name or an [address], with or without :port", text)
	}
	h.Name, h.MX = name, !bracketed
	return nil
}

// Demands reports whether a session needs TLS with a certificate that is good. local
// says that the host is this machine, or that t lets a login go in clear.
func (h Host) Demands(t Trust, local bool) bool {
	return h.Scheme != SMTP || t.Demands() || h.User != "" && !local && !t.None
}

// PortOr returns the port, with other where neither the text nor the scheme has one.
func (h Host) PortOr(other int) int {
	for _, port := range []int{h.Port, schemes[h.Scheme].port} {
		if port != 0 {
			return port
		}
	}
	return other
}

// Place is the host without port, scheme and user, as in a file of passwords.
func (h Host) Place() string {
	if h.Addr.IsValid() {
		return h.Addr.String()
	}
	return h.Name
}

// String returns the text in its plainest form.
func (h Host) String() string {
	host := h.Name
	url := h.Scheme != SMTP || h.User != ""
	switch {
	case h.Addr.IsValid():
		host = "[" + h.Addr.String() + "]"
	case !h.MX && !url:
		host = "[" + host + "]"
	}
	if h.Port != 0 {
		host += ":" + strconv.Itoa(h.Port)
	}
	if !url {
		return host
	}
	user := ""
	if h.User != "" {
		user = escape(h.User)
		if h.Mechanism != "" {
			user += ";auth=" + h.Mechanism
		}
		user += "@"
	}
	return h.Scheme.String() + "://" + user + host
}

// escape writes a user so that unescape reads it, and nothing of it parts a list or a
// line.
func escape(s string) string {
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c >= 0x7f || strings.IndexByte(`%:;,/#"\`, c) >= 0 {
			fmt.Fprintf(&b, "%%%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// unescape reads %XX.
func unescape(s string) (string, error) {
	var b strings.Builder
	for ; s != ""; s = s[1:] {
		if s[0] != '%' {
			b.WriteByte(s[0])
			continue
		}
		if len(s) < 3 {
			return "", fmt.Errorf("%q: want two digits behind %%", s)
		}
		n, err := strconv.ParseUint(s[1:3], 16, 8)
		if err != nil {
			return "", fmt.Errorf("%q: want two hexadecimal digits behind %%", s[:3])
		}
		b.WriteByte(byte(n))
		s = s[2:]
	}
	return b.String(), nil
}
