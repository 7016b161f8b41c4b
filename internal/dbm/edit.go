package dbm

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"maps"
	"os"
	"slices"
	"time"

	"postoffice/internal/disk"
)

// Edit is a database open for writing. What it changes is seen by itself at
// once and by others after Close. One goroutine uses it.
type Edit struct {
	target  target
	lock    disk.File
	old     *File
	changes map[string]change // by key
}

// change is a new value, or none.
type change struct {
	value   []byte
	deleted bool
}

var _ DB = (*Edit)(nil)

// lockWait is how long Change waits for others that change the same database,
// and lockPause how long between two looks.
const (
	lockWait  = 10 * time.Second // for others that change the same database
	lockPause = 5 * time.Millisecond
)

// Change opens the database at path for writing and locks it against other
// Edits until Close or Abort. ErrBusy: another program has held it for 10 s.
// Mode and owner of the file stay as they are, and so does its Source.
func Change(path string, o Options) (*Edit, error) {
	if !available {
		return nil, ErrLite
	}
	o.New = false
	t, err := openTarget(path, o)
	if err != nil {
		return nil, err
	}
	t.sweep(time.Now())
	lock, err := t.lock(time.Now().Add(lockWait))
	if err != nil {
		t.close()
		return nil, t.wrap(err)
	}
	e := &Edit{target: t, lock: lock, changes: map[string]change{}}
	f, err := t.dir.Open(t.name, disk.ReadOnly)
	if err == nil {
		e.old, err = newFile(t.path, f, o)
	}
	if err != nil {
		e.Abort()
		return nil, err
	}
	e.target.like = &e.old.info
	return e, nil
}

// lockName is the file that Edits lock. It is there while one does, and has mode
// 0600: a lock on the database would be anybody's who may read it.
func (t *target) lockName() string { return "." + t.name + ".lock" }

// lock makes, or finds, and locks the file that has the lock's name once the lock
// is got. Until then nobody else changes the database.
func (t *target) lock(until time.Time) (disk.File, error) {
	owner, err := t.dir.Lstat(t.name)
	if err != nil {
		return nil, err
	}
	for {
		f, err := t.openLock(owner)
		switch {
		case errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrExist): // it came or went just now
		case err != nil:
			return nil, err
		default:
			ours, err := f.TryLock()
			if err == nil && ours {
				if ours, err = disk.Named(t.dir, t.lockName(), f); err == nil && ours {
					return f, nil
				}
			}
			f.Close()
			if err != nil {
				return nil, err
			}
		}
		if time.Now().After(until) {
			return nil, ErrBusy
		}
		time.Sleep(lockPause)
	}
}

// openLock opens the lock's file, which belongs to the database's owner, root or us,
// or makes it for the database's owner.
func (t *target) openLock(db disk.Info) (disk.File, error) {
	f, err := t.dir.Open(t.lockName(), disk.ReadWrite)
	if errors.Is(err, fs.ErrPermission) {
		return nil, t.dropLock(db, err)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		if err != nil {
			return nil, err
		}
		info, err := f.Stat()
		if known := info.UID == db.UID || info.UID == 0 || info.UID == os.Geteuid(); err == nil && (!known || info.Mode.Perm()&0o077 != 0) {
			err = fmt.Errorf("others may lock %s, which belongs to uid %d and has mode %v; remove it", t.lockName(), info.UID, info.Mode.Perm())
		}
		if err != nil {
			f.Close()
			return nil, err
		}
		return f, nil
	}
	if os.Geteuid() != 0 || db.UID == 0 {
		return t.dir.Create(t.lockName(), 0o600)
	}
	return t.makeLock(db)
}

// makeLock makes the lock's file as root, for a user's database. It has its name only
// when it is the user's: one of root's that a crash leaves would keep the user out.
func (t *target) makeLock(db disk.Info) (disk.File, error) {
	f, name, err := t.temporary(0o600)
	if err != nil {
		return nil, err
	}
	if err = f.Chown(db.UID, db.GID); err == nil {
		err = t.dir.RenameNoReplace(name, t.dir, t.lockName())
	}
	if err != nil {
		_ = t.dir.Unlink(name) // else the next program of root's does
		f.Close()
		return nil, err
	}
	return f, nil
}

// dropLock removes root's lock from beside a database of ours: it isn't locked, for
// root locks none of its own there, but was left before the database was ours, or by a
// program of before makeLock. It returns fs.ErrNotExist, or why that can't be.
func (t *target) dropLock(db disk.Info, why error) error {
	info, err := t.dir.Lstat(t.lockName())
	if err != nil {
		return err
	}
	if info.UID == 0 && db.UID == os.Geteuid() && t.dir.Unlink(t.lockName()) == nil {
		return fs.ErrNotExist
	}
	return fmt.Errorf("%w: it belongs to uid %d; if no program changes %s now, remove it", why, info.UID, t.name)
}

// Fetch returns the value of key.
func (e *Edit) Fetch(key []byte) ([]byte, error) {
	if c, ok := e.changes[string(key)]; ok && c.deleted {
		return nil, ErrNotFound
	} else if ok {
		return bytes.Clone(c.value), nil
	}
	return e.old.Fetch(key)
}

// Store enters a record.
func (e *Edit) Store(key, value []byte, how How) error {
	if err := checkRecord(key, value); err != nil {
		return e.target.wrap(err)
	}
	if how == Insert {
		_, err := e.Fetch(key)
		if err == nil {
			return ErrExists
		}
		if !errors.Is(err, ErrNotFound) {
			return err
		}
	}
	e.changes[string(key)] = change{value: bytes.Clone(value)}
	return nil
}

// Delete takes a record out.
func (e *Edit) Delete(key []byte) error {
	if _, err := e.Fetch(key); err != nil {
		return err
	}
	e.changes[string(key)] = change{deleted: true}
	return nil
}

// All yields every record in order, with the changes so far. Nothing may be
// changed meanwhile.
func (e *Edit) All() iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		keys := slices.Sorted(maps.Keys(e.changes))
		// upTo yields the changes before key, and key's, with what it was.
		upTo := func(key []byte, all bool) (goOn, changed bool) {
			for len(keys) > 0 && (all || keys[0] <= string(key)) {
				k, c := keys[0], e.changes[keys[0]]
				keys = keys[1:]
				changed = !all && k == string(key)
				if !c.deleted && !yield(Record{[]byte(k), c.value}, nil) {
					return false, changed
				}
			}
			return true, changed
		}
		for r, err := range e.old.All() {
			if err != nil {
				yield(Record{}, err)
				return
			}
			goOn, changed := upTo(r.Key, false)
			if goOn && !changed {
				goOn = yield(r, nil)
			}
			if !goOn {
				return
			}
		}
		upTo(nil, true)
	}
}

// Close writes the database anew, if it was changed, and puts it in its
// place. After an error the old one stays.
func (e *Edit) Close() error {
	if !available {
		return ErrLite
	}
	defer e.Abort()
	if len(e.changes) == 0 {
		return nil
	}
	return e.target.publish(e.old.Source(), func(add func(Record) error) error {
		for r, err := range e.All() {
			if err == nil {
				err = add(r)
			}
			if err != nil {
				return fmt.Errorf("write the database anew: %w", err)
			}
		}
		return nil
	})
}

// Abort ends the use of the database without any change. After Close it does
// nothing.
func (e *Edit) Abort() {
	if e.old != nil {
		e.old.Close()
		e.old = nil
	}
	if e.lock != nil {
		_ = e.target.dir.Unlink(e.target.lockName()) // one that stays keeps nobody out
		e.lock.Close()
		e.lock = nil
	}
	e.target.close()
}
