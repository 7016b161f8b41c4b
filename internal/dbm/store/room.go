//go:build !lite

package store

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"postoffice/internal/disk"
	"postoffice/internal/maillog"
)

const (
	ballastSize = 8 << 20 // octets of the ballast: two tables from memory, their logs, and one that they are merged to
	leastRoom   = 8 << 20 // octets free below which nothing is written, so that the ballast is seldom needed
	leastFiles  = 64      // the same for files

	fullPause = 250 * time.Millisecond // between two tries to write what has no room
	lookPause = time.Second            // between two looks whether there is room again
)

const ballastName = "ballast"

// room is what the disk has for the store. Where it is too little nothing new is written;
// what is under way already has the room of the ballast, a file that is for nothing else,
// and where that is not enough waits.
type room struct {
	dir disk.Dir
	as  func(func() error) error // with whose rights names are used
	log *slog.Logger

	mu      sync.Mutex // guards what follows
	small   bool       // there is too little
	looked  time.Time  // when it was looked for last, while there is
	waiting int        // writes that wait for it
	wait    chan struct{}
	ended   chan struct{} // closed when nothing is to wait any more
	opening bool          // nothing waits yet
}

func newRoom(dir disk.Dir, o Options) *room {
	return &room{dir: dir, as: o.As, log: o.Log, wait: make(chan struct{}), ended: make(chan struct{}), opening: true}
}

// opened is called when the store is open.
func (r *room) opened() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.opening = false
	if err := r.as(r.makeBallast); err != nil {
		r.tell(err)
	}
}

// end lets nothing wait any more.
func (r *room) end() {
	r.mu.Lock()
	defer r.mu.Unlock()
	select {
	case <-r.ended:
	default:
		close(r.ended)
	}
}

// stuck is closed while a write waits for room.
func (r *room) stuck() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.wait
}

// full says whether there is too little. Now and then it looks for more.
func (r *room) full() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.small && r.waiting == 0 && time.Since(r.looked) >= lookPause {
		r.look()
	}
	return r.small
}

// check looks for room before something is written.
func (r *room) check() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.small && r.fits(0) {
		return nil
	}
	r.tell(nil)
	return ErrFull
}

// fits says whether there is room for so many octets, and more.
func (r *room) fits(octets int64) bool {
	space, err := r.dir.Space()
	return err != nil || space.Octets >= octets+leastRoom && space.Inodes >= leastFiles
}

// look looks whether there is room again, also for the ballast if it is gone. The caller
// holds mu.
func (r *room) look() {
	r.looked = time.Now()
	missing := int64(ballastSize)
	if info, err := r.dir.Lstat(ballastName); err == nil {
		missing = max(missing-info.Allocated, 0)
	}
	if r.waiting > 0 || !r.fits(missing) || r.as(r.makeBallast) != nil {
		return
	}
	r.small = false
	r.log.LogAttrs(context.Background(), slog.LevelInfo, "store has room again")
}

// tell notes that there is too little room. The caller holds mu.
func (r *room) tell(err error) {
	if r.small {
		return
	}
	r.small, r.looked = true, time.Now()
	if err == nil {
		err = ErrFull
	}
	r.log.LogAttrs(context.Background(), slog.LevelError, "store full", maillog.Err(err), maillog.Reason("nothing new is kept until there is room"))
}

// makeBallast makes the ballast, if it isn't whole. The caller holds mu.
func (r *room) makeBallast() error {
	info, err := r.dir.Lstat(ballastName)
	if err == nil && info.Allocated >= ballastSize {
		return nil
	}
	if err == nil {
		err = r.dir.Unlink(ballastName)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if !r.fits(ballastSize) {
		return ErrFull
	}
	f, err := r.dir.Create(ballastName, 0o600)
	if err != nil {
		return err
	}
	err = fill(f)
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, r.dir.Unlink(ballastName))
	}
	return nil
}

// fill gives the ballast its octets: those that a file system sets aside, or, where it
// doesn't do that, some that it can't make less of.
func fill(f disk.File) error {
	if err := f.Allocate(0, ballastSize); err == nil {
		if info, err := f.Stat(); err == nil && info.Allocated >= ballastSize {
			return nil
		}
	} else if disk.Full(err) {
		return err
	}
	_, err := io.CopyN(f, rand.NewChaCha8([32]byte{}), ballastSize)
	if err == nil {
		err = f.Datasync()
	}
	return err
}

// give makes room for a write that had none: it returns true when that is worth another
// try.
func (r *room) give() bool {
	r.mu.Lock()
	r.tell(nil)
	if err := r.as(func() error { return r.dir.Unlink(ballastName) }); err == nil {
		r.mu.Unlock()
		return true
	}
	if r.opening {
		r.mu.Unlock()
		return false
	}
	if r.waiting++; r.waiting == 1 {
		close(r.wait)
	}
	r.mu.Unlock()
	timer := time.NewTimer(fullPause)
	defer timer.Stop()
	again := true
	select {
	case <-timer.C:
	case <-r.ended:
		again = false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.waiting--; r.waiting == 0 {
		r.wait = make(chan struct{})
	}
	return again
}
