package deliver

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"postoffice/internal/smtp"
	"postoffice/spool"
)

// The sizes of a report's parts, in octets: with the returned header it stays
// below 200 kB for 1,000 recipients (hostile.md A59).
const (
	maxText     = 40 << 10
	maxStatus   = 80 << 10
	maxReturned = 64 << 10
)

// report is a delivery status notification (RFC 3461, 3462, 3464): sentences
// for people, fields for programs, and the header of the message.
type report struct {
	a      *attempt
	to     smtp.Path
	client string
	failed []failure
}

// originalHeader returns the message's header, cut at a line's end, and
// whether it has octets beyond ASCII.
func (rp *report) originalHeader() (header []byte, eight bool) {
	in := bufio.NewReader(io.LimitReader(rp.a.m.Data(), maxReturned))
	for {
		line, err := in.ReadBytes('\n')
		if len(line) == 1 || err != nil {
			break
		}
		header = append(header, line...)
	}
	for _, c := range header {
		eight = eight || c > 0x7e
	}
	return header, eight
}

// write writes the report as the spool wants it: LF alone.
func (rp *report) write(dst io.Writer, header []byte, eight bool) error {
	w := bufio.NewWriter(dst)
	boundary := "report." + rand.Text()
	rp.writeHeader(w, boundary, header)
	part := func(kind string) { fmt.Fprintf(w, "\n--%s\nContent-Type: %s\n", boundary, kind) }

	part("text/plain; charset=us-ascii")
	w.WriteByte('\n')
	rp.writeText(w)

	part("message/delivery-status")
	w.WriteByte('\n')
	rp.writeStatus(w)

	part("text/rfc822-headers")
	if eight {
		w.WriteString("Content-Transfer-Encoding: 8bit\n")
	}
	w.WriteByte('\n')
	w.Write(header)
	fmt.Fprintf(w, "\n--%s--\n", boundary)
	return w.Flush()
}

func (rp *report) writeHeader(w io.Writer, boundary string, original []byte) {
	host, now := rp.a.s.Hostname, rp.a.s.Now()
	subject := "Your message could not be delivered"
	if rp.client == doubleBounceClient {
		subject = "A report could not be delivered"
	}
	fmt.Fprintf(w, "Received: by %s (postoffice); %s\n", host, now.Format(time.RFC1123Z))
	fmt.Fprintf(w, "From: MAILER-DAEMON@%s (Mail Delivery System)\n", host)
	fmt.Fprintf(w, "To: <%s>\n", printable(rp.a.s.qualified(rp.to).String(), 900))
	fmt.Fprintf(w, "Subject: %s\n", subject)
	fmt.Fprintf(w, "Date: %s\n", now.Format(time.RFC1123Z))
	fmt.Fprintf(w, "Message-ID: <%s@%s>\n", rand.Text(), host)
	if id := messageID(original); id != "" {
		fmt.Fprintf(w, "In-Reply-To: %s\n", id)
	}
	fmt.Fprintf(w, "Auto-Submitted: auto-replied\n")
	fmt.Fprintf(w, "MIME-Version: 1.0\n")
	fmt.Fprintf(w, "Content-Type: multipart/report; report-type=delivery-status;\n\tboundary=\"%s\"\n", boundary)
}

// messageID returns the Message-ID of a header if it is a plain one.
func messageID(header []byte) string {
	for line := range bytes.SplitSeq(header, []byte("\n")) {
		name, value, ok := strings.Cut(string(line[:min(len(line), 500)]), ":")
		if !ok || fold(name) != "message-id" {
			continue
		}
		id := strings.Trim(value, " \t")
		if strings.HasPrefix(id, "<") && strings.HasSuffix(id, ">") && printable(id, 500) == id && !strings.Contains(id, " ") {
			return id
		}
		return ""
	}
	return ""
}

// writeText explains to a person what happened to which recipient. Those with
// the same story share it.
func (rp *report) writeText(dst *bufio.Writer) {
	var w strings.Builder
	fmt.Fprintf(&w, "This is the mail server at %s.\n\n", rp.a.s.Hostname)
	arrived := rp.a.env.Arrived.In(rp.a.s.Now().Location()).Format(time.RFC1123Z)
	if rp.client == doubleBounceClient {
		fmt.Fprintf(&w, "%s", wrap("A message with an empty sender, which is a report or an automatic answer as a rule, came in on "+arrived+" and could not be delivered. Its sender can't be told, so you are, once. Its header is below.", ""))
	} else {
		fmt.Fprintf(&w, "%s", wrap("Your message of "+arrived+" could not be delivered to the recipients below. It will not be tried again for them; recipients that are not named here are not concerned. The header of your message is at the end.", ""))
	}
	stories := map[string][]failure{}
	var order []string
	for _, f := range rp.failed {
		s := rp.story(f)
		if stories[s] == nil {
			order = append(order, s)
		}
		stories[s] = append(stories[s], f)
	}
	left := len(rp.failed)
	for _, s := range order {
		for _, f := range stories[s] {
			if w.Len()+len(s) > maxText {
				fmt.Fprintf(&w, "\nand %d more recipients, for which there is no room here.\n", left)
				dst.WriteString(w.String())
				return
			}
			rc := rp.a.rcpt(f.key)
			fmt.Fprintf(&w, "\n%s", rp.name(rc))
			left--
		}
		w.WriteByte('\n')
		w.WriteString(s)
	}
	dst.WriteString(w.String())
}

// name is a recipient as a person knows it: by the address, and by the one that
// the message was sent to where that is another. Of an item it says whose it is.
func (rp *report) name(rc spool.Recipient) string {
	to, orig := rp.a.s.qualified(addressee(rc)).String(), rp.a.s.qualified(rp.a.original(rc)).String()
	var more []string
	if rc.Agent != nil {
		more = append(more, "a "+printable(rc.Target.String(), 300))
	}
	if orig != to {
		more = append(more, "expanded from <"+printable(orig, 300)+">")
	}
	name := "<" + printable(to, 300) + ">"
	if len(more) > 0 {
		name += " (" + strings.Join(more, ", ") + ")"
	}
	return name
}

// story says what happened and what to do about it.
func (rp *report) story(f failure) string {
	var b strings.Builder
	o := *f.outcome
	byPeer := o.Relay != "" && o.Relay != "local" && !o.Reply.IsZero()
	switch {
	case f.expired && byPeer:
		fmt.Fprintf(&b, "%s", wrap(fmt.Sprintf("could not be delivered for %s, and is given up now. The last answer of %s was:", days(rp.a.s.QReturn), printable(o.Relay, 300)), "    "))
	case f.expired:
		fmt.Fprintf(&b, "%s", wrap(fmt.Sprintf("could not be delivered for %s, and is given up now. The last attempt ended with:", days(rp.a.s.QReturn)), "    "))
	case byPeer && o.Err == nil:
		fmt.Fprintf(&b, "%s", wrap(fmt.Sprintf("was refused by the server %s, which said:", printable(o.Relay, 300)), "    "))
	default:
		fmt.Fprintf(&b, "%s", wrap("can't be delivered:", "    "))
	}
	for _, line := range said(o) {
		fmt.Fprintf(&b, "        %s\n", line)
	}
	b.WriteString(wrap(advice(f), "    "))
	return b.String()
}

// said is what the outcome rests on, filtered and bounded.
func said(o Outcome) []string {
	if o.Reply.IsZero() {
		if o.Err == nil {
			return []string{"(no reason is known)"}
		}
		return saidLines(o.Err.Error())
	}
	lines := saidLines(o.Reply.Text)
	if o.Relay != "" && o.Relay != "local" {
		lines[0] = strings.TrimRight(fmt.Sprintf("%d %s", o.Reply.Code, strings.TrimLeft(o.Reply.Status+" "+lines[0], " ")), " ")
	}
	return lines
}

// adviceBy tells what to do, by the first prefix of the status that fits.
var adviceBy = []struct{ status, text string }{
	{"5.1.10", "The domain says that it takes no mail at all. Ask the recipient for another address."},
	{"5.1.1", "There is no such mailbox. Check the address for typing errors, or ask the recipient in another way for the right one."},
	{"5.1.2", "There is no such domain. Check the part behind the @ for typing errors."},
	{"5.4.4", "There is no such domain, or it has no mail server. Check the part behind the @ for typing errors."},
	{"5.4.6", "The message would go round between servers for ever. Only the administrator of the recipient's server can mend that; please tell them."},
	{"5.2.2", "The recipient's mailbox is full. Ask the recipient to make room, then send the message again."},
	{"5.2.3", "The message is larger than the recipient's mailbox takes. Send it without its attachments, or in parts."},
	{"5.3.4", "The message is larger than that server takes. Send it without its attachments, or in parts."},
	{"5.6.7", "That server does not know how to handle addresses outside ASCII. Ask the recipient for a plain address."},
	{"5.7", "That server does not want this message. Its words above may say why; if they don't, ask the recipient in another way."},
	{"4", "Often the trouble is at the recipient's side, or the domain is spelt wrongly. Check the address; if it is right, send the message again later."},
	{"", "The words above are all that is known here. If they don't help, ask the recipient in another way, or the postmaster of the recipient's domain."},
}

func advice(f failure) string {
	if f.outcome.Err == errReturned {
		return "Whoever looks after this mail server took the message out of its queue. Ask its postmaster for the reason."
	}
	status := reportStatus(f)
	for _, a := range adviceBy {
		if strings.HasPrefix(status, a.status) {
			return a.text
		}
	}
	return ""
}

// writeStatus writes the fields of RFC 3464 section 2.
func (rp *report) writeStatus(dst *bufio.Writer) {
	var w strings.Builder
	fmt.Fprintf(&w, "Reporting-MTA: dns; %s\n", rp.a.s.Hostname)
	fmt.Fprintf(&w, "X-Postoffice-Queue-ID: %s\n", rp.a.id)
	fmt.Fprintf(&w, "Arrival-Date: %s\n", rp.a.env.Arrived.In(rp.a.s.Now().Location()).Format(time.RFC1123Z))
	room := (maxStatus - w.Len()) / max(len(rp.failed), 1)
	for _, f := range rp.failed {
		fields := rp.statusFields(f, room)
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
func (rp *report) statusFields(f failure, room int) string {
	var w strings.Builder
	o, rc := *f.outcome, rp.a.rcpt(f.key)
	to, orig := addressee(rc), rp.a.origin(rc)
	switch v, ok := smtp.FindParam(orig.Params, "ORCPT"); {
	case ok:
		fmt.Fprintf(&w, "Original-Recipient: %s\n", printable(unxtext(v), 500))
	case rp.a.s.qualified(orig.Path) != rp.a.s.qualified(to):
		fmt.Fprintf(&w, "Original-Recipient: rfc822; %s\n", printable(rp.a.s.qualified(orig.Path).String(), 500))
	}
	fmt.Fprintf(&w, "Final-Recipient: rfc822; %s\n", printable(rp.a.s.qualified(to).String(), 500))
	fmt.Fprintf(&w, "Action: failed\nStatus: %s\n", reportStatus(f))
	must := w.Len()
	if host := relayHost(o.Relay); host != "" {
		fmt.Fprintf(&w, "Remote-MTA: dns; %s\n", printable(host, 255))
	}
	kind := "x-postoffice"
	if o.Relay != "" && o.Relay != "local" && !o.Reply.IsZero() {
		kind = "smtp"
	}
	fmt.Fprintf(&w, "Diagnostic-Code: %s; %s\n", kind, strings.Join(said(o), "\n    "))
	fmt.Fprintf(&w, "Last-Attempt-Date: %s\n", rp.a.s.Now().Format(time.RFC1123Z))
	if w.Len() > room {
		return w.String()[:must]
	}
	return w.String()
}

// reportStatus is the status code of a failure: the answer's own; without
// one, of what is too old 4.4.7.
func reportStatus(f failure) string {
	switch status := f.outcome.Reply.Status; {
	case status != "":
		return status
	case f.expired:
		return "4.4.7"
	}
	return dsn(*f.outcome)
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

// unxtext decodes the xtext of RFC 3461 section 4.
func unxtext(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '+' && i+2 < len(s) {
			if c, err := strconv.ParseUint(s[i+1:i+3], 16, 8); err == nil {
				b.WriteByte(byte(c))
				i += 2
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// days says a time in words: "3 days", "90 minutes".
func days(d time.Duration) string {
	for _, u := range []struct {
		d    time.Duration
		name string
	}{{24 * time.Hour, "day"}, {time.Hour, "hour"}, {time.Minute, "minute"}} {
		switch n := int(d / u.d); {
		case d < u.d || d%u.d != 0 && u.name != "minute":
		case n == 1:
			return "1 " + u.name
		default:
			return fmt.Sprintf("%d %ss", n, u.name)
		}
	}
	return d.String()
}

// wrap breaks text into lines of at most 76 octets behind indent.
func wrap(text, indent string) string {
	var b strings.Builder
	n := 0
	for _, word := range strings.Fields(text) {
		switch {
		case n == 0:
			b.WriteString(indent)
			n = len(indent)
		case n+1+len(word) > 76:
			b.WriteString("\n" + indent)
			n = len(indent)
		default:
			b.WriteByte(' ')
			n++
		}
		b.WriteString(word)
		n += len(word)
	}
	b.WriteByte('\n')
	return b.String()
}
