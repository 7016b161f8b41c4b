//go:build unix

package disk

import (
	"io/fs"
	"math"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// OS returns the machine's file system, with the best calls that its kernel
// has: openat2(2), renameat2(2), pwritev2(2). Each falls back by itself where
// it is missing.
func OS() FS { return osFS{} }

// Portable returns the machine's file system through POSIX calls alone, as OS
// behaves on kernels and file systems (NFS, FUSE) without the newer ones. A
// queue on it has to work the same.
func Portable() FS { return osFS{portable: true} }

type osFS struct{ portable bool }

func (o osFS) OpenDir(path string) (Dir, error) {
	if !filepath.IsAbs(path) {
		return nil, &fs.PathError{Op: "open", Path: path, Err: ErrName}
	}
	var fd int
	err := retry(func() (err error) {
		fd, err = unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		return err
	})
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	return &osDir{fd: fd, path: filepath.Clean(path), portable: o.portable}, nil
}

// retry calls f until it is not interrupted.
func retry(f func() error) error {
	for {
		if err := f(); err != unix.EINTR {
			return err
		}
	}
}

// checkName accepts one path component.
func checkName(name string) error {
	if name == "" || name == "." || name == ".." {
		return ErrName
	}
	for i := range len(name) {
		if name[i] == '/' || name[i] == 0 {
			return ErrName
		}
	}
	return nil
}

// permissions are mode's lower bits as the kernel counts them.
func permissions(mode fs.FileMode) uint32 {
	bits := uint32(mode.Perm())
	if mode&fs.ModeSetuid != 0 {
		bits |= unix.S_ISUID
	}
	if mode&fs.ModeSetgid != 0 {
		bits |= unix.S_ISGID
	}
	if mode&fs.ModeSticky != 0 {
		bits |= unix.S_ISVTX
	}
	return bits
}

// fileMode is permissions' reverse, with the file's type.
func fileMode(bits uint32) fs.FileMode {
	mode := fs.FileMode(bits & 0o777)
	switch bits & unix.S_IFMT {
	case unix.S_IFREG:
	case unix.S_IFDIR:
		mode |= fs.ModeDir
	case unix.S_IFLNK:
		mode |= fs.ModeSymlink
	case unix.S_IFIFO:
		mode |= fs.ModeNamedPipe
	case unix.S_IFSOCK:
		mode |= fs.ModeSocket
	case unix.S_IFCHR:
		mode |= fs.ModeDevice | fs.ModeCharDevice
	case unix.S_IFBLK:
		mode |= fs.ModeDevice
	default:
		mode |= fs.ModeIrregular
	}
	if bits&unix.S_ISUID != 0 {
		mode |= fs.ModeSetuid
	}
	if bits&unix.S_ISGID != 0 {
		mode |= fs.ModeSetgid
	}
	if bits&unix.S_ISVTX != 0 {
		mode |= fs.ModeSticky
	}
	return mode
}

// stat fills an Info by call, fstat or fstatat.
func stat(call func(*unix.Stat_t) error) (Info, error) {
	var st unix.Stat_t
	if err := retry(func() error { return call(&st) }); err != nil {
		return Info{}, err
	}
	return info(&st), nil
}

// missing reports whether err is what a kernel, a file system or a sandbox
// without some newer call answers, so that the older one is worth a try.
func missing(err error) bool {
	switch err {
	case unix.ENOSYS, unix.EINVAL, unix.EOPNOTSUPP, unix.EPERM:
		return true
	}
	return false
}

// closeFD closes once. The descriptor is gone whatever close(2) says, so it
// is never tried again.
func closeFD(fd *int) error {
	n := *fd
	if n < 0 {
		return syscall.EBADF
	}
	*fd = -1
	return unix.Close(n)
}

// space is what is free for a process without privileges: of so many blocks of a size,
// and of inodes, where a file system that counts none (btrfs) says 0 of 0.
func space(size, free, blocks, inodes, freeInodes uint64) Space {
	s := Space{Octets: product(free, size), Inodes: math.MaxInt64, Total: product(blocks, size)}
	if inodes > 0 {
		s.Inodes = int64(min(freeInodes, math.MaxInt64))
	}
	return s
}

// product is blocks × size without overflow.
func product(blocks, size uint64) int64 {
	if size != 0 && blocks > math.MaxInt64/size {
		return math.MaxInt64
	}
	return int64(blocks * size)
}
