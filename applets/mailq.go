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
	"strconv"
	"strings"
	"time"

	"postoffice/internal/config"
	"postoffice/internal/control"
	"postoffice/internal/privsep"
	"postoffice/internal/sysexits"
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

// ask gets the answer from the daemon, or from the files where none runs and
// the caller may read them. For root another process reads them, with the
// rights of the server-user: root parses no queue file.
func (q question) ask(ctx context.Context, env *Env) error {
	conf, err := env.Config()
	if err != nil {
		return err
	}
	client, err := dialControl(ctx, conf)
	switch {
	case err == nil:
		defer client.Close()
		return q.answer(env.Stdout, conf, client.List(ctx), func() (control.Message, error) { return client.Show(ctx, q.id) })
	case !isAbsent(err):
		return exitWith(sysexits.TempFail, fmt.Errorf("the mail server's socket: %w", err))
	case os.Getuid() == 0:
		return q.askOwner(ctx, env, conf)
	case !ownsQueue(conf):
		return exitWith(sysexits.Unavailable, fmt.Errorf("no mail server runs here, and only root may look into %s", conf.QueueDir))
	}
	return q.askFiles(env, conf)
}

// askFiles answers from the files.
func (q question) askFiles(env *Env, conf *config.Config) error {
	files, err := spool.Open(spool.Options{Dir: conf.QueueDir})
	if err != nil {
		return fmt.Errorf("open the queue: %w", err)
	}
	defer files.Close()
	l := listing{files, func(spool.ID) bool { return false }}
	return q.answer(env.Stdout, conf, l.all(), func() (control.Message, error) { return l.one(spool.ID(q.id)) })
}

// askOwner has a process with the ids of the server-user answer.
func (q question) askOwner(ctx context.Context, env *Env, conf *config.Config) error {
	if _, err := os.Stat(conf.QueueDir); errors.Is(err, os.ErrNotExist) {
		return q.answer(env.Stdout, conf, func(func(control.Message, error) bool) {}, func() (control.Message, error) { return noMessage(q.id) })
	}
	owner, err := serverUser(conf)
	if err != nil {
		return err
	}
	return asUser(ctx, env, owner, []string{listerRole, strconv.FormatBool(q.json), q.id}, bytes.NewReader(conf.Encode()))
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
	if len(env.Args) != 2 {
		return usageErrorf("this is a part of mailq")
	}
	return question{env.Args[0] == "true", env.Args[1]}.askFiles(env, conf)
}

// answer prints all messages, or the one that was asked for.
func (q question) answer(w io.Writer, conf *config.Config, all iter.Seq2[control.Message, error], one func() (control.Message, error)) error {
	if q.id == "" && q.json {
		return listJSON(w, all)
	}
	if q.id == "" {
		return listText(w, all)
	}
	m, err := one()
	if e := (*control.Error)(nil); errors.As(err, &e) {
		return exitWith(e.Code, errors.New(e.Text))
	}
	if err != nil {
		return err
	}
	if q.json {
		return json.NewEncoder(w).Encode(m)
	}
	return tell(w, m, conf.QReturn, time.Now())
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
