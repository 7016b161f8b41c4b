package authexpire

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"postoffice/applets/cmdline"
	"postoffice/applets/smtpd/greylist"
	"postoffice/applets/sysexits"
	"postoffice/internal/smtp"
)

// explained is what would become of a sender now, as JSON.
type explained struct {
	Asked   string    `json:"asked"`
	Key     string    `json:"key,omitempty"`
	Verdict string    `json:"verdict"`         // wait, pass, never or unknown
	Until   time.Time `json:"until,omitzero"`  // of wait
	Why     string    `json:"why"`             // in words
	Record  *listed   `json:"record,omitzero"` // as -l has it
}

// explain says of each query what is known, and what would become of a message now.
func (p *printer) explain(ctx context.Context, records, written greylist.Store, now time.Time, rules greylist.Rules, queries []string) error {
	code := sysexits.OK
	for _, text := range queries {
		q, err := readQuery(text)
		if err != nil {
			return err
		}
		found, err := p.writtenTo(ctx, written, q)
		if err != nil {
			return err
		}
		err = q.find(ctx, records, func(key, value string) error {
			found = true
			e, sentence := explainRecord(key, value, now, rules)
			e.Asked = text
			return p.show(e, cmdline.Printed(key)+": "+sentence)
		})
		if err != nil {
			return err
		}
		if !found {
			code = sysexits.Unavailable
			why := "nothing is known: no message came from there while the greylist was asked, or it was forgotten since; who is exempt, trusted or logged in is never asked about"
			if err := p.show(explained{Asked: text, Verdict: "unknown", Why: why}, fmt.Sprintf("%s: %s", cmdline.Printed(text), why)); err != nil {
				return err
			}
		}
	}
	if code != sysexits.OK {
		return cmdline.ExitWith(code, cmdline.ErrAnswered)
	}
	return nil
}

// writtenTo says whether somebody here has written to an address, which may pass at once
// then.
func (p *printer) writtenTo(ctx context.Context, written greylist.Store, q query) (there bool, err error) {
	if !q.isAddress() {
		return false, nil
	}
	value, there, err := written.Get(ctx, q.key)
	if err != nil || !there {
		return false, err
	}
	n, _ := strconv.ParseInt(value, 10, 64)
	why := "somebody here has written to it, last on " + stamp(n)
	return true, p.show(explained{Asked: q.text, Key: q.key, Verdict: "pass", Why: why}, fmt.Sprintf("%s: passes at once with option greylist-written: %s", cmdline.Printed(q.key), why))
}

// explainRecord is a record in sentences. What would become of a message is decided as the
// server decides it.
func explainRecord(key, value string, now time.Time, rules greylist.Rules) (explained, string) {
	r, err := greylist.ParseRecord(value)
	l := listedOf(key, r, err)
	e := explained{Key: key, Record: &l}
	if err != nil {
		e.Verdict, e.Why = "wait", "its record can't be read: the next message is a first contact"
		return e, "waits, since " + e.Why + "; authexpire removes the record"
	}
	q := greylist.Question{Now: now}
	if !greylist.IsNullKey(key) {
		q.Sender = smtp.Path{Local: "x", Domain: "invalid"} // any but the null sender: what is known is in the record
	}
	a := greylist.Decide(r, true, q, rules)
	quoted := shellQuoted(key)
	switch a.Verdict {
	case greylist.Never:
		e.Verdict, e.Why = "never", a.Why.String()
		return e, fmt.Sprintf("never passes: %s. It came last on %s. To let it pass: authexpire -a %s", e.Why, stamp(r.Last), quoted)
	case greylist.Wait:
		until := timeOf(a.Record.Allowed)
		e.Verdict, e.Until = "wait", until
		e.Why = "it came first on " + stamp(r.First) + tries(r)
		if a.Why == greylist.Missed {
			e.Why = fmt.Sprintf("it came again too late, as the null sender may pass only within %s of its wait, which ended on %s", lasting(rules.NullWindow), stamp(r.Allowed))
			return e, fmt.Sprintf("would wait anew, until %s if it came now: %s. To let it pass: authexpire -a %s", stamp(until.Unix()), e.Why, quoted)
		}
		if r.First == 0 {
			e.Why = "it came last on " + stamp(r.Last)
		}
		return e, fmt.Sprintf("waits until %s (%s more): %s. What it sends again after that passes; nothing shortens the wait but: authexpire -a %s", stamp(until.Unix()), lasting(a.Wait), e.Why, quoted)
	}
	e.Verdict = "pass"
	switch a.Why {
	case greylist.Allowed:
		e.Why = a.Why.String()
	case greylist.CameBack:
		e.Why = "its wait was over on " + stamp(r.Allowed) + ", and it has not come again since it came on " + stamp(r.Last) + tries(r)
		return e, "would pass if it came now: " + e.Why + ". It is for the sender's server to try again"
	default:
		e.Why = "it came again after its wait"
		if r.Passed != 0 && r.First != 0 {
			e.Why += fmt.Sprintf(", on %s, %s after it came first", stamp(r.Passed), lasting(time.Duration(r.Passed-r.First)*time.Second))
		}
	}
	return e, fmt.Sprintf("passes: %s. It came last on %s. To keep it out: authexpire -b %s", e.Why, stamp(r.Last), quoted)
}

// tries says how often it came too early.
func tries(r greylist.Record) string {
	switch {
	case r.Tries < 2:
		return ""
	case r.Tries == 2:
		return ", and once more before its wait was over"
	}
	return fmt.Sprintf(", and %d times more before its wait was over", r.Tries-1)
}

// stamp is a time of a record, for people.
func stamp(n int64) string { return time.Unix(n, 0).Format(stampForm) }

// lasting is a time as people say it, to the minute where it is long.
func lasting(d time.Duration) string {
	if d < time.Minute {
		return d.Truncate(time.Second).String()
	}
	text := d.Round(time.Minute).String()
	return strings.TrimSuffix(text, "0s")
}

// shellQuoted is a key as a shell takes it for one word.
func shellQuoted(key string) string {
	return "'" + strings.ReplaceAll(cmdline.Printed(key), "'", `'\''`) + "'"
}
