package applets

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"
	"time"

	"postoffice/applets/client"
	"postoffice/applets/cmdline"
	"postoffice/applets/config"
	"postoffice/applets/control"
	"postoffice/spool/envelope"
)

var mailq = cmdline.Applet{
	Name:    "mailq",
	Usage:   "[--json] [id]",
	Short:   "list the mail queue",
	Ignored: cmdline.SendmailIgnored,
	Run: func(ctx context.Context, env *cmdline.Env) error {
		asJSON := env.Flags.Bool("json", false, "one JSON object per message")
		if err := env.Parse(); err != nil {
			return err
		}
		if len(env.Args) > 1 {
			return cmdline.Usagef("one queue ID at a time, or none for the whole queue")
		}
		q := question{json: *asJSON}
		if len(env.Args) == 1 {
			if noID(env.Args[0]) {
				return cmdline.Usagef("%.40q is no queue ID; postoffice queue list takes filters", env.Args[0])
			}
			q.id = env.Args[0]
		}
		return q.ask(ctx, env)
	},
}

// question is what somebody wants to know of the queue.
type question struct {
	json bool
	id   string // one message with its history; "": all
}

// ask gets the answer and prints it: all messages, or the one that was asked
// for.
func (q question) ask(ctx context.Context, env *cmdline.Env) error {
	return client.AtQueue(ctx, env, false, func(queue client.Queue, conf *config.Config) error {
		switch {
		case q.id == "" && q.json:
			return listJSON(env.Stdout, queue.List(ctx))
		case q.id == "":
			return listText(env.Stdout, queue.List(ctx))
		}
		m, err := queue.Show(ctx, q.id)
		if e := (*control.Error)(nil); errors.As(err, &e) {
			return cmdline.ExitWith(e.Code, errors.New(e.Text))
		}
		if err != nil {
			return err
		}
		if q.json {
			return showJSON(env.Stdout, m)
		}
		return messageText(env.Stdout, m, conf.QReturn, time.Now())
	})
}

func listJSON(w io.Writer, messages iter.Seq2[control.Message, error]) error {
	for m, err := range messages {
		if err != nil {
			return err
		}
		if err := cmdline.PrintJSON(w, listed(m)); err != nil {
			return fmt.Errorf("write the list: %w", err)
		}
	}
	return nil
}

// listText prints the original's layout, which programs read, and behind it how
// much it is in the words of other servers: check_mailq of the monitoring plugins
// takes the number from one of them, depending on -M. It counts before it prints,
// so it holds the lines of the list in memory.
func listText(w io.Writer, messages iter.Seq2[control.Message, error]) error {
	var b, dropped strings.Builder
	n, left, octets := 0, 0, int64(0)
	for m, err := range messages {
		if err != nil {
			return err
		}
		octets += m.Size
		if m.State == control.Dropped {
			left += m.Files
			fmt.Fprintf(&dropped, "%s, the oldest since %s\n", cmdline.Printed(m.Reason), m.Arrived.Local().Format("15:04 02-Jan-2006"))
			continue
		}
		n++
		messageLines(&b, printable(m))
	}
	head := ""
	switch {
	case n == 0 && left == 0:
		head = "Mail queue is empty.\n"
	case n > 0:
		head = fmt.Sprintf("   Mail Queue (%d request%s)\n --ID--  --Size-- -----Queued------ ------Sender/Recipient------\n", n, plural(n))
	}
	foot := ""
	if all := n + left; all > 0 {
		foot = fmt.Sprintf("%16sTotal requests: %d\n-- %d Kbytes in %d Request%s.\n", "", all, octets/1024, all, plural(all))
	}
	_, err := io.WriteString(w, head+b.String()+dropped.String()+foot)
	return err
}

// plural is the end of a noun for n of it.
func plural(n int) string {
	if n == 1 {
		return ""
	}
	return "s"
}

// messageLines are the lines of one message.
func messageLines(b *strings.Builder, m control.Message) {
	mark := " "
	switch m.State {
	case control.Active:
		mark = "*"
	case control.Held:
		mark = "!"
	}
	if m.State == control.Corrupt {
		fmt.Fprintf(b, "%s%s (damaged, kept in corrupt/%s)\n", mark, m.ID, behind(": ", m.Reason))
		return
	}
	who := "<" + m.Sender + ">"
	if m.Private {
		who = "(not yours)"
	}
	fmt.Fprintf(b, "%s%s %8s %17s %s\n", mark, m.ID, sizeText(m.Size), m.Arrived.Local().Format("15:04 02-Jan-2006"), who)
	switch {
	case m.State == control.Held && m.Reason != "":
		comment(b, "held: "+m.Reason)
	case m.State == control.Waiting:
		comment(b, "waits for filters"+behind(": ", m.Reason))
	}
	for _, r := range m.Recipients {
		if r.State != envelope.Pending.String() {
			continue
		}
		if r.Reply != "" {
			comment(b, r.Reply)
		}
		if r.TLS != "" {
			comment(b, "over "+r.TLS)
		}
		fmt.Fprintf(b, "%36s%s\n", "", r.Address)
		if !r.Next.IsZero() && m.State == control.Deferred {
			comment(b, "next try "+r.Next.Local().Format("15:04 02-Jan-2006")+", tried "+times(r.Attempts))
		}
	}
}

// comment is a line about what stands around it, at most 62 characters.
func comment(b *strings.Builder, text string) {
	if len(text) > 62 {
		text = strings.ToValidUTF8(text[:59], "") + "..."
	}
	fmt.Fprintf(b, "%17s (%s)\n", "", text)
}

// behind is text with what stands in front of it, if there is any.
func behind(what, text string) string {
	if text == "" {
		return ""
	}
	return what + text
}

func times(n int) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}

// sizeText is a size as the original shows it: plain with a blank behind, or in
// K, M, G of 1024.
func sizeText(octets int64) string {
	const k = 1024
	switch {
	case octets < 10_000:
		return fmt.Sprintf("%d ", octets)
	case octets < 1_000_000:
		return fmt.Sprintf("%5.2fK", float64(octets)/k)
	case octets < 1_000_000_000:
		return fmt.Sprintf("%5.2fM", float64(octets)/k/k)
	}
	return fmt.Sprintf("%5.2fG", float64(octets)/k/k/k)
}
