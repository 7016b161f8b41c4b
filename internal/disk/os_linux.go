package disk

import (
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// setRecordLock makes the lock the open file's: plain fcntl locks belong to
// the process and exclude no other goroutine.
const setRecordLock = unix.F_OFD_SETLK

// openAppend is the open flag by which writes append. Not O_APPEND: with it
// Linux's pwrite(2) appends too, and a slot could not be overwritten through
// the same descriptor. See append.
const openAppend = 0

// openBeneath is openat2(2): no link anywhere, nothing outside dir.
func openBeneath(dir int, name string, flags int, mode uint32) (int, error) {
	how := unix.OpenHow{
		Flags:   uint64(flags),
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS,
	}
	if flags&unix.O_CREAT != 0 {
		how.Mode = uint64(mode)
	}
	return unix.Openat2(dir, name, &how)
}

func renameNoReplace(fromDir int, old string, toDir int, name string) error {
	return unix.Renameat2(fromDir, old, toDir, name, unix.RENAME_NOREPLACE)
}

// append writes at the end of the file in one step (pwritev2(2), RWF_APPEND,
// Linux 4.16); without that call at the end as fstat tells it, which is as
// good for a file that its writers lock.
func (f *osFile) append(p []byte) (int, error) {
	if !f.portable {
		n, err := unix.Pwritev2(f.fd, [][]byte{p}, 0, unix.RWF_APPEND)
		if !missing(err) {
			return n, err
		}
	}
	var st unix.Stat_t
	if err := unix.Fstat(f.fd, &st); err != nil {
		return 0, err
	}
	return unix.Pwrite(f.fd, p, st.Size)
}

// settle: btrfs counts what was removed as free, and a quota as unused, only
// after the next commit of the whole file system.
func (d *osDir) settle() error {
	return d.fail("sync", "", retry(func() error { return unix.Syncfs(d.fd) }))
}

func datasync(fd int) error { return unix.Fdatasync(fd) }

func allocate(fd int, off, size int64) error {
	return unix.Fallocate(fd, unix.FALLOC_FL_KEEP_SIZE, off, size)
}

func info(st *unix.Stat_t) Info {
	return Info{
		Mode: fileMode(st.Mode), Size: st.Size, Allocated: st.Blocks * 512, Nlink: uint64(st.Nlink),
		UID: int(st.Uid), GID: int(st.Gid), Dev: uint64(st.Dev), Ino: st.Ino,
		ModTime: time.Unix(st.Mtim.Unix()), ChangeTime: time.Unix(st.Ctim.Unix()),
	}
}

// spaceAt is the room of the file system that a descriptor is on.
func spaceAt(fd int) (Space, error) {
	var st unix.Statfs_t
	err := retry(func() error { return unix.Fstatfs(fd, &st) })
	return space(uint64(st.Frsize), st.Bavail, st.Blocks, st.Files, st.Ffree), err
}

func changeTime(st *syscall.Stat_t) time.Time { return time.Unix(st.Ctim.Unix()) }

func readlinkat(dir int, name string, buf []byte) (int, error) {
	return unix.Readlinkat(dir, name, buf)
}
