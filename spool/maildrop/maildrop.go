package maildrop

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"time"

	"postoffice/internal/disk"
)

// Dir is the directory in the spool's where anybody on this machine may leave a
// message. What lies there is a stranger's: it is never renamed into the queue,
// only read, as little as needed, and copied.
const Dir = "maildrop"

// mode: anybody makes a file in it, nobody lists it, nobody removes another's,
// and files get the group of the server, which so can read them.
const mode = 0o733 | fs.ModeSetgid | fs.ModeSticky

// searchMode is what the spool's own directory needs in addition for that.
const searchMode = 0o011

// Options say where the spool is, which is there, and what is its.
type Options struct {
	FS      disk.FS          // nil: the machine's
	Spool   string           // its directory; who owns it is the server
	Corrupt Corrupt          // where goes what is no message
	Log     *slog.Logger     // what was not picked up; nil: nowhere
	Now     func() time.Time // nil: time.Now
}

// Maildrop is an open maildrop/. Its methods may be called by any number of
// goroutines.
type Maildrop struct {
	log     *slog.Logger
	now     func() time.Time
	corrupt Corrupt
	dir     disk.Dir // nil: there is none, and no room to make it
	uid     int      // of the server
	gid     int      // group of the files

	picking sync.Mutex
	round   round           // guarded by picking, as are
	before  map[string]bool // names whose trouble was told in the round before
	stuck   map[int]string  // by owner: one that is in the queue and couldn't be removed
	large   int             // whose large message was the last
}

// ErrForeign is a maildrop/ that is another's than the spool's.
var ErrForeign = errors.New("not a maildrop of this server")

// Open opens maildrop/, and makes it where missing, with its mode and the
// spool's owner. A full disk is no error: nothing is picked up then, and what is
// in the queue is delivered.
func Open(o Options) (*Maildrop, error) {
	m := &Maildrop{log: o.Log, now: o.Now, corrupt: o.Corrupt, round: round{after: noOwner}, stuck: map[int]string{}}
	if o.FS == nil {
		o.FS = disk.OS()
	}
	if m.log == nil {
		m.log = slog.New(slog.DiscardHandler)
	}
	if m.now == nil {
		m.now = time.Now
	}
	root, err := o.FS.OpenDir(o.Spool)
	if err == nil {
		if err = m.open(root); disk.Full(err) {
			err = nil
		}
		err = errors.Join(err, root.Close())
	}
	if err != nil {
		m.Close()
		return nil, fmt.Errorf("maildrop of %s: %w", o.Spool, err)
	}
	return m, nil
}

func (m *Maildrop) open(root disk.Dir) error {
	spool, err := root.Lstat(".")
	if err != nil {
		return err
	}
	m.uid, m.gid = spool.UID, os.Getegid()
	if m.uid != os.Geteuid() {
		m.gid = spool.GID
	}
	if err := root.Mkdir(Dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if m.dir, err = root.OpenDir(Dir); err != nil {
		return err
	}
	if err := m.own(); err != nil {
		return err
	}
	const all = fs.ModePerm | fs.ModeSetuid | fs.ModeSetgid | fs.ModeSticky
	if spool.Mode&searchMode != searchMode {
		if err := root.Chmod(spool.Mode&all | searchMode); err != nil {
			return err
		}
	}
	// Also when nothing was made: who made it may have died before its sync.
	return root.Sync()
}

// own gives the directory its owner, group and mode.
func (m *Maildrop) own() error {
	info, err := m.dir.Lstat(".")
	if err != nil {
		return err
	}
	switch {
	case info.UID != m.uid && m.uid == os.Geteuid():
		return fmt.Errorf("%w: it belongs to uid %d, not %d", ErrForeign, info.UID, m.uid)
	case info.UID != m.uid:
		err = m.dir.Chown(m.uid, m.gid)
	case info.GID != m.gid:
		err = m.dir.Chown(-1, m.gid)
	case Is(m.dir):
		return nil
	}
	if err == nil {
		err = m.dir.Chmod(mode)
	}
	if err == nil {
		err = m.dir.Sync()
	}
	return err
}

// Close gives the directory back.
func (m *Maildrop) Close() error {
	if m.dir == nil {
		return nil
	}
	return m.dir.Close()
}

// Is reports whether an open directory is one that a server has made to be a
// maildrop/.
func Is(d disk.Dir) bool {
	info, err := d.Lstat(".")
	return err == nil && info.Mode.IsDir() && info.Mode&^fs.ModeDir == mode
}
