package applets

import (
	"errors"
	"fmt"
	"path"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"postoffice/applets/cmdline"
	"postoffice/applets/control"
	"postoffice/internal/smtp"
	"postoffice/spool/envelope"
)

// queueFilter chooses messages. All that is given must fit; what is about a
// recipient must fit one recipient who is pending.
type queueFilter struct {
	to, from, host, reason, older string
	before                        time.Time                  // from older
	set                           *pflag.FlagSet             // nil: not from a command line
	holds                         bool                       // --reason is no pattern
	also                          func(control.Message) bool // nil: nothing else
}

func (f *queueFilter) flags(set *pflag.FlagSet) {
	f.set = set
	set.StringVar(&f.to, "to", "", "`glob` messages to a recipient like glob who is pending")
	set.StringVar(&f.from, "from", "", "`glob` messages from a sender like glob; <> is the null sender")
	set.StringVar(&f.host, "host", "", "`glob` messages to a domain like glob, or tried last with such a host or address")
	set.StringVar(&f.older, "older", "", "`time` messages that arrived longer than time ago: 90m, 2h, 3d")
	set.StringVar(&f.reason, "reason", "", "`glob` messages deferred or held for a reason like glob; with hold the reason that is kept")
}

// check reads the times and patterns; now is the present.
func (f *queueFilter) check(now time.Time) error {
	for flag, glob := range map[string]string{"to": f.to, "from": f.from, "host": f.host, "reason": f.reason} {
		if glob == "" && f.given(flag) {
			return cmdline.Usagef("--%s: empty, as an unset variable is; * fits everything", flag)
		}
		if _, err := path.Match(glob, ""); err != nil {
			return cmdline.Usagef("--%s: %q is no pattern: a [ without its ]?", flag, glob)
		}
	}
	if f.older == "" && !f.given("older") {
		return nil
	}
	span, ok := cmdline.Span(f.older)
	if !ok || f.older == "" {
		return cmdline.Usagef("--older %s: want a time such as 90m, 2h or 3d", f.older)
	}
	f.before = now.Add(-span)
	return nil
}

// given says whether a flag was given, whatever its value.
func (f *queueFilter) given(flag string) bool {
	return f.set != nil && f.set.Changed(flag) && !(flag == "reason" && f.holds)
}

// empty says that every message fits.
func (f *queueFilter) empty() bool {
	return f.to == "" && f.from == "" && f.host == "" && f.reason == "" && f.older == "" && f.also == nil
}

// fits says whether a message is chosen. Of a damaged one only the reason is
// known.
func (f *queueFilter) fits(m control.Message) bool {
	if m.State == control.Dropped {
		return f.empty() // it is no message of the queue yet
	}
	if f.also != nil && !f.also(m) {
		return false
	}
	if m.State == control.Corrupt {
		return f.to == "" && f.from == "" && f.host == "" && f.older == "" && like(f.reason, m.Reason)
	}
	if f.older != "" && !m.Arrived.Before(f.before) {
		return false
	}
	if m.Sender == "" && f.from != "" && f.from != "<>" || m.Sender != "" && !like(f.from, m.Sender) {
		return false
	}
	if f.to == "" && f.host == "" && f.reason == "" {
		return true
	}
	for _, r := range m.Recipients {
		if r.State == envelope.Pending.String() && f.fitsRecipient(m, r) {
			return true
		}
	}
	return false
}

func (f *queueFilter) fitsRecipient(m control.Message, r control.Recipient) bool {
	if !like(f.to, r.Address) {
		return false
	}
	_, domain, _ := strings.Cut(r.Address[max(0, strings.LastIndexByte(r.Address, '@')):], "@")
	if !like(f.host, domain) && (r.Relay == "" || !f.fitsRelay(r.Relay)) {
		return false
	}
	return like(f.reason, r.Reply) || m.Reason != "" && like(f.reason, m.Reason)
}

// fitsRelay looks at name and address of "name[address]:port".
func (f *queueFilter) fitsRelay(relay string) bool {
	name, rest, _ := strings.Cut(relay, "[")
	address, _, _ := strings.Cut(rest, "]")
	return name != "" && like(f.host, name) || address != "" && like(f.host, address)
}

// like compares as the shell does, without regard to case; * also takes a
// slash. An empty pattern is none.
func like(glob, text string) bool {
	if glob == "" {
		return true
	}
	plain := func(s string) string { return strings.ReplaceAll(smtp.Fold(s), "/", "\x01") }
	ok, err := path.Match(plain(glob), plain(text))
	return err == nil && ok
}

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
	o := outcome{Code: cmdline.ExitStatus(err), Error: err.Error()}
	if e := (*control.Error)(nil); errors.As(err, &e) {
		o.Code = e.Code
	}
	return o
}

// failed says on standard error why something can't be done with a message, and
// remembers the exit code.
func (q *queueRun) failed(id string, err error) error {
	if err == nil {
		return nil
	}
	if q.json {
		o := outcomeOf(err)
		o.ID, o.Action = id, q.verb.name
		q.code = max(q.code, o.Code)
		return cmdline.PrintJSON(q.env.Stdout, o)
	}
	o := outcomeOf(err)
	q.code = max(q.code, o.Code)
	q.env.Say(fmt.Sprintf("%s: %.40s: %s", q.verb.name, id, o.Error))
	return nil
}

// changed tells the outcome of a change.
func (q *queueRun) changed(id string, err error) error {
	if err != nil {
		return q.failed(id, err)
	}
	if q.json {
		return cmdline.PrintJSON(q.env.Stdout, outcome{ID: id, Action: q.verb.name, DryRun: q.dry, OK: true})
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
