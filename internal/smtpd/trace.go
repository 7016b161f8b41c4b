package smtpd

import (
	"bufio"
	"mime"
	"net/netip"
	"strconv"
	"strings"
	"unicode/utf8"

	"postoffice/internal/smtp"
)

// dateFormat is RFC 5322 section 3.3, with a numeric zone.
const dateFormat = "Mon, 2 Jan 2006 15:04:05 -0700"

// writeTrace writes the Received field of RFC 5321 section 4.4. Only one
// recipient is named: more would tell each of them of the others.
func writeTrace(w *bufio.Writer, t *Transaction, id, hostname string) {
	c := t.Client
	w.WriteString("Received: from ")
	with := "SMTP"
	switch {
	case c.Kind == Submission:
		with = "LOCAL"
		w.WriteString(printable(c.User) + " (uid " + strconv.Itoa(c.UID) + ")")
	default:
		if c.ESMTP {
			with = "ESMTP"
		}
		w.WriteString(printable(c.Hello) + " (")
		if c.Name != "" {
			w.WriteString(c.Name + " ")
		}
		w.WriteString(literal(c.Addr.Addr()) + ")")
	}
	w.WriteString("\n\tby " + hostname + " (postoffice) with " + with + " id " + id)
	if len(t.Recipients) == 1 {
		w.WriteString("\n\tfor <" + t.Recipients[0].Path.String() + ">; ")
	} else {
		w.WriteString(";\n\t")
	}
	w.Write(t.Arrived.AppendFormat(w.AvailableBuffer(), dateFormat))
	w.WriteByte('\n')
}

// writeWarning tells readers who gave the reverse-path, as the kernel knows
// him, in the field that sendmail has for that.
func writeWarning(w *bufio.Writer, t *Transaction, hostname string) {
	from := t.ReversePath.String()
	if t.ReversePath.IsNull() {
		from = "<>"
	}
	w.WriteString("X-Authentication-Warning: " + printable(t.Client.User) + "@" + hostname + " set sender to " + from + "\n")
}

// literal returns an address as RFC 5321 section 4.1.3 writes it.
func literal(a netip.Addr) string {
	if a.Is6() {
		return "[IPv6:" + a.WithZone("").String() + "]"
	}
	return "[" + a.String() + "]"
}

// writeMissing writes those of From, Date and Message-ID that a message of
// this machine's lacks (RFC 5322 section 3.6), and returns the Message-ID if
// that is one of them.
func writeMissing(w *bufio.Writer, seen sight, t *Transaction, id, hostname string) (msgid string) {
	if seen&sawFrom == 0 {
		w.WriteString("From: " + author(t, hostname) + "\n")
	}
	if seen&sawDate == 0 {
		w.WriteString("Date: ")
		w.Write(t.Arrived.AppendFormat(w.AvailableBuffer(), dateFormat))
		w.WriteByte('\n')
	}
	if seen&sawID == 0 {
		msgid = "<" + t.Arrived.UTC().Format("20060102150405") + "." + id + "@" + hostname + ">"
		w.WriteString("Message-ID: " + msgid + "\n")
	}
	return msgid
}

// author is who wrote a message that doesn't say: the reverse-path, with the
// full name if that is the program's own account.
func author(t *Transaction, hostname string) string {
	c, from := t.Client, t.ReversePath
	if from.IsNull() {
		from = smtp.Path{Local: "MAILER-DAEMON", Domain: hostname}
	}
	if c.Full == "" || from.Local != c.User || !strings.EqualFold(from.Domain, hostname) {
		return from.String()
	}
	return phrase(c.Full) + " <" + from.String() + ">"
}

// phrase returns name as a display name: quoted, or as RFC 2047 has it if it
// is not ASCII.
func phrase(name string) string {
	name = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, name)
	if !isASCII(name) {
		if !utf8.ValidString(name) {
			name = strings.ToValidUTF8(name, "?")
		}
		return mime.QEncoding.Encode("utf-8", name)
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(name) + `"`
}
