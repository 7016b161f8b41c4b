package dbm

import (
	"bytes"
	"cmp"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"postoffice/internal/disk"
)

// defaultMemory is Options.Memory where that is 0, in octets.
const defaultMemory = 16 << 20

// Build makes a database of records that come in any order.
type Build struct {
	target target
	o      Options
	sorter sorter
}

// Create begins a database that Commit puts in the place of path, where none
// need be. Until then nothing is seen of it.
func Create(path string, o Options) (*Build, error) {
	if !available {
		return nil, ErrLite
	}
	t, err := openTarget(path, o)
	if err != nil {
		return nil, err
	}
	t.sweep(time.Now())
	if info, err := t.dir.Lstat(t.name); o.Keep && err == nil && info.Mode.IsRegular() {
		t.like = &info
	}
	b := &Build{target: t, o: o}
	b.sorter.limit = cmp.Or(o.Memory, defaultMemory)
	b.sorter.spill = func(fill func(*runWriter) error) (*run, error) {
		f, name, err := t.temporary(0o600)
		if err != nil {
			return nil, err
		}
		err = t.dir.Unlink(name)
		var r *run
		if err == nil {
			r, err = writeRun(f, fill)
		}
		if err != nil {
			f.Close()
			return nil, err
		}
		return r, nil
	}
	return b, nil
}

// Add enters a record; both slices may be used again.
func (b *Build) Add(key, value []byte) error {
	if !available { // the linker leaves the sorting out
		return ErrLite
	}
	err := checkRecord(key, value)
	if err == nil {
		err = b.sorter.add(key, value)
	}
	return b.target.wrap(err)
}

// Abort gives up. It may be called after Commit and does nothing then.
func (b *Build) Abort() {
	for _, r := range b.sorter.runs {
		r.file.Close()
	}
	b.sorter = sorter{}
	b.target.close()
}

// Commit writes the database and puts it in its place. After an error the old
// one is there, but for an error of the directory's sync, after which it may
// be either.
func (b *Build) Commit() error {
	if !available {
		return ErrLite
	}
	defer b.Abort()
	return b.target.publish(b.o.Source, func(add func(Record) error) error {
		var last Record // the record that waits whether it is the last with its key
		held := false
		err := b.sorter.merge(func(r Record) error {
			switch {
			case !held || !bytes.Equal(last.Key, r.Key):
				if held {
					if err := add(last); err != nil {
						return err
					}
				}
			case b.o.KeepLast:
				b.duplicate(r, last)
			default:
				b.duplicate(last, r)
				return nil
			}
			held = true
			last.Key = append(last.Key[:0], r.Key...)
			last.Value = append(last.Value[:0], r.Value...)
			return nil
		})
		if err != nil || !held {
			return err
		}
		return add(last)
	})
}

func (b *Build) duplicate(kept, dropped Record) {
	if b.o.Duplicate != nil {
		b.o.Duplicate(kept, dropped)
	}
}

// target is the place of a database.
type target struct {
	dir  disk.Dir
	path string
	name string // of path, in dir
	o    Options
	like *disk.Info // the file whose mode and owner the new one gets; nil: o's mode
}

func openTarget(path string, o Options) (target, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return target{}, err
	}
	dir, err := o.disk().OpenDir(filepath.Dir(path))
	if err != nil {
		return target{}, err
	}
	return target{dir: dir, path: path, name: filepath.Base(path), o: o}, nil
}

func (t *target) close() {
	if t.dir != nil {
		t.dir.Close()
		t.dir = nil
	}
}

// wrap names the database in an error.
func (t *target) wrap(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", t.path, err)
}

// prefix is what the names of temporary files begin with.
func (t *target) prefix() string { return "." + t.name + ".new-" }

// temporary makes a file beside the database.
func (t *target) temporary(mode fs.FileMode) (disk.File, string, error) {
	name := t.prefix() + rand.Text()[:12]
	f, err := t.dir.Create(name, mode)
	return f, name, err
}

// abandoned is the age from which a temporary file is taken for a killed
// program's: one that is alive writes it without a pause.
const abandoned = 10 * time.Minute

// sweep removes what programs left that were killed, if their user was ours. It
// is no error if it can't.
func (t *target) sweep(now time.Time) {
	for name, err := range t.dir.Names() {
		if err != nil {
			return
		}
		if !strings.HasPrefix(name, t.prefix()) {
			continue
		}
		info, err := t.dir.Lstat(name)
		if err == nil && info.Mode.IsRegular() && info.UID == os.Geteuid() && now.Sub(info.ModTime) > abandoned {
			_ = t.dir.Unlink(name)
		}
	}
}

// publish writes a database of the records that fill adds, in order, and puts
// it in its place.
func (t *target) publish(src Source, fill func(add func(Record) error) error) (err error) {
	f, name, err := t.temporary(0o600)
	if err != nil {
		return t.wrap(err)
	}
	defer func() {
		if name != "" {
			_ = t.dir.Unlink(name)
		}
		err = t.wrap(err)
	}()
	if err := errors.Join(t.write(f, src, fill), f.Close()); err != nil {
		return err
	}
	if t.o.New {
		err = t.dir.RenameNoReplace(name, t.dir, t.name)
	} else {
		err = t.dir.Rename(name, t.dir, t.name)
	}
	if err != nil {
		return err
	}
	name = ""
	return t.dir.Sync()
}

// write makes f a durable database.
func (t *target) write(f disk.File, src Source, fill func(add func(Record) error) error) error {
	w := newTableWriter(f, src)
	err := fill(w.add)
	if err2 := w.finish(); err == nil {
		err = err2
	}
	if err == nil {
		err = t.dress(f)
	}
	if err == nil {
		err = f.Sync()
	}
	return err
}

// dressNew gives a file that is like no other its mode, and the group that may read
// it. Where that is a group of which we are no member, no group may.
func (t *target) dressNew(f disk.File, info disk.Info) error {
	mode := t.o.mode()
	if t.o.Group != nil && info.GID != *t.o.Group && mode&0o070 != 0 && f.Chown(info.UID, *t.o.Group) != nil {
		mode &^= 0o070
	}
	return f.Chmod(mode)
}

// dress gives the new file its mode and owner.
func (t *target) dress(f disk.File) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if t.like == nil {
		return t.dressNew(f, info)
	}
	if info.UID != t.like.UID || info.GID != t.like.GID {
		if err := f.Chown(t.like.UID, t.like.GID); err != nil {
			return err
		}
	}
	return f.Chmod(t.like.Mode.Perm())
}
