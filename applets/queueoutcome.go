package applets

import (
	"encoding/json"
	"errors"
	"fmt"

	"postoffice/internal/control"
)

// outcome is what became of one message, as JSON.
type outcome struct {
	ID     string `json:"id,omitempty"`
	Action string `json:"action,omitempty"`
	DryRun bool   `json:"dry_run,omitempty"`
	OK     bool   `json:"ok"`
	Code   int    `json:"code"` // exit code, sysexits(3)
	Error  string `json:"error,omitempty"`
}

func outcomeOf(err error) outcome {
	if err == nil {
		return outcome{OK: true}
	}
	o := outcome{Code: exitStatus(err), Error: err.Error()}
	if e := (*control.Error)(nil); errors.As(err, &e) {
		o.Code = e.Code
	}
	return o
}

// told says on standard error why something can't be done with a message, and
// remembers the exit code.
func (q *queueRun) told(id string, err error) error {
	if err == nil {
		return nil
	}
	if q.json {
		o := outcomeOf(err)
		o.ID, o.Action = id, q.verb.name
		q.code = max(q.code, o.Code)
		return json.NewEncoder(q.env.Stdout).Encode(o)
	}
	o := outcomeOf(err)
	q.code = max(q.code, o.Code)
	say(q.env.Stderr, q.env.Program, fmt.Sprintf("%s: %.40s: %s", q.verb.name, id, o.Error))
	return nil
}

// tellChange tells the outcome of a change.
func (q *queueRun) tellChange(id string, err error) error {
	if err != nil {
		return q.told(id, err)
	}
	if q.json {
		return json.NewEncoder(q.env.Stdout).Encode(outcome{ID: id, Action: q.verb.name, DryRun: q.dry, OK: true})
	}
	if q.quiet {
		return nil
	}
	what := q.verb.past
	if q.dry {
		what = "would be " + what
		if q.verb.name == control.Retry {
			what = "would be tried now"
		}
	}
	if q.reroute {
		what += ", expanded anew"
	}
	_, werr := fmt.Fprintf(q.env.Stdout, "%s: %s\n", id, what)
	return werr
}
