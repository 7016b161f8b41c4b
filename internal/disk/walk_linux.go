package disk

import (
	"errors"

	"golang.org/x/sys/unix"
)

// dirFlags open a directory that is walked through, which takes the right to
// search it, not to read it. With O_DIRECTORY what is mounted on demand is
// mounted, with O_PATH alone it would not be.
const dirFlags = unix.O_PATH | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC

const canBeBlind = true // see OpenBlind

// openStep opens what name is in a directory: another directory, or a link,
// whose text it returns and no descriptor.
func openStep(dir int, name string) (fd int, target string, i Info, err error) {
	fd, err = openPath(dir, name, dirFlags)
	isLink := err == unix.ENOTDIR || err == unix.ELOOP
	if isLink {
		fd, err = openPath(dir, name, dirFlags&^unix.O_DIRECTORY)
	}
	if err != nil {
		return -1, "", i, err
	}
	i, err = stat(func(st *unix.Stat_t) error { return unix.Fstat(fd, st) })
	if err == nil && i.Mode.IsDir() { // by now, where it was a link
		return fd, "", i, nil
	}
	if err == nil {
		target, err = readLink(fd, "") // ENOENT: it is no link
		if err == unix.ENOENT || err == unix.EINVAL {
			err = unix.ENOTDIR
		}
	}
	return -1, target, i, errors.Join(err, closeFD(&fd))
}

func openPath(dir int, name string, flags int) (fd int, err error) {
	err = retry(func() (err error) {
		fd, err = unix.Openat(dir, name, flags, 0)
		return err
	})
	return fd, err
}
