package greykeeper

import (
	"context"
	"log/slog"
	"slices"
	"strconv"
	"sync"
	"time"

	"postoffice/applets/smtpd/greylist"
	"postoffice/internal/maillog"
)

// limits are how many records there may be of each kind. Those that somebody made by hand
// count nowhere, and no program forgets them.
type limits struct {
	waiting int // keys that have not passed: whoever has an address makes them
	passed  int
	clients int
	written int
	hours   int
}

var defaultLimits = limits{
	waiting: 1_000_000, // some 100 octets each
	passed:  1_000_000,
	clients: 100_000,
	written: 200_000,
	hours:   400 * 24,
}

const (
	sweepEvery = time.Hour           // between two looks at all records
	sweepBatch = 500                 // records that are forgotten in one change, so that sessions wait milliseconds for it
	callWait   = 10 * time.Second    // for one call of the store that no session waits for
	neverBack  = 2 * 24 * time.Hour  // after its wait a key that hasn't come again is forgotten: servers try for longer, but at least once a day
	oldWritten = 90 * 24 * time.Hour // since somebody last wrote there
	ahead      = 24 * 60 * 60        // seconds that a record's time may be in the future, before it counts as wrong
	jump       = 10 * time.Minute    // the clock was set, if it went so much more or less than time did
)

// room is how many records there are that were not forgotten by the last sweep.
type room struct {
	again chan struct{} // a sweep is due

	mu      sync.Mutex // guards what follows
	waiting int        // keys that wait, as the last sweep saw it, and all that were added since
	fresh   int        // those
}

// fits reports whether there may be one more.
func (r *room) fits(l limits) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.waiting < l.waiting
}

// added counts one more, and has a sweep begin before there are too many.
func (r *room) added(l limits) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.waiting++
	r.fresh++
	if r.waiting < l.waiting*9/10 || r.fresh < l.waiting/20 {
		return
	}
	r.fresh = 0
	select {
	case r.again <- struct{}{}:
	default: // one begins
	}
}

// swept says how many there are; added is how many came while they were counted.
func (r *room) swept(waiting int, before int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.waiting = waiting + max(r.fresh-before, 0)
	r.fresh = max(r.fresh-before, 0)
}

func (r *room) freshly() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.fresh
}

// Run writes down what is to be, forgets what is too old or too much, and logs each day
// what became of strangers, until its context ends.
func (k *Keeper) Run(ctx context.Context) {
	var work sync.WaitGroup
	work.Go(func() { k.write(ctx) })
	work.Go(func() { k.report(ctx) })
	k.sweepAll(ctx)
	work.Wait()
}

// write writes notes down, one after the other, and the counts of each hour once a minute.
func (k *Keeper) write(ctx context.Context) {
	tick := time.NewTicker(flushEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case n := <-k.notes:
			k.call(ctx, n)
		case <-tick.C:
			k.flush(ctx)
		}
	}
}

// call asks the store for something that no session waits for.
func (k *Keeper) call(ctx context.Context, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, callWait)
	defer cancel()
	if k.released() {
		return nil
	}
	err := f(ctx)
	if ctx.Err() == nil || err == nil {
		k.trouble.heard(err, k.options.Load().Defer)
	}
	return err
}

// sweepAll looks at all records, at the start and again at intervals.
func (k *Keeper) sweepAll(ctx context.Context) {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	last := time.Now()
	for {
		now := time.Now()
		if set := now.Round(0).Sub(last.Round(0)) - now.Sub(last); set.Abs() > jump {
			k.log.LogAttrs(ctx, slog.LevelWarn, "clock set", slog.Duration("by", set.Round(time.Second)), maillog.Reason("nothing of the greylist is forgotten for its age in this hour"))
		} else if k.Mode() != Off && !k.released() {
			k.Sweep(ctx, now)
		}
		last = now
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-k.room.again:
		}
	}
}

// Sweep forgets what is too old or too much.
func (k *Keeper) Sweep(ctx context.Context, now time.Time) {
	o := k.options.Load()
	k.sweepRecords(ctx, o, now)
	aged := func(s greylist.Store, most int, age time.Duration, last func(key, value string) (int64, bool)) {
		k.sweepAged(ctx, s, most, now.Add(-age).Unix(), last)
	}
	aged(k.stores.Clients, k.limits.clients, o.Age, func(_, value string) (int64, bool) {
		c := parseClient(value)
		return c.last, c != client{}
	})
	aged(k.stores.Written, k.limits.written, oldWritten, func(_, value string) (int64, bool) {
		t, err := strconv.ParseInt(value, 10, 64)
		return t, err == nil
	})
	aged(k.stores.Hours, k.limits.hours, time.Duration(k.limits.hours)*time.Hour, func(key, _ string) (int64, bool) {
		t, ok := greylist.TallyTime(key)
		return t.Unix(), ok
	})
}

// sweepRecords forgets keys whose time is over, and the oldest where there are too many.
func (k *Keeper) sweepRecords(ctx context.Context, o *Options, now time.Time) {
	old := age{now: now.Unix(), age: int64(o.Age / time.Second)}
	var waiting, passed ages
	before := k.room.freshly()
	err := k.forget(ctx, k.stores.Records, old.over, func(_, value string) {
		r, err := greylist.ParseRecord(value)
		switch {
		case err != nil || r.ByHand():
		case r.HasPassed():
			passed.add(old.now - r.Last)
		default:
			waiting.add(old.now - r.Last)
		}
	})
	if err != nil {
		return
	}
	tooOld := age{now: old.now, age: old.age, waiting: waiting.limit(k.limits.waiting), passed: passed.limit(k.limits.passed)}
	if tooOld.waiting != 0 || tooOld.passed != 0 {
		n := waiting.n
		err = k.forget(ctx, k.stores.Records, func(key, value string) bool {
			over := tooOld.over(key, value)
			if r, err := greylist.ParseRecord(value); over && err == nil && !r.HasPassed() {
				n--
			}
			return over
		}, func(string, string) {})
		waiting.n = n
	}
	if err == nil {
		k.room.swept(waiting.n, before)
	}
}

// age says which records are forgotten.
type age struct {
	now, age        int64
	waiting, passed int64 // those that haven't come for so long, because there are too many; 0: none
}

func (a age) over(_, value string) bool {
	r, err := greylist.ParseRecord(value)
	switch {
	case err != nil:
		return true
	case r.ByHand():
		return false
	case r.Last > a.now+ahead: // one of the two times is wrong: it is forgotten where there are too many
		return a.waiting > 0 && !r.HasPassed() || a.passed > 0 && r.HasPassed()
	case r.HasPassed():
		return a.now-r.Last > a.age || a.passed > 0 && a.now-r.Last >= a.passed
	}
	return a.now-r.Allowed > min(a.age, int64(neverBack/time.Second)) || a.waiting > 0 && a.now-r.Last >= a.waiting
}

// ages count records by how long it is since they came, in steps of a quarter of an hour.
type ages struct {
	n     int
	steps [4 * 24 * 40]int
}

const ageStep = 15 * 60

func (a *ages) add(seconds int64) {
	a.n++
	last := int64(len(a.steps) - 1)
	if seconds < -ahead {
		seconds = last * ageStep
	}
	a.steps[min(max(seconds, 0)/ageStep, last)]++
}

// limit is the age in seconds from which on records are forgotten, so that nine tenths of
// most are left, if there are more than that; 0: none are.
func (a *ages) limit(most int) int64 {
	if a.n <= most*9/10 {
		return 0
	}
	left := a.n
	for step := len(a.steps) - 1; step > 0; step-- {
		if left -= a.steps[step]; left <= most*8/10 {
			return int64(step) * ageStep
		}
	}
	return ageStep
}

// forget scans a store and empties the keys whose record is over, some at a time; seen is
// told of the others.
func (k *Keeper) forget(ctx context.Context, s greylist.Store, over func(key, value string) bool, seen func(key, value string)) error {
	after, more := "", true
	for more {
		var gone []string
		never := int64(0)
		n := 0
		err := k.call(ctx, func(ctx context.Context) error {
			gone, n, more = gone[:0], 0, false
			return s.Scan(ctx, after, func(key, value string) bool {
				if more = n == sweepRead || len(gone) == sweepBatch; more {
					return false
				}
				n++
				after = key
				if over(key, value) {
					gone = append(gone, key)
				} else {
					seen(key, value)
				}
				return true
			})
		})
		if err == nil && len(gone) > 0 {
			err = k.call(ctx, func(ctx context.Context) error {
				never = 0
				_, err := s.Delete(ctx, gone, func(key, value string) bool {
					if !over(key, value) {
						return false
					}
					if r, err := greylist.ParseRecord(value); err == nil && !r.HasPassed() {
						never++
					}
					return true
				})
				return err
			})
		}
		if err == nil && s == k.stores.Records {
			k.never(time.Now(), never)
		}
		if err != nil || ctx.Err() != nil || k.released() {
			return errStopped(err)
		}
	}
	return nil
}

// sweepAged forgets keys that were of use last before a time, and the oldest where there
// are too many.
func (k *Keeper) sweepAged(ctx context.Context, s greylist.Store, most int, before int64, last func(key, value string) (int64, bool)) {
	var all []int64
	over := func(key, value string) bool {
		t, ok := last(key, value)
		return !ok || t < before
	}
	err := k.forget(ctx, s, over, func(key, value string) {
		t, _ := last(key, value)
		all = append(all, t)
	})
	if err != nil || len(all) <= most {
		return
	}
	slices.Sort(all)
	before = all[len(all)-most*9/10]
	_ = k.forget(ctx, s, over, func(string, string) {}) // the log has what is wrong with the store
}
