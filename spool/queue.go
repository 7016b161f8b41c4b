package spool

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"postoffice/internal/disk"
)

// Options say where the spool is and whose.
type Options struct {
	FS      disk.FS          // nil: the machine's
	Dir     string           // absolute; made if missing, not its parents
	Log     *slog.Logger     // what was set aside or cleaned up; nil: nowhere
	UID     int              // owner of a directory that is made; 0 and -1: this process
	GID     int              // its group; 0 and -1: this process's
	MinFree int64            // octets to be left free, see Queue.MinFree; 0: no minimum
	Ballast int64            // octets kept back for recording; 0: 1 MiB
	Now     func() time.Time // nil: time.Now
	Rand    io.Reader        // of IDs; nil: crypto/rand
	Tally   Tally            // told of what messages take; nil: nobody
}

// A Tally is told of the room that messages take, held ones too, by the process that
// makes the change, while it makes it. What was there before, EachHead tells.
type Tally interface {
	// Came tells of a message that is durable now: its ID, its Envelope.Client, and the
	// octets of its file.
	Came(id, client string, octets int64)
	// Grew tells of what was added to its file, which has so many octets then.
	Grew(id string, octets int64)
	// Went tells of one that is done, or damaged.
	Went(id string)
}

// noTally is told and does nothing.
type noTally struct{}

func (noTally) Came(id, client string, octets int64) {}
func (noTally) Grew(id string, octets int64)         {}
func (noTally) Went(id string)                       {}

// Queue is a spool. Its methods may be called by any number of goroutines.
type Queue struct {
	dir     string // of the spool
	log     *slog.Logger
	minFree int64
	ballast int64
	buffer  int // octets of an arrival that are kept before they are written
	now     func() time.Time
	ids     idMaker
	uid     int // owner of the spool's directory, and so of its files
	gid     int
	chown   bool // this process's own files would have another owner
	tally   Tally

	root   disk.Dir
	dirs   [numLocations]disk.Dir
	tmp    disk.Dir
	synced *syncer // of the queue's directory
	locked atomic.Bool

	mu    sync.Mutex
	stock ID           // the newest message when the queue lock was got
	aside map[ID]error // messages whose record failed, until the process ends (A38)

	ballastMu sync.Mutex
	given     int // how often room was made
	gaveAt    time.Time
}

// Location says in which directory a message is.
type Location int

// The locations. Claim takes active messages alone.
const (
	Active Location = iota
	Held
	Corrupt
	Waiting // for filters: nobody delivers it before they have judged it
	numLocations
)

// locationDirs are the locations' directories.
var locationDirs = [numLocations]string{Active: "queue", Held: "hold", Corrupt: "corrupt", Waiting: "filter"}

func (at Location) String() string {
	return [...]string{"active", "held", "corrupt", "waiting"}[at]
}

const (
	tmpDir   = "tmp"
	dirMode  = 0o700
	fileMode = 0o600
)

// Open opens a spool and makes what is missing of it.
func Open(o Options) (*Queue, error) {
	q := &Queue{dir: o.Dir, log: o.Log, minFree: o.MinFree, ballast: o.Ballast, buffer: bufferSize, now: o.Now, tally: o.Tally, aside: make(map[ID]error)}
	if o.FS == nil {
		o.FS = disk.OS()
	}
	if q.log == nil {
		q.log = slog.New(slog.DiscardHandler)
	}
	if q.now == nil {
		q.now = time.Now
	}
	if q.ballast <= 0 {
		q.ballast = ballastSize
	}
	if o.Rand == nil {
		o.Rand = rand.Reader
	}
	if q.tally == nil {
		q.tally = noTally{}
	}
	q.ids = idMaker{now: q.now, rand: o.Rand}
	if err := q.open(o); err != nil {
		q.Close()
		return nil, fmt.Errorf("spool %s: %w", o.Dir, full(err))
	}
	return q, nil
}

func (q *Queue) open(o Options) error {
	var err error
	if q.root, err = openRoot(o); err != nil {
		return err
	}
	info, err := q.root.Lstat(".")
	if err != nil {
		return err
	}
	if o.UID > 0 && info.UID != o.UID {
		return fmt.Errorf("%w: it belongs to uid %d, not %d", ErrForeign, info.UID, o.UID)
	}
	if err := writable(info.Mode); err != nil {
		return err
	}
	q.uid, q.gid = info.UID, info.GID
	q.chown = q.uid != os.Geteuid()
	if q.tmp, err = q.subdir(tmpDir); err != nil {
		return err
	}
	for at, name := range locationDirs {
		if q.dirs[at], err = q.subdir(name); err != nil {
			return err
		}
	}
	q.synced = newSyncer(q.dirs[Active])
	if s, err := q.tmp.Space(); err == nil { // an error is Room's to tell
		q.minFree = KeptFree(q.minFree, s.Total)
	}
	if err := q.scheme(); err != nil {
		return err
	}
	// Also when nothing was made: who made it may have died before its sync.
	return q.root.Sync()
}

// Fit says why a directory that is there can't be opened as a spool, as far as that
// shows without making anything. The error is as Open's.
func Fit(path string) error {
	bad := func(err error) error { return fmt.Errorf("spool %s: %w", path, err) }
	top, err := os.Stat(path)
	if err != nil {
		return bad(err)
	}
	if err := writable(top.Mode()); err != nil {
		return bad(err)
	}
	for _, dir := range Dirs(path) {
		name := filepath.Base(dir)
		info, err := os.Lstat(dir)
		switch {
		case errors.Is(err, fs.ErrNotExist): // it will be made
			continue
		case err == nil && !info.IsDir():
			err = syscall.ENOTDIR
		case err == nil:
			err = foreign(name, disk.InfoOf(info), disk.InfoOf(top).UID)
		}
		if err != nil {
			return bad(err)
		}
	}
	return nil
}

// Adopt gives a spool whose directory belongs to another user to the one that is to have
// it, as root: a volume of a container, whose users have other numbers elsewhere. Of what
// is in it that goes for directories and files of one name that belong to the same
// user, so that nothing else that this user may have put there comes to the new one;
// what lies in maildrop/ keeps its owners, who are its senders, and gets the new group,
// without which it is taken for no mail. A directory that is no spool stays as it is.
func Adopt(path string, uid, gid int) error {
	top, err := os.Lstat(path)
	if err != nil || !top.IsDir() || disk.InfoOf(top).UID == uid {
		return err
	}
	if !isSpool(path) {
		return nil // Open says what it is
	}
	root, err := os.OpenRoot(path) // whoever had it may put links into it meanwhile
	if err != nil {
		return err
	}
	defer root.Close()
	if now, err := root.Stat("."); err != nil || !os.SameFile(now, top) {
		return errors.Join(fmt.Errorf("%s was exchanged while it was given away: start again", path), err)
	}
	if err := adoptAll(root, disk.InfoOf(top), uid, gid); err != nil {
		return err
	}
	return root.Lchown(".", uid, gid) // last: a start that is killed before goes over all of it again
}

// adoptAll gives away what is in a spool that had the former owner.
func adoptAll(root *os.Root, former disk.Info, uid, gid int) error {
	return fs.WalkDir(root.FS(), ".", func(name string, _ fs.DirEntry, err error) error {
		if err != nil || name == "." {
			return err
		}
		info, err := root.Lstat(name)
		if err != nil {
			return err
		}
		i := disk.InfoOf(info)
		ours, drop := i.Mode.IsRegular() && i.Nlink == 1, filepath.Dir(name) == "maildrop"
		switch {
		case i.Mode.IsDir() && (drop || i.Dev != former.Dev):
			return fs.SkipDir // of a sender's, or another file system
		case drop && ours && i.GID == former.GID:
			return root.Lchown(name, -1, gid)
		case !drop && (ours || i.Mode.IsDir()) && i.UID == former.UID:
			return root.Lchown(name, uid, gid)
		}
		return nil
	})
}

// Dirs are the directories in a spool that are its owner's alone.
func Dirs(path string) []string {
	var all []string
	for _, name := range append(locationDirs[:], tmpDir) {
		all = append(all, filepath.Join(path, name))
	}
	return all
}

// writable says that others may write to the spool's directory.
func writable(mode fs.FileMode) error {
	if mode.Perm()&0o022 != 0 {
		return fmt.Errorf("%w: others may write to it (mode %04o)", ErrForeign, mode.Perm())
	}
	return nil
}

// foreign says that one of the spool's directories isn't its owner's alone.
func foreign(name string, info disk.Info, uid int) error {
	if info.UID != uid || info.Mode.Perm()&0o022 != 0 {
		return fmt.Errorf("%w: %s belongs to uid %d with mode %04o, want uid %d and mode %04o",
			ErrForeign, name, info.UID, info.Mode.Perm(), uid, dirMode)
	}
	return nil
}

// openRoot opens the spool's directory, and makes it in its parent.
func openRoot(o Options) (disk.Dir, error) {
	parent, err := o.FS.OpenDir(filepath.Dir(o.Dir))
	if errors.Is(err, fs.ErrPermission) {
		return o.FS.OpenDir(o.Dir) // not ours to make, then
	}
	if err != nil {
		return nil, err
	}
	defer parent.Close()
	err = parent.Mkdir(filepath.Base(o.Dir), dirMode)
	made := err == nil
	if err != nil && !errors.Is(err, fs.ErrExist) && !errors.Is(err, fs.ErrPermission) {
		return nil, err
	}
	root, opened := o.FS.OpenDir(o.Dir)
	switch {
	case errors.Is(opened, fs.ErrNotExist) && err != nil: // why it couldn't be made
		return nil, err
	case opened != nil:
		return nil, opened
	}
	err = nil
	if made && (o.UID > 0 || o.GID > 0) {
		err = root.Chown(owner(o.UID), owner(o.GID))
	}
	if err == nil {
		err = parent.Sync() // also of who made it and died
	}
	if err != nil {
		root.Close()
		return nil, err
	}
	return root, nil
}

// owner is an Options' UID or GID as chown(2) takes it.
func owner(id int) int {
	if id <= 0 {
		return -1
	}
	return id
}

// subdir opens one of the spool's directories, and makes it.
func (q *Queue) subdir(name string) (disk.Dir, error) {
	err := q.root.Mkdir(name, dirMode)
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	d, err := q.root.OpenDir(name)
	if err != nil {
		return nil, err
	}
	info, err := d.Lstat(".")
	if err == nil && q.chown && info.UID != q.uid {
		if err = d.Chown(q.uid, q.gid); err == nil {
			info.UID = q.uid
		}
	}
	if err == nil {
		err = foreign(name, info, q.uid)
	}
	if err != nil {
		d.Close()
		return nil, err
	}
	return d, nil
}

// Close gives the directories back. Messages that are still held stay usable
// until their own Close, but for what moves or removes them.
func (q *Queue) Close() error {
	var errs []error
	for _, d := range append(q.dirs[:], q.tmp, q.root) {
		if d != nil {
			errs = append(errs, d.Close())
		}
	}
	return errors.Join(errs...)
}

// Dir is the spool's directory.
func (q *Queue) Dir() string { return q.dir }

// KeptFree is how much of a file system of total octets, 0 if that isn't known, is
// to stay free where minFree is wanted: a tenth where it is more than half of all,
// which would leave no room for mail.
func KeptFree(minFree, total int64) int64 {
	if total > 0 && minFree > total/2 {
		return total / 10
	}
	return minFree
}

// MinFree is how many octets are left free: what Options say, or less where the
// file system is too small for that, see KeptFree.
func (q *Queue) MinFree() int64 { return q.minFree }

// Room returns nil while there is room for another message: see Spare.
func (q *Queue) Room() error {
	_, _, err := q.Spare()
	return err
}

// Spare returns how many octets are free above MinFree, and how many inodes, while
// there is room for another message. ErrFull says that there is none; any other
// error that it can't be told, which is no yes (A35).
func (q *Queue) Spare() (octets, inodes int64, err error) {
	s, err := q.tmp.Space()
	if err != nil {
		return 0, 0, fmt.Errorf("free space of the spool: %w", err)
	}
	if s.Octets < q.minFree {
		return 0, 0, fmt.Errorf("%w: %d octets are free, %d are to stay free", ErrFull, s.Octets, q.minFree)
	}
	if s.Inodes == 0 || s.Octets == 0 {
		return 0, 0, fmt.Errorf("%w: %d octets and %d inodes are free", ErrFull, s.Octets, s.Inodes)
	}
	return s.Octets - q.minFree, s.Inodes, nil
}
