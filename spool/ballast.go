package spool

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"postoffice/internal/disk"
)

// The ballast is room that is given up when "done" can't be recorded: a file
// system that copies on write needs new blocks even to overwrite an octet.
const (
	ballastName = "ballast"
	ballastSize = 1 << 20 // octets, unless Options say otherwise
	ballastRest = 10 * time.Minute
)

// makeBallast makes the ballast unless it is there or room is short, or was
// lately: what was given up is still needed.
func (q *Queue) makeBallast() error {
	q.ballastMu.Lock()
	defer q.ballastMu.Unlock()
	if q.given > 0 && q.now().Sub(q.gaveAt) < ballastRest {
		return nil
	}
	info, err := q.root.Lstat(ballastName)
	if err == nil && info.Size >= q.ballast {
		return nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("ballast: %w", err)
	}
	if q.Room() != nil {
		return nil
	}
	if err == nil { // a crash cut it short
		if err := q.root.Unlink(ballastName); err != nil {
			return fmt.Errorf("ballast: %w", err)
		}
	}
	f, err := q.root.Create(ballastName, fileMode)
	if err != nil {
		return fmt.Errorf("ballast: %w", err)
	}
	err = fillBallast(f, q.ballast)
	if err == nil && q.chown {
		err = f.Chown(q.uid, q.gid)
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		return nil
	}
	uerr := q.root.Unlink(ballastName)
	if disk.Full(err) && uerr == nil {
		return nil // the next cleaning tries again
	}
	return fmt.Errorf("ballast: %w", errors.Join(err, uerr))
}

// fillBallast writes size random octets: zeros would be compressed away.
func fillBallast(f disk.File, size int64) error {
	b := make([]byte, min(size, 64<<10))
	for ; size > 0; size -= int64(len(b)) {
		if _, err := rand.Read(b); err != nil {
			return err
		}
		if _, err := f.Write(b); err != nil {
			return err
		}
	}
	return nil
}

// ballastGiven is how often room was made.
func (q *Queue) ballastGiven() int {
	q.ballastMu.Lock()
	defer q.ballastMu.Unlock()
	return q.given
}

// giveBallast gives the ballast up, if it is still there, and reports whether
// there may be more room than when ballastGiven returned seen: several may need
// it at once, and what was removed since is room only after a commit too.
func (q *Queue) giveBallast(seen int) bool {
	q.ballastMu.Lock()
	defer q.ballastMu.Unlock()
	if q.given != seen {
		return true
	}
	if err := q.root.Unlink(ballastName); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false
	}
	q.given, q.gaveAt = q.given+1, q.now()
	return q.root.Sync() == nil && disk.Settle(q.root) == nil
}
