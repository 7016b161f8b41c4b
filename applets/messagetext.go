package applets

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"postoffice/applets/cmdline"
	"postoffice/applets/control"
	"postoffice/spool"
	"postoffice/spool/envelope"
)

// stamp is how a time is shown to people, in the time zone of the caller.
const stamp = "15:04:05 on 2 January 2006"

// messageText writes everything that is known of a message, in sentences. returned is
// how long a message is tried.
func messageText(w io.Writer, m control.Message, returned time.Duration, now time.Time) error {
	m = printable(m)
	b := bufio.NewWriter(w)
	if m.State == control.Corrupt {
		fmt.Fprintf(b, "Message %s can't be read%s.\nIts file is kept in the folder corrupt of the queue; nothing is delivered from it.\n", m.ID, behind(": ", m.Reason))
		return b.Flush()
	}
	sender := "<" + m.Sender + ">"
	if m.Sender == "" {
		sender = "the null sender <>, so nobody is told of failures"
	}
	if m.Private {
		fmt.Fprintf(b, "Message %s of %d octets arrived at %s and is %s. It is not yours, so that no more is shown to you.\n", m.ID, m.Size, m.Arrived.Local().Format(stamp), m.State)
		return b.Flush()
	}
	fmt.Fprintf(b, "Message %s of %d octets from %s arrived at %s.\n", m.ID, m.Size, sender, m.Arrived.Local().Format(stamp))
	switch m.State {
	case control.Held:
		fmt.Fprintf(b, "It is held: %s. Nothing is tried until it is released.\n", m.Reason)
	case control.Waiting:
		fmt.Fprintf(b, "It waits for filters to judge it%s. Nobody gets it before; it goes back to its sender when it has waited as long as other mail may.\n", behind(": ", m.Reason))
	case control.Active:
		b.WriteString("It is due now, or being delivered.\n")
	default:
		if m.Reason != "" {
			fmt.Fprintf(b, "It waits: %s.\n", m.Reason)
		}
	}
	if m.RequireTLS {
		b.WriteString("It goes over TLS alone, to servers that do the same (REQUIRETLS).\n")
	}
	for i, r := range m.Recipients {
		if r.State != envelope.Expanded.String() {
			recipientText(b, m, i, returned, now)
		}
	}
	return b.Flush()
}

// printable is a message whose texts can be shown on a terminal, whatever a server
// says.
func printable(m control.Message) control.Message {
	m.ID, m.Sender, m.State, m.Reason = cmdline.Printed(m.ID), cmdline.Printed(m.Sender), cmdline.Printed(m.State), cmdline.Printed(m.Reason)
	for i, r := range m.Recipients {
		r.Address, r.State, r.Relay, r.TLS, r.Reply = cmdline.Printed(r.Address), cmdline.Printed(r.State), cmdline.Printed(r.Relay), cmdline.Printed(r.TLS), cmdline.Printed(r.Reply)
		m.Recipients[i] = r
	}
	for i, n := range m.History {
		n.Event, n.Relay, n.TLS, n.Reply, n.Err = cmdline.Printed(n.Event), cmdline.Printed(n.Relay), cmdline.Printed(n.TLS), cmdline.Printed(n.Reply), cmdline.Printed(n.Err)
		m.History[i] = n
	}
	return m
}

// listed is a message of a list for programs: without its history, and without
// recipients that others stand for.
func listed(m control.Message) control.Message {
	m.History = nil
	m.Recipients = slices.DeleteFunc(slices.Clone(m.Recipients), func(r control.Recipient) bool { return r.State == envelope.Expanded.String() })
	return m
}

// showJSON writes a message with its history, an entry for each recipient that a
// note speaks of.
func showJSON(w io.Writer, m control.Message) error {
	b := bufio.NewWriter(w)
	head, err := cmdline.JSON(listed(m))
	if err != nil {
		return err
	}
	b.Write(head[:len(head)-1])
	between := `,"history":[`
	put := func(n control.Note) error {
		b.WriteString(between)
		between = ","
		n.For = nil
		entry, err := cmdline.JSON(n)
		b.Write(entry)
		return err
	}
	for _, n := range m.History {
		if len(n.For) == 0 {
			err = errors.Join(err, put(n))
		}
		for _, r := range n.For {
			for i := max(r[0], 0); i <= min(r[1], len(m.Recipients)-1); i++ {
				n.Address = m.Recipients[i].Address
				err = errors.Join(err, put(n))
			}
		}
	}
	if len(m.History) > 0 && between == "," {
		b.WriteByte(']')
	}
	b.WriteString("}\n")
	return errors.Join(err, b.Flush())
}

// recipientText says how far one recipient is, what was tried, and what follows.
func recipientText(b *bufio.Writer, m control.Message, i int, returned time.Duration, now time.Time) {
	r := m.Recipients[i]
	fmt.Fprintf(b, "\n%s: %s.\n", r.Address, progress(r.State))
	for _, e := range m.History {
		if e.Speaks(i) {
			fmt.Fprintf(b, "  At %s %s\n", e.Time.Local().Format(stamp), happened(e))
		}
	}
	if r.State != envelope.Pending.String() || m.State == control.Held || m.State == control.Waiting {
		return
	}
	switch {
	case r.Attempts == 0:
		b.WriteString("  It was not tried yet.\n")
	case r.Next.After(now):
		fmt.Fprintf(b, "  The next attempt is at %s, in %s.\n", r.Next.Local().Format(stamp), r.Next.Sub(now).Round(time.Second))
	default:
		b.WriteString("  The next attempt is due.\n")
	}
	fmt.Fprintf(b, "  If an attempt after %s fails too, the message is returned.\n", m.Arrived.Add(returned).Local().Format(stamp))
}

// progress says what a recipient's state means.
func progress(state string) string {
	switch state {
	case envelope.Pending.String():
		return "still to be delivered"
	case envelope.Bounced.String():
		return "failed for good; the sender was told, where there is one"
	case envelope.Cancelled.String():
		return "taken out by an administrator"
	}
	return state
}

// happened says what an attempt came to, or what else was done.
func happened(e control.Note) string {
	switch {
	case e.Event == spool.WaitsEvent && e.Err == "":
		return "it came, and waits for filters."
	case e.Event == spool.WaitsEvent:
		return "filters could not judge it: " + e.Err
	case e.Event != "":
		return "it was " + e.Event + cmp.Or(behind(": ", e.Err), ".")
	}
	whom := "it was tried"
	if e.Attempt > 0 {
		whom = fmt.Sprintf("attempt %d was made", e.Attempt)
	}
	if e.Relay != "" {
		whom += " with " + e.Relay
	}
	if e.TLS != "" {
		whom += " over " + e.TLS
	}
	switch {
	case e.Reply != "" && e.Relay != "":
		return whom + ", which said: " + e.Reply
	case e.Reply != "":
		return whom + ": " + e.Reply
	case e.Err != "":
		return whom + " and failed: " + e.Err
	}
	return whom + "."
}
