package authexpire

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"postoffice/applets/cmdline"
	"postoffice/applets/smtpd/greylist"
)

// Words of the listing.
const (
	stampForm    = "15:04 02 Jan 2006"
	forbiddenFor = "**** forbidden ****"
	noValue      = "NO VALUE SET"
	terminalKey  = 31 // characters of a key on a terminal
)

// listed is a record as JSON.
type listed struct {
	Key     string    `json:"key"`
	State   string    `json:"state"`
	Allowed time.Time `json:"allowed,omitzero"` // from when it passes
	Last    time.Time `json:"last,omitzero"`
	First   time.Time `json:"first,omitzero"`  // when its wait began
	Passed  time.Time `json:"passed,omitzero"` // when it passed first
	Tries   int       `json:"tries,omitempty"` // since First
	ByHand  bool      `json:"by_hand,omitempty"`
}

// The states of a record.
const (
	stateWaiting   = "waiting"    // it came last before its wait was over
	statePassed    = "passed"     // it came again after that
	stateForbidden = "forbidden"  // by hand
	stateAllowed   = "allowed"    // by hand
	stateDamaged   = "unreadable" // it has no value that can be read
)

// stateOf is a record's state.
func stateOf(r greylist.Record) string {
	switch {
	case r.Forbidden:
		return stateForbidden
	case r.Hand:
		return stateAllowed
	case r.HasPassed():
		return statePassed
	}
	return stateWaiting
}

// list prints every record, in the order of the keys.
func (p *printer) list(ctx context.Context, records greylist.Store, cut bool) error {
	var failed error
	err := records.Scan(ctx, "", func(key, value string) bool {
		r, err := greylist.ParseRecord(value)
		failed = p.show(listedOf(key, r, err), listLine(key, r, err, cut))
		return failed == nil
	})
	if failed != nil {
		return failed
	}
	return err
}

func listedOf(key string, r greylist.Record, err error) listed {
	if err != nil {
		return listed{Key: key, State: stateDamaged}
	}
	l := listed{
		Key: key, State: stateOf(r), Last: timeOf(r.Last), First: timeOf(r.First), Passed: timeOf(r.Passed),
		Tries: r.Tries, ByHand: r.ByHand(),
	}
	if !r.Forbidden {
		l.Allowed = timeOf(r.Allowed)
	}
	return l
}

// timeOf is a time of a record, the zero time where there is none.
func timeOf(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.Unix(n, 0)
}

// listLine is a record as the original prints it.
func listLine(key string, r greylist.Record, err error, cut bool) string {
	key = cmdline.Printed(key)
	if cut {
		key = fmt.Sprintf("%-*.*s", terminalKey, terminalKey, key)
	}
	if err != nil {
		return key + "\t" + noValue
	}
	from, mark := time.Unix(r.Allowed, 0).Format(stampForm), " "
	switch {
	case r.Forbidden:
		from = forbiddenFor
	case r.Last > r.Allowed:
		mark = "#"
	}
	return key + "\t" + from + " " + mark + time.Unix(r.Last, 0).Format(stampForm)
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	return err == nil
}

// decided is what was decided by hand, as JSON.
type decided struct {
	Key    string `json:"key"`
	Action string `json:"action"` // allow or forbid
}

// decide allows and forbids keys, each of which nobody need know yet.
func (p *printer) decide(ctx context.Context, records greylist.Store, now time.Time, allow, forbid []string) error {
	update := func(key, action, text string, change func(r greylist.Record, there bool) greylist.Record) error {
		key = greylist.Canonical(key)
		err := records.Update(ctx, key, func(old string, there bool) (string, bool) {
			r, err := greylist.ParseRecord(old)
			return change(r, there && err == nil).String(), true
		})
		if err != nil {
			return err
		}
		return p.show(decided{key, action}, key+": "+text)
	}
	for _, key := range allow {
		if err := update(key, "allow", "passes from now on", func(r greylist.Record, there bool) greylist.Record {
			return greylist.Approve(r, there, now)
		}); err != nil {
			return err
		}
	}
	for _, key := range forbid {
		if err := update(key, "forbid", "never passes from now on", func(greylist.Record, bool) greylist.Record {
			return greylist.Forbid(now)
		}); err != nil {
			return err
		}
	}
	return nil
}
