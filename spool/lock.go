package spool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"time"

	"postoffice/internal/disk"
)

// The queue lock is a flock(2) on this file, which holds one line: how this
// spool is locked. Two programs that lock in different ways would not exclude
// each other (A34).
const (
	lockName = "lock"
	lockLine = "postoffice spool 1, locked by flock\n"
	lockPoll = 100 * time.Millisecond
)

// scheme makes the lock's file, or checks the one that is there.
func (q *Queue) scheme() error {
	f, err := q.root.Open(lockName, disk.ReadOnly)
	if errors.Is(err, fs.ErrNotExist) {
		if err = q.makeLock(); err == nil {
			f, err = q.root.Open(lockName, disk.ReadOnly)
		}
	}
	if err != nil {
		return err
	}
	defer f.Close() // only read
	var b [2 * len(lockLine)]byte
	n, err := f.ReadAt(b[:], 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if string(b[:n]) != lockLine {
		return fmt.Errorf("%w: %s reads %.60q, want %q", ErrForeign, lockName, b[:n], lockLine)
	}
	return nil
}

// makeLock makes the lock's file in tmp/ first, so that it is never there
// without its line.
func (q *Queue) makeLock() error {
	id, err := q.ids.next()
	if err != nil {
		return err
	}
	f, id, err := q.createTmp(id)
	if err != nil {
		return err
	}
	if _, err = f.Write([]byte(lockLine)); err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = q.tmp.RenameNoReplace(string(id), q.root, lockName)
	}
	if err == nil {
		return nil
	}
	if uerr := q.tmp.Unlink(string(id)); !errors.Is(err, fs.ErrExist) {
		return errors.Join(err, uerr)
	}
	return nil // another process was faster
}

// TryLock takes the queue lock: one runner at a time has it. ErrLocked: another
// has it, here or in another process. disk.ErrNoLocks: anybody could have it at the
// same time. unlock gives it back.
func (q *Queue) TryLock() (unlock func(), err error) {
	f, err := q.root.Open(lockName, disk.ReadWrite)
	if err != nil {
		return nil, fmt.Errorf("queue lock: %w", err)
	}
	got, err := lockNamed(q.root, lockName, f)
	if err == nil && got != locked {
		err = ErrLocked // if it was replaced meanwhile, the next try gets the new one
	}
	if err == nil {
		err = disk.Excludes(q.root, lockName, f)
	}
	if err == nil {
		err = q.takeStock()
	}
	if err != nil {
		f.Close() // nothing was written
		return nil, fmt.Errorf("queue lock: %w", err)
	}
	q.locked.Store(true)
	return func() {
		if q.locked.CompareAndSwap(true, false) {
			f.Close() // nothing was written
		}
	}, nil
}

// lockState is what became of an attempt at a lock.
type lockState int

const (
	locked  lockState = iota
	busy              // another has the lock
	unnamed           // the name leads to another file, or to none
)

// lockNamed locks f, which was opened or made as name in d, and looks again:
// meanwhile the holder before may have removed, moved or replaced it (A34).
func lockNamed(d disk.Dir, name string, f disk.File) (lockState, error) {
	if ok, err := f.TryLock(); err != nil || !ok {
		return busy, err
	}
	if ok, err := disk.Named(d, name, f); err != nil || !ok {
		return unnamed, err
	}
	return locked, nil
}

// takeStock finds the newest message that others may have worked on.
func (q *Queue) takeStock() error {
	var newest ID
	for name, err := range q.dirs[Active].Names() {
		if err != nil {
			return err
		}
		if id, ok := ParseID(name); ok {
			newest = max(newest, id)
		}
	}
	q.mu.Lock()
	q.stock = newest
	q.mu.Unlock()
	return nil
}

// ours reports whether nobody but this process can have worked on id: it holds
// the queue lock, and id came since.
func (q *Queue) ours(id ID) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.locked.Load() && id > q.stock
}

// Lock waits for the queue lock.
func (q *Queue) Lock(ctx context.Context) (unlock func(), err error) {
	tick := time.NewTicker(lockPoll)
	defer tick.Stop()
	for {
		if unlock, err = q.TryLock(); !errors.Is(err, ErrLocked) {
			return unlock, err
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: %w", ctx.Err(), err)
		case <-tick.C:
		}
	}
}

// isSpool reports whether a directory has a lock's file of ours, and not something to which
// nobody ever writes, or that has no end.
func isSpool(path string) bool {
	d, err := disk.OS().OpenDir(path)
	if err != nil {
		return false
	}
	defer d.Close() // only read
	f, err := d.Open(lockName, disk.ReadOnly)
	if err != nil {
		return false
	}
	defer f.Close() // only read
	var b [len(lockLine) + 1]byte
	n, _ := f.ReadAt(b[:], 0)
	return string(b[:n]) == lockLine
}
