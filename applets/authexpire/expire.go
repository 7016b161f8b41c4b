package authexpire

import (
	"context"
	"fmt"
	"time"

	"postoffice/applets/cmdline"
	"postoffice/applets/smtpd/greylist"
)

// expiry is what is forgotten.
type expiry struct {
	age     time.Duration // without a contact
	byHand  bool          // what was decided by hand too
	waiting bool          // and at once who waits
	null    bool          // and the null sender

	dry, verbose bool
}

// goes reports whether a record is forgotten. One that can't be read always is.
func (e expiry) goes(key, value string, now time.Time) bool {
	r, err := greylist.ParseRecord(value)
	switch {
	case err != nil:
		return true
	case r.ByHand() && !e.byHand:
		return false
	case e.null && greylist.IsNullKey(key), e.waiting && isWaiting(r):
		return true
	}
	return now.Sub(time.Unix(r.Last, 0)) > e.age
}

// isWaiting reports whether a sender came last before its wait was over.
func isWaiting(r greylist.Record) bool { return !r.ByHand() && r.Passed == 0 && r.Last < r.Allowed }

// maxGone is how many records are judged and then deleted together.
const maxGone = 1000

// expired is what authexpire has done, as JSON.
type expired struct {
	Records int `json:"records"`
	Expired int `json:"expired"`
}

// forgotten is a record that is forgotten, as JSON.
type forgotten struct {
	Key    string `json:"key"`
	Action string `json:"action"` // delete
}

// expire goes through the records once: what must go goes, some at a time, and was judged
// as it was when it went.
func (p *printer) expire(ctx context.Context, records greylist.Store, now time.Time, e expiry) error {
	var sum expired
	var some []string
	var failed error
	flush := func() bool {
		n, err := p.forget(ctx, records, some, now, e)
		sum.Expired += n
		some, failed = some[:0], err
		return err == nil
	}
	err := records.Scan(ctx, "", func(key, value string) bool {
		sum.Records++
		if e.goes(key, value, now) {
			some = append(some, key)
		}
		return len(some) < maxGone || flush()
	})
	if err == nil && failed == nil {
		flush()
	}
	if failed != nil {
		err = failed
	}
	if err != nil {
		return err
	}
	if !e.verbose && !p.json {
		return nil
	}
	what := "records"
	if sum.Records == 1 {
		what = "record"
	}
	return p.show(sum, fmt.Sprintf("%d %s; expired %d.", sum.Records, what, sum.Expired))
}

// forget deletes records, or only says that they would go.
func (p *printer) forget(ctx context.Context, records greylist.Store, keys []string, now time.Time, e expiry) (n int, err error) {
	n = len(keys)
	went := map[string]bool{}
	if !e.dry && n > 0 {
		n, err = records.Delete(ctx, keys, func(key, value string) bool {
			went[key] = e.goes(key, value, now)
			return went[key]
		})
	}
	for _, key := range keys {
		if (e.dry || went[key] && e.verbose) && err == nil {
			err = p.show(forgotten{key, "delete"}, fmt.Sprintf("delete [%s]", cmdline.Printed(key)))
		}
	}
	return n, err
}
