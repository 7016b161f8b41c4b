//go:build unix && !linux

package disk

import (
	"io/fs"

	"golang.org/x/sys/unix"
)

const dirFlags = unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC

const canBeBlind = false // see OpenBlind

// openStep opens what name is in a directory. A link can't be opened here: it is
// looked at before and after it is read.
func openStep(dir int, name string) (fd int, target string, i Info, err error) {
	err = retry(func() (err error) {
		fd, err = unix.Openat(dir, name, dirFlags, 0)
		return err
	})
	if err == nil {
		i, err = stat(func(st *unix.Stat_t) error { return unix.Fstat(fd, st) })
		if err != nil {
			_ = closeFD(&fd)
		}
		return fd, "", i, err
	}
	look := func(st *unix.Stat_t) error { return unix.Fstatat(dir, name, st, unix.AT_SYMLINK_NOFOLLOW) }
	before, lookErr := stat(look)
	if lookErr != nil || before.Mode&fs.ModeSymlink == 0 {
		return -1, "", i, err
	}
	if target, err = readLink(dir, name); err != nil {
		return -1, "", i, err
	}
	if i, err = stat(look); err == nil && !i.Same(before) {
		err = unix.EAGAIN
	}
	return -1, target, i, err
}
