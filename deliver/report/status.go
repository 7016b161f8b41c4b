package report

import (
	"bufio"
	"fmt"
	"strings"
	"time"

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
		fmt.Fprintf(&w, "Original-Recipient: rfc822; %s\n", smtp.Printable(rc.Sent.String(), 500))
	}
	fmt.Fprintf(&w, "Final-Recipient: rfc822; %s\n", smtp.Printable(rc.Address.String(), 500))
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
