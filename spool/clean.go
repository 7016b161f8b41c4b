package spool

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"time"

	"postoffice/internal/disk"
	"postoffice/internal/maillog"
)

// How old an interrupted arrival must be to be removed (A33).
const (
	orphanAge      = 36 * time.Hour
	orphanAgeShort = 10 * time.Minute // while room is short
)

// Clean removes what crashes leave behind: interrupted arrivals in tmp/,
// second names of messages, and messages that were done when their removal
// was lost. It sets damaged messages aside, and makes the ballast. It needs
// the queue lock. One file's trouble is logged and does not stop it.
func (q *Queue) Clean(ctx context.Context) error {
	if !q.locked.Load() {
		return fmt.Errorf("clean: %w", ErrNoLock)
	}
	age := orphanAge
	if q.Room() != nil {
		age = orphanAgeShort
	}
	for name, err := range q.tmp.Names() {
		if err != nil {
			return fmt.Errorf("clean: %w", err)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if _, ok := ParseID(name); ok {
			q.report(ID(name), q.cleanOrphan(name, age))
		}
	}
	for e, err := range q.Entries() {
		if err != nil {
			return fmt.Errorf("clean: %w", err)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		q.report(e.ID, q.cleanEntry(e))
	}
	return q.makeBallast()
}

// report logs an error that concerns one file.
func (q *Queue) report(id ID, err error) {
	if err == nil || errors.Is(err, ErrGone) || errors.Is(err, ErrBusy) || errors.Is(err, ErrCorrupt) {
		return // not there, at work, or logged
	}
	q.log.LogAttrs(context.Background(), slog.LevelWarn, "file not cleaned up", maillog.QueueID(id), maillog.Err(err))
}

// cleanOrphan removes a file of tmp/ if nobody writes it and it is older than
// age, or if it is only a second name of a message, or of the lock, that has
// its place. It locks nothing that is younger, so that no arrival meets it.
func (q *Queue) cleanOrphan(name string, age time.Duration) error {
	info, err := q.tmp.Lstat(name)
	if err != nil || info.Nlink < 2 && q.now().Sub(info.ModTime) < age {
		return ignoreGone(err)
	}
	f, err := q.tmp.Open(name, disk.ReadWrite)
	if err != nil {
		return ignoreGone(err)
	}
	defer f.Close() // only locked
	lock, err := disk.Named(q.root, lockName, f)
	if err != nil {
		return err
	}
	if lock {
		return q.tmp.Unlink(name)
	}
	if got, err := lockNamed(q.tmp, name, f); err != nil || got != locked {
		return err
	}
	if err := q.tmp.Unlink(name); err != nil {
		return err
	}
	if info.Nlink < 2 {
		q.log.LogAttrs(context.Background(), slog.LevelInfo, "interrupted arrival removed", maillog.QueueID(name), maillog.Size(info.Size))
	}
	return nil
}

// cleanEntry removes a message that is done, and one of two names of a file: a crash
// came between link and unlink. The queue's name counts, then that of filter/.
func (q *Queue) cleanEntry(e Entry) error {
	for _, counts := range []Location{Active, Waiting} {
		if e.Location == counts {
			break
		}
		twins, err := q.twins(e.Location, counts, e.ID, e.ID)
		if err != nil {
			return err
		}
		if twins {
			if err := q.dirs[counts].Sync(); err != nil { // else both may be gone
				return err
			}
			return q.dirs[e.Location].Unlink(string(e.ID))
		}
	}
	if e.Location == Corrupt {
		return nil
	}
	m, err := q.take(e.Location, e.ID, false)
	if err != nil {
		return err
	}
	if m.known.Pending() {
		return m.Close()
	}
	return errors.Join(m.Finish(), m.Close())
}

func ignoreGone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
