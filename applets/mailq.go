package applets

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"path/filepath"
	"strings"
	"time"

	"postoffice/internal/config"
	"postoffice/internal/control"
	"postoffice/internal/privsep"
	"postoffice/spool"
)

var mailq = Applet{
	Name:    "mailq",
	Usage:   "[--json] [ID]",
	Short:   "list the mail queue",
	Ignored: sendmailIgnored,
	Run: func(ctx context.Context, env *Env) error {
		asJSON := env.Flags.Bool("json", false, "one JSON object per message")
		if err := env.Parse(); err != nil {
			return err
		}
		if len(env.Args) > 1 {
			return usageErrorf("one queue ID at a time, or none for the whole queue")
		}
		q := question{json: *asJSON}
		if len(env.Args) == 1 {
			if noID(env.Args[0]) {
				return usageErrorf("%.40q is no queue ID; postoffice queue list takes filters", env.Args[0])
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
func (q question) ask(ctx context.Context, env *Env) error {
	return atQueue(ctx, env, false, func(queue queueAccess, conf *config.Config) error {
		switch {
		case q.id == "" && q.json:
			return listJSON(env.Stdout, queue.list(ctx))
		case q.id == "":
			return listText(env.Stdout, queue.list(ctx))
		}
		m, err := queue.show(ctx, q.id)
		if e := (*control.Error)(nil); errors.As(err, &e) {
			return exitWith(e.Code, errors.New(e.Text))
		}
		if err != nil {
			return err
		}
		if q.json {
			return json.NewEncoder(env.Stdout).Encode(m)
		}
		return tell(env.Stdout, m, conf.QReturn, time.Now())
	})
}

// dialControl connects to the daemon's control socket.
func dialControl(ctx context.Context, conf *config.Config) (*control.Client, error) {
	return control.Dial(ctx, filepath.Join(conf.RunDir, privsep.Control))
}

func listJSON(w io.Writer, messages iter.Seq2[control.Message, error]) error {
	out := json.NewEncoder(w)
	for m, err := range messages {
		if err != nil {
			return err
		}
		m.History = nil
		if err := out.Encode(m); err != nil {
			return fmt.Errorf("write the list: %w", err)
		}
	}
	return nil
}

// listText prints the original's layout (original.md 1.5). It counts before it
// prints, so it holds the lines of the list in memory.
func listText(w io.Writer, messages iter.Seq2[control.Message, error]) error {
	var b, dropped strings.Builder
	n := 0
	for m, err := range messages {
		if err != nil {
			return err
		}
		if m.State == control.Dropped {
			fmt.Fprintf(&dropped, "%s, the oldest since %s\n", m.Reason, m.Arrived.Local().Format("15:04 02-Jan-2006"))
			continue
		}
		n++
		messageLines(&b, m)
	}
	head := "Mail queue is empty.\n"
	if n > 0 {
		s := "s"
		if n == 1 {
			s = ""
		}
		head = fmt.Sprintf("   Mail Queue (%d request%s)\n --ID--  --Size-- -----Queued------ ------Sender/Recipient------\n", n, s)
	}
	_, err := io.WriteString(w, head+b.String()+dropped.String())
	return err
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
		fmt.Fprintf(b, "%s%s (damaged, kept in corrupt/: %s)\n", mark, m.ID, m.Reason)
		return
	}
	fmt.Fprintf(b, "%s%s %8s %17s <%s>\n", mark, m.ID, sizeText(m.Size), m.Arrived.Local().Format("15:04 02-Jan-2006"), m.Sender)
	if m.State == control.Held {
		comment(b, "held: "+m.Reason)
	}
	for _, r := range m.Recipients {
		if r.State != spool.Pending.String() {
			continue
		}
		if r.Reply != "" {
			comment(b, r.Reply)
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
		text = text[:59] + "..."
	}
	fmt.Fprintf(b, "%17s (%s)\n", "", text)
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
