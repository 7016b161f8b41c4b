package applets

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"postoffice/internal/config"
	"postoffice/internal/control"
	"postoffice/internal/privsep"
	"postoffice/internal/sysexits"
	"postoffice/spool"
)

var mailq = Applet{
	Name:    "mailq",
	Usage:   "[--json]",
	Short:   "list the mail queue",
	Ignored: sendmailIgnored,
	Run: func(ctx context.Context, env *Env) error {
		asJSON := env.Flags.Bool("json", false, "one JSON object per message")
		if err := env.Parse(); err != nil {
			return err
		}
		return listQueue(ctx, env, *asJSON)
	},
}

// listQueue shows every message of the queue.
func listQueue(ctx context.Context, env *Env, asJSON bool) error {
	conf, err := env.Config()
	if err != nil {
		return err
	}
	messages, done, err := queued(ctx, env, conf, asJSON)
	if err != nil || done {
		return err
	}
	if asJSON {
		return listJSON(env.Stdout, messages)
	}
	return listText(env.Stdout, messages)
}

// queued are the messages as the daemon tells them, or the files where none
// runs and the caller may read them. For root another process reads them, with
// the rights of the server-user, and prints: then it is done here.
func queued(ctx context.Context, env *Env, conf *config.Config, asJSON bool) (_ iter.Seq2[control.Message, error], done bool, err error) {
	client, err := dialControl(ctx, conf)
	switch {
	case err == nil:
		return client.List(ctx), false, nil
	case !isAbsent(err):
		return nil, false, exitWith(sysexits.TempFail, fmt.Errorf("the mail server's socket: %w", err))
	case os.Getuid() == 0:
		return nil, true, listAsOwner(ctx, env, conf, asJSON)
	case !ownsQueue(conf):
		return nil, false, exitWith(sysexits.Unavailable, fmt.Errorf("no mail server runs here, and only root may look into %s", conf.QueueDir))
	}
	messages, err := filesOf(conf)
	return messages, false, err
}

// dialControl connects to the daemon's control socket.
func dialControl(ctx context.Context, conf *config.Config) (*control.Client, error) {
	return control.Dial(ctx, filepath.Join(conf.RunDir, privsep.Control))
}

// filesOf lists the queue from its files.
func filesOf(conf *config.Config) (iter.Seq2[control.Message, error], error) {
	q, err := spool.Open(spool.Options{Dir: conf.QueueDir})
	if err != nil {
		return nil, fmt.Errorf("open the queue: %w", err)
	}
	return func(yield func(control.Message, error) bool) {
		defer q.Close()
		listing{q, func(spool.ID) bool { return false }}.all()(yield)
	}, nil
}

// listAsOwner has a process with the ids of the server-user read the queue:
// root parses no queue file.
func listAsOwner(ctx context.Context, env *Env, conf *config.Config, asJSON bool) error {
	if _, err := os.Stat(conf.QueueDir); errors.Is(err, os.ErrNotExist) {
		return listText(env.Stdout, func(func(control.Message, error) bool) {})
	}
	owner, err := serverUser(conf)
	if err != nil {
		return err
	}
	args := []string{listerRole}
	if asJSON {
		args = append(args, "--json")
	}
	return asUser(ctx, env, owner, args, bytes.NewReader(conf.Encode()))
}

// listerRole is the process that reads the queue for root's mailq; its
// configuration comes on standard input.
const listerRole = "postoffice: mailq"

func runLister(_ context.Context, env *Env) error {
	data, err := io.ReadAll(env.Stdin)
	if err != nil {
		return err
	}
	conf, err := config.Decode(data)
	if err != nil {
		return err
	}
	messages, err := filesOf(conf)
	if err != nil {
		return err
	}
	if slices.Contains(env.Args, "--json") {
		return listJSON(env.Stdout, messages)
	}
	return listText(env.Stdout, messages)
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
	var b strings.Builder
	n := 0
	for m, err := range messages {
		if err != nil {
			return err
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
	_, err := io.WriteString(w, head+b.String())
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
