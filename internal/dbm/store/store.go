package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"postoffice/internal/disk"
	"postoffice/internal/maillog"
)

// Errors of a store, for errors.Is.
var (
	ErrLocked  = errors.New("another process has the store")
	ErrDamaged = errors.New("the store is damaged")
	ErrFull    = errors.New("there is no room for the store: free some on its disk, it goes on by itself")
	ErrLost    = errors.New("the store can't be written: mend its disk; it is opened again by itself, and after some times when the server is restarted")
	ErrClosed  = errors.New("the store is closed")
	ErrLate    = errors.New("the store didn't answer in time: its disk is slow or broken")
	ErrLite    = errors.New("this build of postoffice has no store: install the full one")
	ErrTooLong = errors.New("a key or a value is too long for the store")
)

// DamageError is a store that can't be opened, or a part of it that can't be read.
type DamageError struct {
	Dir  string
	Mend string // the command that mends it; "" if there is none
	Err  error  // what was found
}

func (e *DamageError) Error() string {
	text := fmt.Sprintf("%s: %v: %v", e.Dir, ErrDamaged, e.Err)
	if e.Mend != "" {
		text += fmt.Sprintf("; run %q", e.Mend)
	}
	return text
}

func (e *DamageError) Unwrap() []error { return []error{ErrDamaged, e.Err} }

// Limits of a record, in octets.
const (
	MaxKey   = 1 << 10  // of the key: an address of mail, one of a network, and what kind it is
	MaxValue = 64 << 10 // of the value
)

const (
	maxWait     = 10 * time.Second // for one answer, whatever the caller's context allows: sessions wait for it
	maxLives    = 4                // times that a store is opened which was lost: each leaves some memory behind
	lockedPause = time.Second      // between two tries to open a store that another process has: a server that ends lets go of it
	retryPause  = 10 * time.Second // between two tries where it is something else
)

// Options are what Open and Start are told.
type Options struct {
	Mend string       // the command that mends a damaged store, for errors
	Log  *slog.Logger // nil: nothing is told
	// As calls a function with the rights with which the store's files are to be opened and
	// made, and which it may have on its own thread alone; nil: with the caller's.
	As func(func() error) error

	lockedPause, retryPause time.Duration // shorter for tests
	base                    any           // the vfs.FS below it, for tests
}

// Store is a store, open or not. All of it may be used by many at once.
type Store struct {
	dir     string
	options Options
	down    chan struct{}  // closed by Close
	tried   chan struct{}  // closed when opening was tried once
	work    sync.WaitGroup // keep

	mu   sync.Mutex // guards what follows
	life *life      // while it is open
	why  error      // why it isn't
}

func newStore(dir string, o Options) *Store {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.As == nil {
		o.As = func(f func() error) error { return f() }
	}
	o.lockedPause, o.retryPause = cmp.Or(o.lockedPause, lockedPause), cmp.Or(o.retryPause, retryPause)
	if full, err := filepath.Abs(dir); err == nil {
		dir = full
	}
	return &Store{dir: dir, options: o, down: make(chan struct{}), tried: make(chan struct{})}
}

// Is reports whether a directory is a store's.
func Is(dir string) bool {
	lock, err := os.Lstat(filepath.Join(dir, lockName))
	return err == nil && lock.Mode().IsRegular() && !disk.Absent(filepath.Join(dir, dbName))
}

// What there is of a store below its directory.
const (
	lockName    = "lock"    // locked by whoever has the store
	dbName      = "db"      // Pebble's files
	mendingName = "mending" // what Mend is making
	mendedName  = "mended"  // what it has made, until that is in the place of db
	damagedName = "damaged" // what was db before
)

// Open opens the store in dir, and makes both where there are none.
func Open(dir string, o Options) (*Store, error) {
	s := newStore(dir, o)
	l, err := newLife(s.dir, s.options)
	if err != nil {
		return nil, err
	}
	s.live(l)
	close(s.tried)
	return s, nil
}

// Start is Open for a server, which has no time to wait for it: until the store is open,
// and while it can't be opened, calls return why, and it is tried again.
func Start(dir string, o Options) *Store {
	s := newStore(dir, o)
	s.work.Go(s.keep)
	return s
}

// keep opens the store, and again when it was lost, until Close.
func (s *Store) keep() {
	told := ""
	for lives := 0; lives < maxLives; {
		pause := s.options.retryPause
		l, err := newLife(s.dir, s.options)
		if err == nil {
			s.live(l)
		} else {
			s.dead(err)
		}
		if lives == 0 {
			s.triedOnce()
		}
		if err == nil {
			if lives++; lives > 1 || told != "" {
				s.options.Log.LogAttrs(context.Background(), slog.LevelInfo, "store open", maillog.File(s.dir))
			}
			told = ""
			select {
			case <-s.down:
				return
			case <-l.down:
			}
			s.dead(l.err())
			_ = l.close() // the log has what there is to say
		} else if errors.Is(err, ErrLocked) {
			pause = s.options.lockedPause
		}
		if err != nil && told != err.Error() {
			told = err.Error()
			s.options.Log.LogAttrs(context.Background(), slog.LevelError, "store not open", maillog.File(s.dir), maillog.Err(err))
		}
		timer := time.NewTimer(pause)
		select {
		case <-s.down:
			timer.Stop()
			return
		case <-timer.C:
		}
	}
}

func (s *Store) triedOnce() {
	select {
	case <-s.tried:
	default:
		close(s.tried)
	}
}

// live puts a store in place that was opened.
func (s *Store) live(l *life) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.life = l
	if s.why == ErrClosed {
		l.end(ErrClosed)
	}
}

// dead says why there is none.
func (s *Store) dead(why error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.life = nil
	if s.why != ErrClosed {
		s.why = why
	}
}

// open returns the store that is open, or why none is. At the start it waits.
func (s *Store) open(ctx context.Context) (*life, error) {
	select {
	case <-s.tried:
	case <-ctx.Done():
		return nil, late(ctx)
	case <-s.down:
		return nil, ErrClosed
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.life == nil {
		return nil, s.why
	}
	return s.life, nil
}

// Close lets go of the store at once: whoever waits gets ErrClosed, and when it returns
// nil another process may open it. Where the disk doesn't answer it stays locked until
// the process ends.
func (s *Store) Close() error {
	s.mu.Lock()
	again, l := s.why == ErrClosed, s.life
	s.why = ErrClosed
	s.mu.Unlock()
	if again {
		return nil
	}
	close(s.down)
	if l != nil {
		l.end(ErrClosed)
	}
	done := make(chan error, 1)
	go func() {
		s.work.Wait()
		s.mu.Lock()
		l := s.life
		s.mu.Unlock()
		if l == nil {
			done <- nil
			return
		}
		done <- l.close()
	}()
	timer := time.NewTimer(maxWait)
	defer timer.Stop()
	select {
	case err := <-done:
		return err
	case <-timer.C:
		return fmt.Errorf("%w: %s stays locked until the process ends", ErrLate, s.dir)
	}
}
