package state

import (
	"context"
	"time"

	"postoffice/internal/dbm/store"
)

// A Table is something in memory that is to be known again after a restart. It may be
// used by others meanwhile.
type Table interface {
	// Changed returns what has changed since the last call, by key.
	Changed(now time.Time) map[string]string
	// Restore takes what Changed returned once. It is asked for the records of the server
	// before, and what is known by then of a key is newer.
	Restore(now time.Time, key, value string)
	// Spent reports whether a record is worth nothing any more.
	Spent(now time.Time, key, value string) bool
}

const (
	savePause    = time.Minute     // between two times that a table is saved: what a crash loses
	restorePause = 2 * time.Second // between two tries to read it, while the store isn't open
	sweepEvery   = 60              // times that a table is saved, after which what is spent is removed
	lastSave     = time.Second     // for saving it at the end: the next server may be waiting
	sweepSome    = 1000            // records that are looked at before those that are spent are removed
)

// Keep saves a table in a part of the store, and reads what the server before has saved
// there, until Close. Once for a part is enough.
func (s *State) Keep(prefix string, t Table) {
	part := s.Part(prefix)
	if s.kept[prefix] {
		return
	}
	s.kept[prefix] = true
	s.work.Go(func() { keep(s.closing, part, t) })
}

func keep(ctx context.Context, part store.Part, t Table) {
	defer func() {
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastSave)
		defer cancel()
		_ = part.Put(last, t.Changed(time.Now()))
	}()
	if !restore(ctx, part, t) {
		return
	}
	tick := time.NewTicker(savePause)
	defer tick.Stop()
	for n := 1; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		// What can't be saved is saved when it changes again: the store has its own lines
		// in the log.
		_ = part.Put(ctx, t.Changed(time.Now()))
		if n%sweepEvery == 0 {
			_ = sweep(ctx, part, t)
		}
	}
}

// restore reads what is there, when the store can be read. It returns false if that was
// never so.
func restore(ctx context.Context, part store.Part, t Table) bool {
	for {
		err := sweep(ctx, part, t)
		if err == nil {
			err = part.Scan(ctx, "", func(key, value string) bool {
				t.Restore(time.Now(), key, value)
				return true
			})
		}
		if err == nil {
			return true
		}
		timer := time.NewTimer(restorePause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return false
		case <-timer.C:
		}
	}
}

// sweep removes the records that are worth nothing any more.
func sweep(ctx context.Context, part store.Part, t Table) error {
	spent := func(key, value string) bool { return t.Spent(time.Now(), key, value) }
	var keys []string
	var failed error
	remove := func() bool {
		if len(keys) > 0 {
			_, failed = part.Delete(ctx, keys, spent)
			keys = keys[:0]
		}
		return failed == nil
	}
	err := part.Scan(ctx, "", func(key, value string) bool {
		if spent(key, value) {
			keys = append(keys, key)
		}
		return len(keys) < sweepSome || remove()
	})
	if err == nil {
		remove()
		err = failed
	}
	return err
}
