package report

import (
	"bufio"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"postoffice/internal/smtp"
)

// writeStatus writes the fields of RFC 3464 section 2.
func (r *Report) writeStatus(dst *bufio.Writer) {
	var w strings.Builder
	fmt.Fprintf(&w, "Reporting-MTA: dns; %s\n", r.Hostname)
	fmt.Fprintf(&w, "X-Postoffice-Queue-ID: %s\n", r.QueueID)
	fmt.Fprintf(&w, "Arrival-Date: %s\n", r.arrived())
	room := (maxStatus - w.Len()) / max(r.N, 1)
	for i := range r.N {
		fields := r.statusFields(r.Recipient(i), room)
		if w.Len()+len(fields) > maxStatus {
			break
		}
		w.WriteByte('\n')
		w.WriteString(fields)
	}
	dst.WriteString(w.String())
}

// statusFields writes one recipient's fields; what was said is left out where
// that needs more than room octets.
func (r *Report) statusFields(rc Recipient, room int) string {
	var w strings.Builder
	o := *rc.Outcome
	switch {
	case rc.ORCPT != "":
		fmt.Fprintf(&w, "Original-Recipient: %s\n", smtp.Printable(smtp.DecodeXtext(rc.ORCPT), 500))
	case rc.Sent != rc.Address:
		fmt.Fprintf(&w, "Original-Recipient: %s\n", typed(rc.Sent))
	}
	fmt.Fprintf(&w, "Final-Recipient: %s\n", typed(rc.Address))
	fmt.Fprintf(&w, "Action: %s\nStatus: %s\n", kinds[r.Kind].action, rc.status())
	must := w.Len()
	if host := relayHost(o.Relay); host != "" {
		fmt.Fprintf(&w, "Remote-MTA: dns; %s\n", smtp.Printable(host, 255))
	}
	kind := "x-postoffice"
	if o.Relay != "" && o.Relay != "local" && !o.Reply.IsZero() {
		kind = "smtp"
	}
	fmt.Fprintf(&w, "Diagnostic-Code: %s; %s\n", kind, strings.Join(said(o), "\n    "))
	fmt.Fprintf(&w, "Last-Attempt-Date: %s\n", r.Now.Format(time.RFC1123Z))
	if w.Len() > room {
		return w.String()[:must]
	}
	return w.String()
}

// typed is an address with its type: one outside ASCII is written in ASCII all the same,
// so that the part needs no server with SMTPUTF8 (RFC 6533 section 3).
func typed(p smtp.Path) string {
	text := p.String()
	if p.IsASCII() {
		return "rfc822; " + smtp.Printable(text, 500)
	}
	var w strings.Builder
	for _, c := range text {
		if c < utf8.RuneSelf && c != '\\' && smtp.IsPrintable(byte(c)) {
			w.WriteRune(c)
			continue
		}
		fmt.Fprintf(&w, `\x{%02X}`, c)
	}
	return "utf-8; " + w.String()
}

// status is the recipient's status code: the answer's own; without one, of what
// is too old 4.4.7.
func (rc Recipient) status() string {
	switch status := rc.Outcome.Reply.Status; {
	case status != "":
		return status
	case rc.Expired:
		return "4.4.7"
	}
	return rc.Outcome.DSN()
}

// relayHost is the name in "name[address]:port", else the address.
func relayHost(relay string) string {
	name, rest, ok := strings.Cut(relay, "[")
	switch {
	case !ok: // a mailbox, or nobody
		return ""
	case name != "":
		return name
	}
	addr, _, _ := strings.Cut(rest, "]")
	return "[" + addr + "]"
}
