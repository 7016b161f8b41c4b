package spool

import (
	"errors"
	"fmt"
	"syscall"
)

// What a caller may branch on, with errors.Is; and envelope.ErrInvalid, which is
// the caller's mistake: nothing is written.
var (
	ErrFull    = errors.New("no room in the spool")               // disk, quota, inodes, or below MinFree: 452
	ErrBusy    = errors.New("message is held by another")         // flock(2)
	ErrGone    = errors.New("no such message")                    // done, or moved, meanwhile
	ErrCorrupt = errors.New("message file is damaged")            // it is in corrupt/ now
	ErrLater   = errors.New("message can't be worked on now")     // read error, not writable, or set aside
	ErrPending = errors.New("message has pending recipients")     // Finish
	ErrLocked  = errors.New("queue is locked by another process") // TryLock
	ErrNoLock  = errors.New("the queue lock is not held")         // Clean
	ErrClosed  = errors.New("message is closed")                  // any call after Commit, Abort, Finish, Hold, Close
	ErrForeign = errors.New("not a spool of this server")         // Open
)

// full adds ErrFull to errors that room on the disk, or in a quota, would mend.
func full(err error) error {
	for _, e := range []syscall.Errno{syscall.ENOSPC, syscall.EDQUOT, syscall.EFBIG} {
		if errors.Is(err, e) {
			return fmt.Errorf("%w: %w", ErrFull, err)
		}
	}
	return err
}

// damaged is why a file can't be a message file. It never comes from the disk:
// a read error is no damage (A32).
type damaged struct{ reason string }

func (d *damaged) Error() string { return d.reason }

func (d *damaged) Is(target error) bool { return target == ErrCorrupt }

func damage(format string, args ...any) error {
	return &damaged{fmt.Sprintf(format, args...)}
}

// errLostSync is a directory sync that was not tried, since the one before it
// failed.
var errLostSync = errors.New("sync of the queue's directory: the one before it failed")
