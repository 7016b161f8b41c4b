package authexpire

import (
	"context"
	"fmt"
	"strings"
	"time"

	"postoffice/applets/client"
	"postoffice/applets/cmdline"
	"postoffice/applets/config"
	"postoffice/applets/control"
	"postoffice/applets/smtpd/greykeeper"
	"postoffice/applets/smtpd/greylist"
	"postoffice/applets/state"
)

// Greylist is the program that says what the greylist has come to.
var Greylist = cmdline.Applet{
	Name:  "greylist",
	Usage: "report [--since time] [--json]",
	Short: "say what the greylist has come to",
	Run:   runGreylist,
}

func runGreylist(ctx context.Context, env *cmdline.Env) error {
	p := &printer{env: env}
	var since string
	env.Flags.StringVar(&since, "since", "7d", "`time` how far back: a number with h, d or w")
	env.Flags.BoolVar(&p.json, "json", false, "one JSON object")
	if err := env.Parse(); err != nil {
		return err
	}
	if len(env.Args) != 1 || env.Args[0] != "report" {
		return cmdline.Usagef("the command is report: postoffice greylist report --since 7d")
	}
	span, ok := cmdline.Span(since)
	if !ok || span < time.Hour {
		return cmdline.Usagef("--since %.40q: want a number with h, d or w behind it, an hour at least", since)
	}
	return client.AtStore(ctx, env, false, func(part func(string) control.Store, conf *config.Config) error {
		now := time.Now()
		r, err := sumUp(ctx, part(state.Greylist), part(state.GreylistHours), now.Add(-span), now)
		if err != nil {
			return err
		}
		r.Mode = conf.Greylist
		return p.show(r, r.text())
	})
}

// report is what the greylist has come to, as JSON.
type report struct {
	Since     time.Time `json:"since"`
	Until     time.Time `json:"until"`
	Mode      string    `json:"mode"`           // of now, by the option
	Delayed   int64     `json:"delayed"`        // first contacts that had to wait
	Passed    int64     `json:"passed"`         // that came again after their wait
	Median    float64   `json:"median_seconds"` // of these, from the first contact on
	Never     int64     `json:"never"`          // that did not, and were forgotten
	Early     int64     `json:"early"`
	Known     int64     `json:"known"`
	Forbidden int64     `json:"forbidden"`
	Unstored  int64     `json:"unstored"`
	Removed   int64     `json:"removed"` // records that somebody deleted

	Shadow     int64 `json:"shadow"`       // first contacts that would have had to wait
	ShadowBack int64 `json:"shadow_again"` // of those that are remembered, who sent again after that
	ShadowOnce int64 `json:"shadow_once"`  // and who has not
}

// sumUp adds up the hours of a time. The one in which it begins counts as a whole.
func sumUp(ctx context.Context, records, hours greylist.Store, since, until time.Time) (report, error) {
	since = since.Truncate(time.Hour)
	sum, err := greykeeper.Sum(ctx, hours, since, until)
	if err != nil {
		return report{}, err
	}
	r := report{
		Since: since, Until: until, Delayed: sum.Delayed, Passed: sum.Passed, Never: sum.Never, Early: sum.Early,
		Known: sum.Known, Forbidden: sum.Forbidden, Unstored: sum.Unstored, Removed: sum.Removed, Shadow: sum.Shadow,
	}
	if wait, ok := sum.Median(); ok {
		r.Median = wait.Seconds()
	}
	if r.Shadow == 0 { // the hours say all
		return r, nil
	}
	err = records.Scan(ctx, "", func(_, value string) bool {
		one, err := greylist.ParseRecord(value)
		switch {
		case err != nil || one.ByHand() || one.First < since.Unix():
		case one.HasPassed():
			r.ShadowBack++
		default:
			r.ShadowOnce++
		}
		return true
	})
	return r, err
}

// text is the report for people.
func (r report) text() string {
	lines := []string{fmt.Sprintf("The greylist from %s to %s (option greylist is %s now):", r.Since.Local().Format(stampForm), r.Until.Local().Format(stampForm), r.Mode)}
	add := func(n int64, format string, args ...any) {
		lines = append(lines, fmt.Sprintf("%9d  ", n)+fmt.Sprintf(format, args...))
	}
	within := ""
	if r.Passed > 0 {
		within = ", half of them within about " + lasting(time.Duration(r.Median*float64(time.Second))) + " of the first try"
	}
	add(r.Delayed, "first contacts had to wait")
	add(r.Passed, "came again after their wait and passed: real senders%s", within)
	add(r.Never, "never came again and were forgotten")
	add(r.Early, "tries came before their wait was over")
	add(r.Known, "messages were of senders who had passed before or were allowed otherwise")
	add(r.Forbidden, "tries were of senders that were forbidden by hand")
	if r.Unstored > 0 {
		add(r.Unstored, "contacts came while the store could not be asked: the log says why")
	}
	if r.Removed > 0 {
		add(r.Removed, "records were deleted by hand, and are in none of these lines from then on")
	}
	if r.Shadow > 0 {
		add(r.Shadow, "first contacts would have had to wait, with greylist=shadow, which delays nobody")
		add(r.ShadowBack, "senders of that time are remembered who sent again after their wait would have been over")
		add(r.ShadowOnce, "senders of that time are remembered who have not")
	}
	return strings.Join(lines, "\n")
}
