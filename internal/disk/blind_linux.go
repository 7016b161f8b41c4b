package disk

import (
	"io/fs"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// OpenBlind opens a directory in which the caller may make files but list none,
// as maildrop/ is for strangers. Names fails in it. Sync makes the names of the
// files that were made through it durable by way of the last of them, with
// syncfs(2): such a directory can't be opened for fsync(2).
func OpenBlind(path string) (Dir, error) { return openBlind(path, unix.O_NOFOLLOW) }

func (o osFS) search(path string) (Dir, error) {
	d, err := openBlind(path, 0)
	if err != nil {
		return nil, err
	}
	d.portable = o.portable
	return d, nil
}

func openBlind(path string, flags int) (*osDir, error) {
	if !filepath.IsAbs(path) {
		return nil, &fs.PathError{Op: "open", Path: path, Err: ErrName}
	}
	var fd int
	err := retry(func() (err error) {
		fd, err = unix.Open(path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC|flags, 0)
		return err
	})
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	return &osDir{fd: fd, path: filepath.Clean(path), blind: true}, nil
}

// remember keeps a descriptor of what was made or opened last in a blind
// directory.
func (d *osDir) remember(fd int) error {
	if !d.blind {
		return nil
	}
	dup, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return err
	}
	if d.made > 0 {
		_ = closeFD(&d.made)
	}
	d.made = dup
	return nil
}

// syncBlind makes the names in a blind directory durable.
func (d *osDir) syncBlind() error {
	if d.made <= 0 {
		return nil
	}
	return unix.Syncfs(d.made)
}
