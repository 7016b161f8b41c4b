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
		if err = q.makeLock(); err != nil {
			return err
		}
		f, err = q.root.Open(lockName, disk.ReadOnly)
	}
	if err != nil {
		return err
	}
	defer f.Close() // only read
	var line [2 * len(lockLine)]byte
	n, err := f.ReadAt(line[:], 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if string(line[:n]) != lockLine {
		return fmt.Errorf("%w: %s reads %.60q, want %q", ErrForeign, lockName, line[:n], lockLine)
	}
	return nil
}

// makeLock makes the lock's file under a name of its own first, so that it is
// never there without its line.
func (q *Queue) makeLock() error {
	id, err := q.ids.next()
	if err != nil {
		return err
	}
	f, err := q.tmp.Create(string(id), fileMode)
	if err != nil {
		return err
	}
	_, err = f.Write([]byte(lockLine))
	if err == nil && q.chown {
		err = f.Chown(q.uid, q.gid)
	}
	if err == nil {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err == nil {
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
// has it, here or in another process. unlock gives it back.
func (q *Queue) TryLock() (unlock func(), err error) {
	f, err := q.root.Open(lockName, disk.ReadWrite)
	if err != nil {
		return nil, fmt.Errorf("queue lock: %w", err)
	}
	ok, err := f.TryLock()
	if err == nil && !ok {
		err = ErrLocked
	}
	if err == nil {
		var named bool
		if named, err = disk.Named(q.root, lockName, f); err == nil && !named {
			err = ErrLocked // replaced meanwhile: the next try gets the new one
		}
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
