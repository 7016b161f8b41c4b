package disk

import (
	"errors"
	"io"
	"io/fs"
	"iter"
	"os"
	"syscall"
	"time"
)

// FS is where directories are opened: the machine's disks (OS) or a model of
// them (crashfs).
type FS interface {
	// OpenDir opens a directory by its absolute path. The path is the
	// administrator's: links in it are followed.
	OpenDir(path string) (Dir, error)
}

// Absent reports whether the machine has no such name: a link that leads to nothing is
// there, and what can't be looked at may be.
func Absent(path string) bool {
	_, err := os.Lstat(path)
	return errors.Is(err, fs.ErrNotExist)
}

// Dir is an open directory. Every name is one component; "." is allowed in
// Lstat and means the directory itself. A Dir given as destination must come
// from the same FS.
type Dir interface {
	// Create makes a new regular file, open for reading and writing. An
	// existing name, of whatever kind, is fs.ErrExist. The umask applies to
	// mode; Chmod sets it exactly.
	Create(name string, mode fs.FileMode) (File, error)

	// Open opens an existing regular file. A link is ELOOP, anything else
	// that is no regular file is ErrNotRegular.
	Open(name string, access Access) (File, error)

	// OpenDir opens a directory below this one; a link is ELOOP or ENOTDIR.
	OpenDir(name string) (Dir, error)

	// Mkdir makes a directory; the umask applies to mode.
	Mkdir(name string, mode fs.FileMode) error

	// Lstat tells what name is, without following a link.
	Lstat(name string) (Info, error)

	// Rename moves a file to name in directory to and replaces what is there.
	Rename(old string, to Dir, name string) error

	// RenameNoReplace moves a file; fs.ErrExist if name is taken. Where the
	// system has no such call it is Link, a sync of to, and Unlink of old, so
	// that a crash may leave the file under both names, with two links.
	RenameNoReplace(old string, to Dir, name string) error

	// Link gives the file a second name; fs.ErrExist if name is taken.
	Link(old string, to Dir, name string) error

	// Unlink removes a name that is no directory's.
	Unlink(name string) error

	// Names yields the names in the directory, without "." and "..", in no
	// order, and holds only one buffer of them in memory. After an error it
	// ends. Names that come or go meanwhile may be yielded or not. Several
	// listings of one Dir may run at once.
	Names() iter.Seq2[string, error]

	// Sync makes the names in the directory durable.
	Sync() error

	// Space tells how much room the file system has left for this process.
	Space() (Space, error)

	Chmod(mode fs.FileMode) error
	Chown(uid, gid int) error // -1: unchanged
	Close() error
}

// File is an open regular file.
type File interface {
	// Write appends at the end of the file as it is at that moment.
	// n < len(p) comes with an error: the octets up to n may be there.
	io.Writer
	// WriteAt overwrites; it does not move where Write appends.
	io.WriterAt
	io.ReaderAt
	io.Closer // releases the locks

	Truncate(size int64) error

	// Allocate reserves room for size octets from an offset on and leaves the length
	// as it is. errors.ErrUnsupported where the file system cannot.
	Allocate(off, size int64) error

	// Sync makes data, length, mode and owner durable (not the name: that is
	// Dir.Sync). After an error what was pending may be lost for ever, and a
	// later Sync says nothing of it.
	Sync() error
	// Datasync is Sync for data and length only.
	Datasync() error

	// TryLock takes the exclusive flock(2) lock, which belongs to this open
	// file and goes with Close or the process. False: another holds it.
	// After true the caller must look again whether the name still is this
	// file (Named).
	TryLock() (bool, error)
	// TryLockRecord takes the exclusive fcntl(2) lock on the whole file that
	// mailbox readers use, owned by this open file where the system has such
	// locks (Linux), by the process elsewhere. False: another holds it.
	TryLockRecord() (bool, error)

	Stat() (Info, error)
	Chmod(mode fs.FileMode) error
	Chown(uid, gid int) error // -1: unchanged
}

// Access says what an opened file is for.
type Access int

// The ways to open a file.
const (
	ReadOnly Access = iota
	ReadWrite
)

// Info is what the file system knows of a file.
type Info struct {
	Mode       fs.FileMode // type and permission bits, set-id and sticky
	Size       int64       // octets
	Allocated  int64       // octets on the disk; less than Size in a sparse file
	Nlink      uint64      // names
	UID, GID   int
	Dev, Ino   uint64
	ModTime    time.Time // last change of the data
	ChangeTime time.Time // last change of data, owner, mode or links
}

// Same reports whether both are of one file.
func (i Info) Same(o Info) bool { return i.Dev == o.Dev && i.Ino == o.Ino }

// ModeText shows a mode as ls -l does, for words that a person reads: the text of
// fs.FileMode has the set-id and sticky bits in front of the permissions.
func ModeText(m fs.FileMode) string {
	text := []byte(m.Perm().String())
	text[0] = map[fs.FileMode]byte{
		0: '-', fs.ModeDir: 'd', fs.ModeSymlink: 'l', fs.ModeNamedPipe: 'p', fs.ModeSocket: 's',
		fs.ModeDevice: 'b', fs.ModeDevice | fs.ModeCharDevice: 'c',
	}[m.Type()]
	for i, bit := range map[int]fs.FileMode{3: fs.ModeSetuid, 6: fs.ModeSetgid, 9: fs.ModeSticky} {
		if m&bit == 0 {
			continue
		}
		letter := byte('s')
		if bit == fs.ModeSticky {
			letter = 't'
		}
		if text[i] == '-' {
			letter -= 'a' - 'A'
		}
		text[i] = letter
	}
	return string(text)
}

// Space is the room left on a file system for a process without privileges.
type Space struct {
	Octets int64
	Inodes int64 // math.MaxInt64 where the file system has no limit
	Total  int64 // octets of the whole file system, used or not; 0: not known
}

// Errors with no errno of their own.
var (
	// ErrNotRegular: a FIFO, device, socket or directory where a file was
	// to be.
	ErrNotRegular = errors.New("not a regular file")
	// ErrNoSync: a file system that can't make the names in a directory
	// durable; nothing is safe there.
	ErrNoSync = errors.New("this file system can't keep mail safe: it doesn't sync directories")
	// ErrNoLocks: a file system on which a lock keeps nobody out, as some that are
	// shared over a network.
	ErrNoLocks = errors.New("locks have no effect on this file system, so that two programs could do one thing twice: use a local one, or mount it with locks that work")
	// ErrName: a name that is empty, ".", ".." or holds a slash or a NUL.
	ErrName = errors.New("not a file name")
)

// Full reports whether err says that there is no room: disk, quota or, for one
// file, the largest size allowed.
func Full(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, syscall.EFBIG)
}

// Search is FS.OpenDir for a directory that the caller may search, but perhaps
// not read, as home directories of mode 0711 that belong to root. Names fails in
// it; Sync makes the names durable that were made or opened through the Dir, by
// way of the file or directory that was last so. Only Linux can do that.
func Search(fsys FS, path string) (Dir, error) {
	d, err := fsys.OpenDir(path)
	if s, ok := fsys.(interface{ search(string) (Dir, error) }); ok && errors.Is(err, fs.ErrPermission) {
		return s.search(path)
	}
	return d, err
}

// Settle has the room of what was removed be there now: file systems that copy
// on write, and their quotas, count it only after a commit of all. It may take as
// long as all that is unwritten of the whole file system.
func Settle(d Dir) error {
	if s, ok := d.(interface{ settle() error }); ok {
		return s.settle()
	}
	return nil
}

// Excludes says why the flock(2) lock that the caller holds on f, the file that is name
// in d, keeps nobody out: who opens the file anew gets it too (R27). A name that
// leads elsewhere by now is for Named to find.
func Excludes(d Dir, name string, f File) error {
	second, err := d.Open(name, ReadWrite)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer second.Close() // nothing was written
	got, err := second.TryLock()
	if err != nil || !got {
		return err
	}
	if same, err := Named(d, name, f); err != nil || !same {
		return err
	}
	return ErrNoLocks
}

// Named reports whether name in d still is the open file f: the second look
// after a lock, without which two holders work on one message. A name that is
// gone is false without an error.
func Named(d Dir, name string, f File) (bool, error) {
	there, err := d.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	here, err := f.Stat()
	if err != nil {
		return false, err
	}
	return there.Same(here), nil
}
