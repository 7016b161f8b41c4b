package greykeeper

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"postoffice/applets/smtpd/greylist"
)

const (
	flushEvery = time.Minute // counts of the last minute are lost in a crash
	sweepRead  = 5000        // records that are read in one call
	maxHours   = 48          // counts that wait for a store that can't be written; older ones are lost
)

var errEnd = errors.New("the greylist's store is let go of")

// errStopped is err, or that there is no more to do.
func errStopped(err error) error {
	if err == nil {
		return errEnd
	}
	return err
}

// count counts what became of a contact.
func (k *Keeper) count(now time.Time, o *Options, a greylist.Answer) {
	k.tally(now, func(t *greylist.Tally) {
		switch {
		case a.Why == greylist.Unstored:
			t.Unstored++
		case a.Why == greylist.TooEarly:
			t.Early++
		case a.Verdict == greylist.Wait && o.Mode == Shadow:
			t.Shadow++
		case a.Verdict == greylist.Wait:
			t.Delayed++
		case a.Verdict == greylist.Never:
			t.Forbidden++
		case a.Why == greylist.CameBack && a.Record.First > 0 && o.Mode == On:
			t.AddWait(time.Duration(a.Record.Passed-a.Record.First) * time.Second)
		default:
			t.Known++
		}
	})
}

// never counts keys that were forgotten and had not come again.
func (k *Keeper) never(now time.Time, n int64) {
	if n > 0 && k.Mode() == On {
		k.tally(now, func(t *greylist.Tally) { t.Never += n })
	}
}

// Removed counts records that somebody deleted.
func (k *Keeper) Removed(n int) {
	k.tally(time.Now(), func(t *greylist.Tally) { t.Removed += int64(n) })
}

// AddRemoved counts them where no keeper runs.
func AddRemoved(ctx context.Context, hours greylist.Store, now time.Time, n int) error {
	return hours.Update(ctx, greylist.TallyKey(now), func(old string, _ bool) (string, bool) {
		sum, _ := greylist.ParseTally(old) // what can't be read is nothing
		sum.Removed += int64(n)
		return sum.String(), true
	})
}

func (k *Keeper) tally(now time.Time, add func(*greylist.Tally)) {
	k.mu.Lock()
	defer k.mu.Unlock()
	key := greylist.TallyKey(now)
	if k.hours[key] == nil {
		if len(k.hours) >= maxHours {
			return
		}
		k.hours[key] = new(greylist.Tally)
	}
	add(k.hours[key])
}

// flush writes the counts down.
func (k *Keeper) flush(ctx context.Context) {
	k.mu.Lock()
	hours := k.hours
	k.hours = map[string]*greylist.Tally{}
	k.mu.Unlock()
	for key, t := range hours {
		err := k.call(ctx, func(ctx context.Context) error {
			return k.stores.Hours.Update(ctx, key, func(old string, _ bool) (string, bool) {
				sum, _ := greylist.ParseTally(old) // what can't be read is nothing
				sum.Add(t)
				return sum.String(), true
			})
		})
		if err == nil {
			continue
		}
		k.mu.Lock()
		if now := k.hours[key]; now != nil {
			now.Add(t)
		} else if len(k.hours) < maxHours {
			k.hours[key] = t
		}
		k.mu.Unlock()
	}
}

// Flush writes down what waits, for a server that ends.
func (k *Keeper) Flush(ctx context.Context) {
	for {
		select {
		case n := <-k.notes:
			if k.call(ctx, n) != nil {
				return
			}
			continue
		default:
		}
		k.flush(ctx)
		return
	}
}

// report logs at each midnight what became of strangers in the day before.
func (k *Keeper) report(ctx context.Context) {
	for {
		now := time.Now()
		midnight := time.Date(now.Year(), now.Month(), now.Day()+1, 0, 0, 0, 0, now.Location())
		timer := time.NewTimer(midnight.Sub(now))
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
		if k.Mode() == Off {
			continue
		}
		k.flush(ctx)
		sum, err := Sum(ctx, k.stores.Hours, midnight.AddDate(0, 0, -1), midnight)
		if err == nil {
			k.logDay(ctx, sum)
		}
	}
}

// logDay is the line of a day.
func (k *Keeper) logDay(ctx context.Context, t greylist.Tally) {
	median, _ := t.Median()
	attrs := []slog.Attr{
		slog.Int64("real", t.Passed), slog.Duration("median", median), slog.Int64("never", t.Never),
		slog.Int64("delayed", t.Delayed), slog.Int64("early", t.Early), slog.Int64("known", t.Known), slog.Int64("forbidden", t.Forbidden),
	}
	if t.Shadow > 0 {
		attrs = append(attrs, slog.Int64("shadow", t.Shadow))
	}
	if t.Unstored > 0 {
		attrs = append(attrs, slog.Int64("unstored", t.Unstored))
	}
	if t.Removed > 0 {
		attrs = append(attrs, slog.Int64("removed", t.Removed))
	}
	k.log.LogAttrs(ctx, slog.LevelInfo, "greylist counted", attrs...)
}

// Sum is what became of strangers in the hours that begin from a time on, and before
// another.
func Sum(ctx context.Context, hours greylist.Store, from, to time.Time) (sum greylist.Tally, err error) {
	err = hours.Scan(ctx, "", func(key, value string) bool {
		began, ok := greylist.TallyTime(key)
		if !ok || began.Before(from.Add(-time.Hour+time.Nanosecond)) {
			return true
		}
		if !began.Before(to) {
			return false
		}
		if t, err := greylist.ParseTally(value); err == nil {
			sum.Add(&t)
		}
		return true
	})
	return sum, err
}
