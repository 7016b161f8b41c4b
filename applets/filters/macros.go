package filters

import (
	"crypto/tls"
	"net/netip"
	"strconv"
	"strings"

	"postoffice/applets/smtpd"
	"postoffice/internal/smtp"
	"postoffice/milter"
)

// unknown is what sendmail's filters are told where there is nothing to tell.
const unknown = "unknown"

// asClient is the client as filters are told of it.
func (s *Session) asClient() milter.Client {
	c := s.client
	return milter.Client{Name: s.clientName(), Addr: c.Addr}
}

// clientName is the client's verified name, or its address in brackets.
func (s *Session) clientName() string {
	if s.client.Name != "" {
		return s.client.Name
	}
	return "[" + s.client.Addr.Addr().WithZone("").String() + "]"
}

// daemons are the names that sendmail gives its ports.
var daemons = [...]string{smtpd.Relay: "MTA", smtpd.Submission: "MSA", smtpd.SubmissionTLS: "TLSMSA", smtpd.Local: "MSP"}

// connectMacros are those of the client and the session.
func (s *Session) connectMacros() []milter.Macro {
	c, o := s.client, &s.set.o
	address := func(a netip.Addr) string { return a.WithZone("").String() }
	name, ptr := c.Name, c.Name
	if name == "" {
		name, ptr = unknown, unknown
	}
	all := []milter.Macro{
		{Name: "j", Value: o.Hostname},
		{Name: "v", Value: "postoffice " + o.Version},
		{Name: "_", Value: s.clientName() + " [" + address(c.Addr.Addr()) + "]"},
		{Name: "daemon_name", Value: daemons[c.Kind]},
		{Name: "daemon_addr", Value: address(c.Server.Addr())},
		{Name: "daemon_port", Value: strconv.Itoa(int(c.Server.Port()))},
		{Name: "if_name", Value: o.Hostname},
		{Name: "if_addr", Value: address(c.Server.Addr())},
		{Name: "client_addr", Value: address(c.Addr.Addr())},
		{Name: "client_name", Value: name},
		{Name: "client_port", Value: strconv.Itoa(int(c.Addr.Port()))},
		{Name: "client_ptr", Value: ptr},
		{Name: "client_connections", Value: strconv.Itoa(s.set.clients.InsideOf(s.from))},
		{Name: "client_resolve", Value: [...]string{smtpd.Unnamed: "FAIL", smtpd.Named: "OK", smtpd.Forged: "FORGED", smtpd.Uncertain: "TEMP"}[c.Naming]},
	}
	if c.Hello != "" {
		all = append(all, milter.Macro{Name: "s", Value: c.Hello})
	}
	if t := c.TLS; t != nil {
		verified, cipher := "NO", tls.CipherSuiteName(t.Cipher)
		if t.Certificate != "" {
			verified = "FAIL" // nobody has tried
			all = append(all, milter.Macro{Name: "cert_subject", Value: t.Peer}, milter.Macro{Name: "cert_issuer", Value: t.Issuer})
		}
		all = append(all,
			milter.Macro{Name: "tls_version", Value: strings.ReplaceAll(tls.VersionName(t.Version), "TLS ", "TLSv")},
			milter.Macro{Name: "cipher", Value: cipherName(t.Version, cipher)},
			milter.Macro{Name: "cipher_bits", Value: bits(cipher)},
			milter.Macro{Name: "verify", Value: verified})
	}
	return all
}

// cipherName is a cipher's name as OpenSSL has it, and so sendmail and Postfix.
func cipherName(version uint16, name string) string {
	if version >= tls.VersionTLS13 {
		return name
	}
	for _, change := range [...][2]string{{"TLS_", ""}, {"RSA_WITH_", "RSA_"}, {"ECDSA_WITH_", "ECDSA_"}, {"AES_", "AES"}, {"_CBC", ""}, {"POLY1305_SHA256", "POLY1305"}, {"_", "-"}} {
		name = strings.ReplaceAll(name, change[0], change[1])
	}
	return name
}

// bits are those of a cipher's key.
func bits(cipher string) string {
	if strings.Contains(cipher, "AES_128") {
		return "128"
	}
	return "256" // AES_256 and CHACHA20; weaker ones are not offered
}

// mailMacros are those of a message and its sender.
func (s *Session) mailMacros(t *smtpd.Transaction) []milter.Macro {
	c, from := s.client, t.ReversePath
	all := append(s.connectMacros(),
		milter.Macro{Name: "i", Value: t.ID},
		milter.Macro{Name: "mail_addr", Value: from.String()},
		milter.Macro{Name: "mail_host", Value: from.Domain},
		milter.Macro{Name: "mail_mailer", Value: s.mailer(from.Domain)})
	if c.Account != "" {
		all = append(all,
			milter.Macro{Name: "auth_type", Value: c.Mechanism},
			milter.Macro{Name: "auth_authen", Value: c.Account},
			milter.Macro{Name: "auth_ssf", Value: "0"}) // no mechanism here encrypts what follows
		if s.author != "" {
			all = append(all, milter.Macro{Name: "auth_author", Value: s.author})
		}
	}
	return all
}

// authorOf is who a message's author is, as the client says by the parameter AUTH of MAIL
// (RFC 4954 section 5): arguments are all of them. What can't be printed is none.
func authorOf(arguments string) string {
	for arg := range strings.FieldsSeq(arguments) {
		name, value, _ := strings.Cut(arg, "=")
		if who := smtp.DecodeXtext(value); smtp.EqualFold(name, "AUTH") && who == smtp.Printable(who, maxAuthor) {
			return who
		}
	}
	return ""
}

const maxAuthor = 320 // octets of who a filter is told to be the author of a message: RFC 5321 section 4.5.3.1 allows 64, an @ and 255

// rcptMacros are those of a recipient.
func (s *Session) rcptMacros(t *smtpd.Transaction, to smtp.Path) []milter.Macro {
	return append(s.mailMacros(t),
		milter.Macro{Name: "rcpt_addr", Value: to.String()},
		milter.Macro{Name: "rcpt_host", Value: to.Domain},
		milter.Macro{Name: "rcpt_mailer", Value: s.mailer(to.Domain)})
}

// refusedMacros are those of a recipient that was refused, as sendmail has them.
func (s *Session) refusedMacros(t *smtpd.Transaction, r smtp.Reply) []milter.Macro {
	return append(s.mailMacros(t),
		milter.Macro{Name: "rcpt_addr", Value: r.Text},
		milter.Macro{Name: "rcpt_host", Value: r.Status},
		milter.Macro{Name: "rcpt_mailer", Value: "error"})
}

// endMacros are those of a message that has come.
func (s *Session) endMacros(t *smtpd.Transaction, msgid string) []milter.Macro {
	return append(s.mailMacros(t), milter.Macro{Name: "msg_id", Value: msgid})
}

// mailer is the name that sendmail has for how mail for a domain goes.
func (s *Session) mailer(domain string) string {
	if is := s.set.o.IsLocal; is != nil && is(domain) {
		return "local"
	}
	return "esmtp"
}

// bracketed is a path as the command has it.
func bracketed(p smtp.Path) string {
	if p.IsNull() {
		return "<>"
	}
	return "<" + p.String() + ">"
}
