package applets

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
	"time"
	"unicode"

	"postoffice/applets/client"
	"postoffice/applets/cmdline"
	"postoffice/applets/config"
	"postoffice/applets/control"
	"postoffice/applets/server"
	"postoffice/applets/sysexits"
	"postoffice/deliver"
	"postoffice/spool"
)

var queueApplet = cmdline.Applet{
	Name:  "queue",
	Usage: "list|show|cat|hold|release|retry|bounce|remove [-n] [--json] [filter ...] [id ...]",
	Short: "look at queued messages and change them",
	Run:   runQueue,
}

// queueVerb is one command of queue. One with a past changes messages.
type queueVerb struct {
	name, past string
	do         func(q *queueRun, ctx context.Context) error
}

func queueVerbs() []queueVerb {
	return []queueVerb{
		{"list", "", (*queueRun).list},
		{"show", "", (*queueRun).show},
		{"cat", "", (*queueRun).cat},
		{control.Hold, "held", (*queueRun).change},
		{control.Release, "released", (*queueRun).change},
		{control.Retry, "to be tried now", (*queueRun).change},
		{control.Bounce, "returned", (*queueRun).change},
		{control.Remove, "removed", (*queueRun).change},
	}
}

// queueRun is one call of queue.
type queueRun struct {
	env      *cmdline.Env
	queue    client.Queue
	returned time.Duration // how long a message is tried
	verb     queueVerb
	filter   queueFilter
	ids      []string
	reason   string // of hold
	json     bool
	dry      bool
	reroute  bool // of retry
	quiet    bool // success is not told
	code     int  // the worst of the messages' exit codes
}

func runQueue(ctx context.Context, env *cmdline.Env) error {
	q := &queueRun{env: env}
	if err := q.parse(); err != nil {
		return err
	}
	return q.begin(ctx)
}

// begin does the command where the queue is now: at a server, or in files.
func (q *queueRun) begin(ctx context.Context) error {
	env := q.env
	if q.verb.name == control.Retry && !q.dry && client.StartsPass(ctx, env) {
		return q.retryAlone(ctx)
	}
	return client.AtQueue(ctx, env, q.verb.past != "" || q.verb.name == "cat", func(queue client.Queue, conf *config.Config) error {
		q.queue, q.returned = queue, conf.QReturn
		return q.run(ctx)
	})
}

// parse reads the command line.
func (q *queueRun) parse() error {
	q.env.Flags.BoolVarP(&q.dry, "dry-run", "n", false, "say what would be changed, and change nothing")
	q.env.Flags.BoolVar(&q.json, "json", false, "one JSON object per message")
	q.env.Flags.BoolVar(&q.reroute, "reroute", false, "with retry: send what is pending where aliases, lists and .forward files lead now")
	q.filter.flags(q.env.Flags)
	if err := q.env.Parse(); err != nil {
		return err
	}
	return q.check()
}

// run does the command. What was the matter with single messages has been told.
func (q *queueRun) run(ctx context.Context) error {
	if err := q.verb.do(q, ctx); err != nil {
		return err
	}
	if q.code != sysexits.OK {
		return cmdline.ExitWith(q.code, cmdline.ErrAnswered)
	}
	return nil
}

// check looks at the command line.
func (q *queueRun) check() error {
	if len(q.env.Args) == 0 {
		return cmdline.Usagef("no command")
	}
	for _, v := range queueVerbs() {
		if v.name == q.env.Args[0] {
			q.verb = v
		}
	}
	if q.verb.name == "" {
		return cmdline.Usagef("no command %q", q.env.Args[0])
	}
	q.ids = q.env.Args[1:]
	if q.verb.name == control.Hold {
		q.reason, q.filter.reason, q.filter.holds = q.filter.reason, "", true
		if len(q.reason) > 500 || strings.ContainsFunc(q.reason, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			return cmdline.Usagef("--reason: want a line of at most 500 octets")
		}
		if q.reason == "" {
			q.reason = "an administrator asked"
		}
	}
	for _, id := range q.ids {
		if noID(id) {
			return cmdline.Usagef("%.40q is no queue ID; patterns go with --to, --from and the other filters", id)
		}
	}
	switch {
	case q.dry && q.verb.past == "":
		return cmdline.Usagef("-n is for what changes messages; %s doesn't", q.verb.name)
	case q.reroute && q.verb.name != control.Retry:
		return cmdline.Usagef("--reroute is for retry")
	case len(q.ids) > 0 && !q.filter.empty():
		return cmdline.Usagef("either queue IDs or filters")
	case len(q.ids) == 0 && q.filter.empty() && q.verb.name != "list":
		return cmdline.Usagef("%s needs queue IDs or filters; --to '*' is all that is pending", q.verb.name)
	}
	return q.filter.check(time.Now())
}

// noID says that text can be no message's ID, as a pattern or a path.
func noID(text string) bool {
	return text == "" || strings.ContainsFunc(text, func(r rune) bool { return r != '-' && !unicode.IsLetter(r) && !unicode.IsDigit(r) })
}

// chosen yields the messages that are meant. One that isn't there is told and
// passed over.
func (q *queueRun) chosen(ctx context.Context) iter.Seq2[control.Message, error] {
	return func(yield func(control.Message, error) bool) {
		for _, id := range q.ids {
			m, err := q.queue.Show(ctx, id)
			if err != nil {
				if err = q.failed(id, err); err == nil {
					continue
				}
			}
			if !yield(m, err) || err != nil {
				return
			}
		}
		if len(q.ids) > 0 {
			return
		}
		for m, err := range q.queue.List(ctx) {
			if (err != nil || q.filter.fits(m)) && (!yield(m, err) || err != nil) {
				return
			}
		}
	}
}

func (q *queueRun) list(ctx context.Context) error {
	if q.json {
		return listJSON(q.env.Stdout, q.chosen(ctx))
	}
	return listText(q.env.Stdout, q.chosen(ctx))
}

func (q *queueRun) show(ctx context.Context) error {
	first := true
	for m, err := range q.chosen(ctx) {
		switch {
		case err != nil:
			return err
		case q.json:
			err = showJSON(q.env.Stdout, m)
		case first:
			err = messageText(q.env.Stdout, m, q.returned, time.Now())
		default:
			if _, err = io.WriteString(q.env.Stdout, "\n"); err == nil {
				err = messageText(q.env.Stdout, m, q.returned, time.Now())
			}
		}
		if err != nil {
			return fmt.Errorf("write the answer: %w", err)
		}
		first = false
	}
	return nil
}

// cat writes header and body as they are; in JSON they are base64.
func (q *queueRun) cat(ctx context.Context) error {
	ids, err := q.names(ctx)
	if err != nil {
		return err
	}
	for _, id := range ids {
		if q.json {
			err = q.catJSON(ctx, id)
		} else {
			err = q.failed(id, q.queue.Cat(ctx, id, q.env.Stdout))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// catJSON writes an object whose data goes through as it comes.
func (q *queueRun) catJSON(ctx context.Context, id string) error {
	out := q.env.Stdout
	name, err := json.Marshal(id)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(out, `{"id":%s,"data":"`, name); err != nil {
		return fmt.Errorf("write the answer: %w", err)
	}
	data := base64.NewEncoder(base64.StdEncoding, out)
	failed := q.queue.Cat(ctx, id, data)
	err = data.Close()
	o := outcomeOf(failed)
	if tail, merr := cmdline.JSON(o); err == nil && merr == nil {
		_, err = fmt.Fprintf(out, "\",%s\n", tail[1:])
	}
	q.code = max(q.code, o.Code)
	return err
}

// names are the IDs that are meant.
func (q *queueRun) names(ctx context.Context) ([]string, error) {
	if len(q.ids) > 0 {
		return q.ids, nil
	}
	var ids []string
	for m, err := range q.chosen(ctx) {
		if err != nil {
			return nil, err
		}
		ids = append(ids, m.ID)
	}
	if len(ids) == 0 && !q.quiet {
		q.env.Say("no message fits")
	}
	return ids, nil
}

// change does the verb to each message and tells each outcome. Those that can't be
// changed now, as they are being worked on, come last, and have one wait together.
func (q *queueRun) change(ctx context.Context) error {
	ids, err := q.names(ctx)
	if err != nil {
		return err
	}
	busy, err := q.changeUntil(ctx, ids, time.Now(), false)
	if err == nil && len(busy) > 0 {
		_, err = q.changeUntil(ctx, busy, time.Now().Add(deliver.AdminWait), true)
	}
	return err
}

// changeUntil does the verb to one message after the other, and waits until then for
// those who work on them. last says that nobody waits longer; otherwise it returns
// what was left.
func (q *queueRun) changeUntil(ctx context.Context, ids []string, until time.Time, last bool) (busy []string, err error) {
	for _, id := range ids {
		if q.dry {
			err = q.wouldFail(ctx, id)
		} else {
			err = q.queue.Act(ctx, control.Request{Do: q.verb.name, ID: id, Reason: q.reason, Reroute: q.reroute, Until: until})
		}
		if e, ok := errors.AsType[*control.Error](err); ok && e.Code == sysexits.TempFail && !last {
			busy = append(busy, id)
		} else if err := q.changed(id, err); err != nil {
			return nil, err
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
	return busy, nil
}

// wouldFail is what the verb would end with, as far as the state of the message
// tells.
func (q *queueRun) wouldFail(ctx context.Context, id string) error {
	m, err := q.queue.Show(ctx, id)
	switch verb := q.verb.name; {
	case err != nil:
		return err
	case verb == control.Retry && m.State == control.Held:
		return server.MessageError(id, deliver.ErrHeld)
	case verb == control.Release && m.State != control.Held && m.State != control.Corrupt:
		return server.MessageError(id, deliver.ErrNotHeld)
	case verb != control.Release && verb != control.Remove && m.State == control.Corrupt:
		return server.MessageError(id, spool.ErrCorrupt)
	}
	return nil
}

// retryAlone is retry where no server runs: a server for this one pass tries
// the messages, and no others. It waits for the end of that.
func (q *queueRun) retryAlone(ctx context.Context) error {
	ids, err := q.triable(ctx)
	if err != nil {
		return err
	}
	q.verb.past = "tried"
	for some := range slices.Chunk(ids, control.MaxOnly) {
		if err := client.TryAlone(ctx, q.env, some, q.reroute); err != nil {
			return err
		}
		for _, id := range some {
			if err := q.changed(id, nil); err != nil {
				return err
			}
		}
	}
	if q.code != sysexits.OK {
		return cmdline.ExitWith(q.code, cmdline.ErrAnswered)
	}
	return nil
}

// triable are those of the messages that can be tried: what a dry run of the
// command says. The others are told.
func (q *queueRun) triable(ctx context.Context) (ids []string, err error) {
	var said bytes.Buffer
	env, dry := q.env.With(&said, "-n", "--json"), *q
	dry.env, dry.dry, dry.json = env, true, true
	err = client.AtQueue(ctx, env, true, func(queue client.Queue, conf *config.Config) error {
		dry.queue, dry.returned = queue, conf.QReturn
		return dry.run(ctx)
	})
	if err != nil && !errors.Is(err, cmdline.ErrAnswered) {
		return nil, err
	}
	for lines := json.NewDecoder(&said); ; {
		var o outcome
		err := lines.Decode(&o)
		if errors.Is(err, io.EOF) {
			return ids, nil
		}
		if err != nil {
			return nil, fmt.Errorf("the list of messages: %w", err)
		}
		if _, ok := spool.ParseID(o.ID); o.OK && ok {
			ids = append(ids, o.ID)
			continue
		}
		if err := q.failed(o.ID, &control.Error{Code: o.Code, Text: o.Error}); err != nil {
			return nil, err
		}
	}
}
