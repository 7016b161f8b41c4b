package local

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"syscall"

	"postoffice/internal/disk"
	"postoffice/internal/maillog"
)

// turn is one thread's work on what waits for a place, with the ids of the
// account.
type turn struct {
	m    *Mailboxes
	a    Account
	at   place
	look lookout // for mail that goes elsewhere

	top  disk.Dir   // opened before, if it is for us to open
	dirs []disk.Dir // those opened for this turn
	made []madeDir  // those of them that were made in it

	results []func() // tell the senders, once the place is unlocked
}

// madeDir is a directory whose name may not be durable yet.
type madeDir struct {
	in   disk.Dir
	name string
}

// answer keeps a job's result until the place is unlocked.
func (t *turn) answer(j *job, r Result) {
	t.results = append(t.results, func() { j.result <- r })
}

func (t *turn) close() {
	for _, d := range t.dirs {
		d.Close() // what was written was synced
	}
	t.look.close()
}

func (t *turn) warn(msg string, err error) {
	t.m.o.Log.LogAttrs(context.Background(), slog.LevelWarn, msg,
		maillog.User(t.a.Name), maillog.File(t.at.path()), maillog.Err(err))
}

// open returns the directory of the place. Those in the home directory are made
// where they are missing, but never the home directory.
func (t *turn) open() (disk.Dir, error) {
	dir := t.top
	switch {
	case t.at.inHome:
		home, err := t.look.openHome()
		if err != nil {
			return nil, err
		}
		if home == nil {
			return nil, fmt.Errorf("%s has no home directory: there is no %q", t.a.Name, t.a.Home)
		}
		if err := t.checkDir(home, t.a.Home); err != nil {
			return nil, err
		}
		dir = home
	case t.at.foreign:
		opened, err := disk.Search(t.m.o.FS, t.at.top)
		if err != nil {
			return nil, fmt.Errorf("open the directory of a file: %w", err)
		}
		t.dirs = append(t.dirs, opened)
		dir = opened
	}
	for i := range t.at.below {
		below := place{top: t.at.top, below: t.at.below[:i+1]}
		next, err := t.descend(dir, t.at.below[i], below.path())
		if err != nil {
			return nil, err
		}
		dir = next
	}
	return dir, nil
}

// descend opens a directory in another, or makes it.
func (t *turn) descend(in disk.Dir, name, path string) (disk.Dir, error) {
	dir, err := in.OpenDir(name)
	if errors.Is(err, fs.ErrNotExist) {
		if err := in.Mkdir(name, 0o700); err == nil {
			t.made = append(t.made, madeDir{in, name})
		} else if !errors.Is(err, fs.ErrExist) {
			return nil, fmt.Errorf("make a directory: %w", err)
		}
		dir, err = in.OpenDir(name)
	}
	if errors.Is(err, syscall.ELOOP) || errors.Is(err, syscall.ENOTDIR) {
		return nil, fmt.Errorf("%s is a link or no directory, and must be one: %w", path, err)
	}
	if err != nil {
		return nil, fmt.Errorf("open a directory: %w", err)
	}
	t.dirs = append(t.dirs, dir)
	return dir, t.checkDir(dir, path)
}

// checkDir says why nothing may be written below a directory.
func (t *turn) checkDir(dir disk.Dir, path string) error {
	info, err := dir.Lstat(".")
	if err != nil {
		return fmt.Errorf("look at a directory: %w", err)
	}
	if info.UID != t.a.UID && info.UID != 0 {
		return fmt.Errorf("directory %s must not be used: it belongs to uid %d, want %d", path, info.UID, t.a.UID)
	}
	return nil
}

// syncAbove makes the names of the place's directories durable. Whoever made
// them may have died before.
func (t *turn) syncAbove() error {
	in, below := t.look.home, t.dirs
	switch {
	case len(t.at.below) == 0:
		return nil
	case !t.at.inHome:
		in, below = t.dirs[0], t.dirs[1:]
	}
	for _, d := range below[:len(t.at.below)] {
		if err := t.syncNames(in); err != nil {
			return err
		}
		in = d
	}
	return nil
}

// syncNames makes the names in a directory durable. After an error those of
// directories that were made there may be lost, whatever a later sync says:
// they go out of the way, and are made anew.
func (t *turn) syncNames(in disk.Dir) error {
	err := in.Sync()
	if err == nil {
		return nil
	}
	err = fmt.Errorf("sync a directory: %w", err)
	for _, d := range t.made {
		if d.in == in {
			err = errors.Join(err, in.Rename(d.name, in, "."+d.name+".unsynced"))
		}
	}
	return err
}

// failed is the result of a message that could not be written.
func (t *turn) failed(err error) Result {
	err = fmt.Errorf("%s %s: %w", t.at.word, t.at.path(), err)
	if disk.Full(err) {
		return deferred("4.2.2", t.at.full(), err)
	}
	if _, ok := errors.AsType[bodyError](err); ok {
		return deferred("4.3.0", "message was not delivered whole", err)
	}
	return deferred("4.2.0", t.at.unwritable(), err)
}
