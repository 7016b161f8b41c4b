//go:build unix && !linux

package disk

import (
	"errors"
	"math"
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

func space(st *unix.Statfs_t) Space {
	s := Space{Octets: math.MaxInt64, Inodes: math.MaxInt64}
	if free := max(int64(st.Bavail), 0); free < math.MaxInt64/int64(max(st.Bsize, 1)) {
		s.Octets = free * int64(st.Bsize)
	}
	if st.Blocks < math.MaxInt64/uint64(max(st.Bsize, 1)) {
		s.Total = int64(st.Blocks) * int64(st.Bsize)
	}
	if st.Files > 0 {
		s.Inodes = max(int64(st.Ffree), 0)
	}
	return s
}
