package client

import (
	"fmt"
	"io"
	"strings"
	"time"

	"postoffice/applets/cmdline"
	"postoffice/applets/control"
	"postoffice/internal/maillog"
)

// viewer shows people what happens to messages: the lines of conversations as
// the original's -v does, and outcomes as sentences.
type viewer struct {
	out     io.Writer
	program string
	each    bool // of several messages: outcomes name theirs
	open    int  // connections that were opened and not closed
}

// show shows one event. Failures are shown with quiet too.
func (v *viewer) show(s control.Event, quiet bool) {
	switch {
	case s.Line != nil && !quiet:
		v.line(*s.Line)
	case s.Outcome != nil && !(quiet && s.Outcome.Status == maillog.Sent):
		text := outcomeText(*s.Outcome)
		if v.each {
			text = s.ID + ": " + text
		}
		cmdline.Say(v.out, v.program, text)
	case s.Lost > 0 && !quiet:
		cmdline.Say(v.out, v.program, fmt.Sprintf("%d lines of conversations came too fast to be shown", s.Lost))
	}
}

func (v *viewer) line(l control.Line) {
	who := l.Relay
	if from, to := strings.IndexByte(who, '['), strings.IndexByte(who, ']'); from >= 0 && from < to {
		who = who[from+1 : to]
	}
	text := ""
	switch l.Dir {
	case control.Opened:
		v.open++
		text = "OPEN"
	case control.Sent:
		text = "<< " + l.Text
	case control.Received:
		text = ">> " + l.Text
	case control.Closed:
		v.open--
		text = "CLOSE"
		if l.Text != "" {
			text += " (" + l.Text + ")"
		}
	}
	fmt.Fprintf(v.out, "%15s %s\n", cmdline.Printed(who), cmdline.Printed(text))
}

// outcomeText says what has become of a recipient.
func outcomeText(o control.Outcome) string {
	who := o.Address
	if o.Original != "" && o.Original != o.Address {
		who += " (for " + o.Original + ")"
	}
	what := map[string]string{
		maillog.Sent:     "delivered",
		maillog.Deferred: "not delivered yet",
		maillog.Bounced:  "failed, and goes back to the sender",
		maillog.Expired:  "failed for too long, and goes back to the sender",
	}[o.Status]
	why := o.Reply
	if !strings.Contains(o.Reply, o.Err) {
		why = strings.TrimPrefix(why+": "+o.Err, ": ")
	}
	switch {
	case o.Relay == "" || o.Relay == "local":
		what += ": " + why
	case o.Reply != "":
		what += ": " + o.Relay + " said: " + why
	default:
		what += ": " + o.Relay + ": " + why
	}
	if !o.Next.IsZero() {
		what += "; the next attempt is at " + o.Next.Local().Format(time.TimeOnly)
	}
	return who + ": " + what
}
