package applets

import (
	"fmt"
	"io"
	"strings"
	"time"

	"postoffice/internal/control"
	"postoffice/spool"
)

// stamp is how a time is shown to people, in the time zone of the caller.
const stamp = "15:04:05 on 2 January 2006"

// tell writes everything that is known of a message, in sentences. returned is
// how long a message is tried.
func tell(w io.Writer, m control.Message, returned time.Duration, now time.Time) error {
	var b strings.Builder
	if m.State == control.Corrupt {
		fmt.Fprintf(&b, "Message %s can't be read: %s.\nIts file is kept in the folder corrupt of the queue; nothing is delivered from it.\n", m.ID, m.Reason)
		_, err := io.WriteString(w, b.String())
		return err
	}
	sender := "<" + m.Sender + ">"
	if m.Sender == "" {
		sender = "the null sender <>, so nobody is told of failures"
	}
	fmt.Fprintf(&b, "Message %s of %d octets from %s arrived at %s.\n", m.ID, m.Size, sender, m.Arrived.Local().Format(stamp))
	switch m.State {
	case control.Held:
		fmt.Fprintf(&b, "It is held: %s. Nothing is tried until it is released.\n", m.Reason)
	case control.Active:
		b.WriteString("It is due now, or being delivered.\n")
	default:
		if m.Reason != "" {
			fmt.Fprintf(&b, "It waits: %s.\n", m.Reason)
		}
	}
	for _, r := range m.Recipients {
		tellRecipient(&b, m, r, returned, now)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// tellRecipient says how far one recipient is, what was tried, and what follows.
func tellRecipient(b *strings.Builder, m control.Message, r control.Recipient, returned time.Duration, now time.Time) {
	fmt.Fprintf(b, "\n%s: %s.\n", r.Address, progress(r.State))
	for _, e := range m.History {
		if e.Address == "" || e.Address == r.Address {
			fmt.Fprintf(b, "  At %s %s\n", e.Time.Local().Format(stamp), happened(e))
		}
	}
	if r.State != spool.Pending.String() || m.State == control.Held {
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
	case spool.Pending.String():
		return "still to be delivered"
	case spool.Bounced.String():
		return "failed for good; the sender was told, where there is one"
	case spool.Cancelled.String():
		return "taken out by an administrator"
	}
	return state
}

// happened says what an attempt came to, or what else was done.
func happened(e control.Event) string {
	if e.Event != "" {
		return "it was " + e.Event + ": " + e.Err
	}
	whom := "it was tried"
	if e.Attempt > 0 {
		whom = fmt.Sprintf("attempt %d was made", e.Attempt)
	}
	if e.Relay != "" {
		whom += " with " + e.Relay
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
