//go:build unix

package disk

import (
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// namesBuffer is what one listing holds of a directory, in octets: some 500
// queue files a call.
const namesBuffer = 32 << 10

type osDir struct {
	fd       int
	path     string // for messages only
	portable bool
	blind    bool // see OpenBlind
	made     int  // where blind: a descriptor of what was made or opened last; 0: none
}

func (d *osDir) fail(op, name string, err error) error {
	if err == nil {
		return nil
	}
	return &fs.PathError{Op: op, Path: filepath.Join(d.path, name), Err: err}
}

// peer is the directory a file goes to.
func (d *osDir) peer(to Dir) (*osDir, error) {
	if o, ok := to.(*osDir); ok {
		return o, nil
	}
	return nil, unix.EXDEV
}

// open is openat(2) of one component, never through a link, close-on-exec.
func (d *osDir) open(name string, flags int, mode fs.FileMode) (int, error) {
	if err := checkName(name); err != nil {
		return -1, err
	}
	flags |= unix.O_CLOEXEC | unix.O_NOFOLLOW | unix.O_NOCTTY
	fd := -1
	err := retry(func() (err error) {
		if !d.portable {
			if fd, err = openBeneath(d.fd, name, flags, permissions(mode)); !missing(err) {
				return err
			}
		}
		fd, err = unix.Openat(d.fd, name, flags, permissions(mode))
		return err
	})
	return fd, err
}

func (d *osDir) Create(name string, mode fs.FileMode) (File, error) {
	fd, err := d.open(name, unix.O_CREAT|unix.O_EXCL|unix.O_RDWR|openAppend, mode)
	if err != nil {
		return nil, d.fail("create", name, err)
	}
	if err := d.remember(fd); err != nil {
		return nil, errors.Join(d.fail("create", name, err), closeFD(&fd), d.Unlink(name))
	}
	return &osFile{fd: fd, path: filepath.Join(d.path, name), portable: d.portable}, nil
}

func (d *osDir) Open(name string, access Access) (File, error) {
	flags := unix.O_NONBLOCK // a FIFO or a device must not stop us before we see what it is
	if access == ReadWrite {
		flags |= unix.O_RDWR | openAppend
	}
	fd, err := d.open(name, flags, 0)
	if err != nil {
		return nil, d.fail("open", name, notRegular(err))
	}
	f := &osFile{fd: fd, path: filepath.Join(d.path, name), portable: d.portable}
	i, err := f.Stat()
	if err == nil && !i.Mode.IsRegular() {
		err = d.fail("open", name, ErrNotRegular)
	}
	if err == nil {
		err = d.fail("open", name, d.remember(fd))
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

// notRegular names the errnos by which opening tells a directory (EISDIR), a
// socket or a FIFO without a reader or driver (ENXIO, ENODEV).
func notRegular(err error) error {
	switch err {
	case unix.EISDIR, unix.ENXIO, unix.ENODEV:
		return ErrNotRegular
	case unix.EMLINK: // FreeBSD's ELOOP
		return unix.ELOOP
	}
	return err
}

func (d *osDir) OpenDir(name string) (Dir, error) {
	fd, err := d.open(name, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, d.fail("open", name, err)
	}
	if err := d.remember(fd); err != nil {
		return nil, errors.Join(d.fail("open", name, err), closeFD(&fd))
	}
	return &osDir{fd: fd, path: filepath.Join(d.path, name), portable: d.portable}, nil
}

func (d *osDir) Mkdir(name string, mode fs.FileMode) error {
	if err := checkName(name); err != nil {
		return d.fail("mkdir", name, err)
	}
	return d.fail("mkdir", name, retry(func() error { return unix.Mkdirat(d.fd, name, permissions(mode)) }))
}

func (d *osDir) Lstat(name string) (Info, error) {
	if name == "." {
		i, err := stat(func(st *unix.Stat_t) error { return unix.Fstat(d.fd, st) })
		return i, d.fail("stat", name, err)
	}
	if err := checkName(name); err != nil {
		return Info{}, d.fail("stat", name, err)
	}
	i, err := stat(func(st *unix.Stat_t) error { return unix.Fstatat(d.fd, name, st, unix.AT_SYMLINK_NOFOLLOW) })
	return i, d.fail("stat", name, err)
}

// between checks both names of a call and runs it.
func (d *osDir) between(op, old string, to Dir, name string, call func(to *osDir) error) error {
	t, err := d.peer(to)
	if err == nil {
		err = errors.Join(checkName(old), checkName(name))
	}
	if err == nil {
		err = call(t)
	}
	if err == nil {
		return nil
	}
	return &fs.PathError{Op: op, Path: filepath.Join(d.path, old) + " " + name, Err: err}
}

func (d *osDir) Rename(old string, to Dir, name string) error {
	return d.between("rename", old, to, name, func(t *osDir) error {
		return retry(func() error { return unix.Renameat(d.fd, old, t.fd, name) })
	})
}

func (d *osDir) RenameNoReplace(old string, to Dir, name string) error {
	return d.between("rename", old, to, name, func(t *osDir) error {
		if !d.portable {
			err := retry(func() error { return renameNoReplace(d.fd, old, t.fd, name) })
			if !missing(err) {
				return err
			}
		}
		return renameByLink(d.fd, old, t.fd, name)
	})
}

// renameByLink moves a file with link(2), which never replaces, and unlink(2).
// The new name is made durable in between: the two directories are written
// independently, and after a crash the removal alone would be a lost file. On
// an error the new name goes again.
func renameByLink(fromFD int, old string, toFD int, name string) error {
	if err := retry(func() error { return unix.Linkat(fromFD, old, toFD, name, 0) }); err != nil {
		return err
	}
	err := retry(func() error { return unix.Fsync(toFD) })
	if err == nil {
		err = retry(func() error { return unix.Unlinkat(fromFD, old, 0) })
	}
	if err != nil {
		_ = retry(func() error { return unix.Unlinkat(toFD, name, 0) })
	}
	return err
}

func (d *osDir) Link(old string, to Dir, name string) error {
	return d.between("link", old, to, name, func(t *osDir) error {
		return retry(func() error { return unix.Linkat(d.fd, old, t.fd, name, 0) })
	})
}

func (d *osDir) Unlink(name string) error {
	if err := checkName(name); err != nil {
		return d.fail("unlink", name, err)
	}
	return d.fail("unlink", name, retry(func() error { return unix.Unlinkat(d.fd, name, 0) }))
}

// Names reads through a descriptor of its own: the position in a directory
// belongs to the open file, and d is shared.
func (d *osDir) Names() iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		var fd int
		err := retry(func() (err error) {
			fd, err = unix.Openat(d.fd, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
			return err
		})
		if err != nil {
			yield("", d.fail("list", "", err))
			return
		}
		defer unix.Close(fd)
		buf := make([]byte, namesBuffer)
		names := make([]string, 0, 512)
		for {
			var n int
			err := retry(func() (err error) { n, err = unix.ReadDirent(fd, buf); return err })
			if err != nil {
				yield("", d.fail("list", "", err))
				return
			}
			if n == 0 {
				return
			}
			_, _, names = unix.ParseDirent(buf[:n], -1, names[:0])
			for _, name := range names {
				if !yield(name, nil) {
					return
				}
			}
		}
	}
}

func (d *osDir) Sync() error {
	sync := func() error { return unix.Fsync(d.fd) }
	if d.blind {
		sync = d.syncBlind
	}
	err := retry(sync)
	if err == unix.EINVAL {
		err = fmt.Errorf("%w: %w", ErrNoSync, err)
	}
	return d.fail("sync", "", err)
}

func (d *osDir) Space() (Space, error) {
	s, err := spaceAt(d.fd)
	return s, d.fail("statfs", "", err)
}

func (d *osDir) Chmod(mode fs.FileMode) error {
	return d.fail("chmod", "", retry(func() error { return unix.Fchmod(d.fd, permissions(mode)) }))
}

func (d *osDir) Chown(uid, gid int) error {
	return d.fail("chown", "", retry(func() error { return unix.Fchown(d.fd, uid, gid) }))
}

func (d *osDir) Close() error {
	if d.made > 0 {
		_ = closeFD(&d.made) // the file's own handle tells its errors
	}
	return d.fail("close", "", closeFD(&d.fd))
}
