package report

import (
	"bufio"
	"fmt"
	"strings"
	"time"

	"postoffice/deliver/outcome"
	"postoffice/internal/smtp"
)

// writeText explains to a person what happened to which recipient. Those with
// the same story share it.
func (r *Report) writeText(dst *bufio.Writer) {
	var w strings.Builder
	fmt.Fprintf(&w, "This is the mail server at %s.\n\n", r.Hostname)
	if r.Double {
		fmt.Fprintf(&w, "%s", wrap("A message with an empty sender, which is a report or an automatic answer as a rule, came in on "+r.arrived()+" and could not be delivered. Its sender can't be told, so you are, once. Its header is below.", ""))
	} else {
		what := "The header of your message"
		if r.Original.Message != nil {
			what = "Your message"
		}
		fmt.Fprintf(&w, "%s", wrap("Your message of "+r.arrived()+" could not be delivered to the recipients below. It will not be tried again for them; recipients that are not named here are not concerned. "+what+" is at the end.", ""))
	}
	stories := map[string][]int{}
	var order []string
	for i := range r.N {
		s := r.story(r.Recipient(i))
		if stories[s] == nil {
			order = append(order, s)
		}
		stories[s] = append(stories[s], i)
	}
	left := r.N
	for _, s := range order {
		for _, i := range stories[s] {
			if w.Len()+len(s) > maxText {
				fmt.Fprintf(&w, "\nand %d more recipients, for which there is no room here.\n", left)
				dst.WriteString(w.String())
				return
			}
			fmt.Fprintf(&w, "\n%s", r.Recipient(i).name())
			left--
		}
		w.WriteByte('\n')
		w.WriteString(s)
	}
	dst.WriteString(w.String())
}

// name is a recipient as a person knows it: by the address, and by the one that
// the message was sent to where that is another. Of an item it says whose it is.
func (rc Recipient) name() string {
	to, sent := shown(rc.Address, 300), shown(rc.Sent, 300)
	var more []string
	if rc.Item != "" {
		more = append(more, "a "+smtp.Printable(rc.Item, 300))
	}
	if sent != to {
		more = append(more, "expanded from <"+sent+">")
	}
	name := "<" + to + ">"
	if len(more) > 0 {
		name += " (" + strings.Join(more, ", ") + ")"
	}
	return name
}

// story says what happened and what to do about it.
func (r *Report) story(rc Recipient) string {
	var b strings.Builder
	o := *rc.Outcome
	byPeer := o.Relay != "" && o.Relay != "local" && !o.Reply.IsZero()
	switch {
	case rc.Expired && byPeer:
		fmt.Fprintf(&b, "%s", wrap(fmt.Sprintf("could not be delivered %s, and is given up now. The last answer of %s was:", since(r.Tried), smtp.Printable(o.Relay, 300)), "    "))
	case rc.Expired:
		fmt.Fprintf(&b, "%s", wrap(fmt.Sprintf("could not be delivered %s, and is given up now. The last attempt ended with:", since(r.Tried)), "    "))
	case byPeer && (o.Err == nil || o.Advice() != ""):
		fmt.Fprintf(&b, "%s", wrap(fmt.Sprintf("was refused by the server %s, which said:", smtp.Printable(o.Relay, 300)), "    "))
	default:
		fmt.Fprintf(&b, "%s", wrap("can't be delivered:", "    "))
	}
	for _, line := range said(o) {
		fmt.Fprintf(&b, "        %s\n", line)
	}
	b.WriteString(wrap(rc.advice(), "    "))
	return b.String()
}

// said is what the outcome rests on, filtered and bounded.
func said(o outcome.Outcome) []string {
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

func (rc Recipient) advice() string {
	if rc.Returned {
		return "Whoever looks after this mail server took the message out of its queue. Ask its postmaster for the reason."
	}
	if a := rc.Outcome.Advice(); a != "" {
		return a
	}
	status := rc.status()
	for _, a := range adviceBy {
		if strings.HasPrefix(status, a.status) {
			return a.text
		}
	}
	return ""
}

// since says for how long something was tried.
func since(limit time.Duration) string {
	if limit <= 0 {
		return "at once"
	}
	return "for " + days(limit)
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

// saidLines returns what a peer said as at most 10 lines of 500 octets
// (A61).
func saidLines(text string) []string {
	const lines, octets = 10, 500
	var out []string
	for line := range strings.SplitSeq(text, "\n") {
		if len(out) == lines {
			return append(out, "(and more)")
		}
		out = append(out, smtp.Printable(strings.TrimRight(line, "\r "), octets))
	}
	return out
}
