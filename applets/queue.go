package applets

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"strings"
	"time"
	"unicode"

	"postoffice/deliver"
	"postoffice/internal/config"
	"postoffice/internal/control"
	"postoffice/internal/sysexits"
	"postoffice/spool"
)

var queueApplet = Applet{
	Name:  "queue",
	Usage: "list|show|cat|hold|release|retry|bounce|remove [-n] [--json] [filter ...] [ID ...]",
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
	env      *Env
	queue    queueAccess
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

func runQueue(ctx context.Context, env *Env) error {
	q := &queueRun{env: env}
	if err := q.parse(); err != nil {
		return err
	}
	return q.begin(ctx)
}

// begin does the command where the queue is now: at a server, or in files.
func (q *queueRun) begin(ctx context.Context) error {
	env := q.env
	if q.verb.name == control.Retry && !q.dry && startsPass(ctx, env) {
		return q.retryAlone(ctx)
	}
	return atQueue(ctx, env, q.verb.past != "" || q.verb.name == "cat", func(queue queueAccess, conf *config.Config) error {
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
		return exitWith(q.code, errAnswered)
	}
	return nil
}

// check looks at the command line.
func (q *queueRun) check() error {
	if len(q.env.Args) == 0 {
		return usageErrorf("no command")
	}
	for _, v := range queueVerbs() {
		if v.name == q.env.Args[0] {
			q.verb = v
		}
	}
	if q.verb.name == "" {
		return usageErrorf("no command %q", q.env.Args[0])
	}
	q.ids = q.env.Args[1:]
	if q.verb.name == control.Hold {
		q.reason, q.filter.reason = q.filter.reason, ""
		if len(q.reason) > 500 || strings.ContainsFunc(q.reason, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			return usageErrorf("--reason: want a line of at most 500 octets")
		}
		if q.reason == "" {
			q.reason = "an administrator asked"
		}
	}
	for _, id := range q.ids {
		if noID(id) {
			return usageErrorf("%.40q is no queue ID; patterns go with --to, --from and the other filters", id)
		}
	}
	switch {
	case q.dry && q.verb.past == "":
		return usageErrorf("-n is for what changes messages; %s doesn't", q.verb.name)
	case q.reroute && q.verb.name != control.Retry:
		return usageErrorf("--reroute is for retry")
	case len(q.ids) > 0 && !q.filter.empty():
		return usageErrorf("either queue IDs or filters")
	case len(q.ids) == 0 && q.filter.empty() && q.verb.name != "list":
		return usageErrorf("%s needs queue IDs or filters; --to '*' is all that is pending", q.verb.name)
	}
	return q.filter.check(time.Now())
}

// noID says that text can be no message's ID, as a pattern or a path.
func noID(text string) bool {
	return strings.ContainsFunc(text, func(r rune) bool { return r != '-' && !unicode.IsLetter(r) && !unicode.IsDigit(r) })
}

// chosen yields the messages that are meant. One that isn't there is told and
// passed over.
func (q *queueRun) chosen(ctx context.Context) iter.Seq2[control.Message, error] {
	return func(yield func(control.Message, error) bool) {
		for _, id := range q.ids {
			m, err := q.queue.show(ctx, id)
			if err != nil {
				if err = q.told(id, err); err == nil {
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
		for m, err := range q.queue.list(ctx) {
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
			err = json.NewEncoder(q.env.Stdout).Encode(m)
		case first:
			err = tell(q.env.Stdout, m, q.returned, time.Now())
		default:
			if _, err = io.WriteString(q.env.Stdout, "\n"); err == nil {
				err = tell(q.env.Stdout, m, q.returned, time.Now())
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
			err = q.told(id, q.queue.cat(ctx, id, q.env.Stdout))
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
	failed := q.queue.cat(ctx, id, data)
	err = data.Close()
	o := outcomeOf(failed)
	if tail, merr := json.Marshal(o); err == nil && merr == nil {
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
		say(q.env.Stderr, q.env.Program, "no message fits")
	}
	return ids, nil
}

// change does the verb to one message after the other and tells each outcome.
func (q *queueRun) change(ctx context.Context) error {
	ids, err := q.names(ctx)
	if err != nil {
		return err
	}
	for _, id := range ids {
		if q.dry {
			err = q.foresee(ctx, id)
		} else {
			err = q.queue.act(ctx, control.Request{Do: q.verb.name, ID: id, Reason: q.reason, Reroute: q.reroute})
		}
		if err := q.tellChange(id, err); err != nil {
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return nil
}

// foresee is what the verb would end with, as far as the state of the message
// tells.
func (q *queueRun) foresee(ctx context.Context, id string) error {
	m, err := q.queue.show(ctx, id)
	switch verb := q.verb.name; {
	case err != nil:
		return err
	case verb == control.Retry && m.State == control.Held:
		return toldError(id, deliver.ErrHeld)
	case verb == control.Release && m.State != control.Held && m.State != control.Corrupt:
		return toldError(id, deliver.ErrNotHeld)
	case verb != control.Release && verb != control.Remove && m.State == control.Corrupt:
		return toldError(id, spool.ErrCorrupt)
	}
	return nil
}
