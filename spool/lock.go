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
	f, err := q.root.Create(lockName, fileMode)
	if errors.Is(err, fs.ErrExist) {
		f, err = q.root.Open(lockName, disk.ReadWrite)
	} else if err == nil && q.chown {
		err = f.Chown(q.uid, q.gid)
	}
	if f == nil {
		return err
	}
	if err == nil {
		err = writeScheme(f)
	}
	return errors.Join(err, f.Close())
}

// writeScheme writes the lock's line unless it is there. What a crash left of
// one is written again, by two processes at once if need be: it is the same.
func writeScheme(f disk.File) error {
	var b [2 * len(lockLine)]byte
	n, err := f.ReadAt(b[:], 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if string(b[:n]) == lockLine {
		return nil
	}
	for i, c := range b[:n] {
		if i >= len(lockLine) || c != 0 && c != lockLine[i] {
			return fmt.Errorf("%w: %s reads %.60q, want %q", ErrForeign, lockName, b[:n], lockLine)
		}
	}
	if _, err := f.WriteAt([]byte(lockLine), 0); err != nil {
		return err
	}
	return f.Sync()
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
