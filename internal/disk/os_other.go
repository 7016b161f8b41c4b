//go:build unix && !linux

package disk

import (
	"errors"
	"io/fs"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// setRecordLock: the lock is the process's; goroutines exclude each other by
// means of their own.
const setRecordLock = unix.F_SETLK

// openAppend: POSIX lets pwrite(2) write where it is told on such a file.
const openAppend = unix.O_APPEND

func openBeneath(int, string, int, uint32) (int, error) { return -1, unix.ENOSYS }

func renameNoReplace(int, string, int, string) error { return unix.ENOSYS }

func (f *osFile) append(p []byte) (int, error) { return unix.Write(f.fd, p) }

func datasync(fd int) error { return unix.Fsync(fd) }

func allocate(int, int64, int64) error { return errors.ErrUnsupported }

func info(st *unix.Stat_t) Info {
	return Info{
		Mode: fileMode(uint32(st.Mode)), Size: st.Size, Allocated: st.Blocks * 512, Nlink: uint64(st.Nlink),
		UID: int(st.Uid), GID: int(st.Gid), Dev: uint64(st.Dev), Ino: uint64(st.Ino),
		ModTime: time.Unix(st.Mtim.Unix()), ChangeTime: time.Unix(st.Ctim.Unix()),
	}
}

// OpenBlind is not possible: nothing makes one name durable in a directory that
// the caller can't read.
func OpenBlind(path string) (Dir, error) {
	return nil, &fs.PathError{Op: "open", Path: path, Err: errors.ErrUnsupported}
}

func (osFS) search(path string) (Dir, error) {
	return nil, &fs.PathError{Op: "open", Path: path, Err: fs.ErrPermission}
}

func (d *osDir) remember(int) error { return nil }

func (d *osDir) syncBlind() error { return errors.ErrUnsupported }

// changeTime is left out where its field has another name: device, inode, size
// and modification time decide alone.
func changeTime(*syscall.Stat_t) time.Time { return time.Time{} }
