//go:build unix

package disk

import (
	"io"
	"io/fs"

	"golang.org/x/sys/unix"
)

type osFile struct {
	fd       int
	path     string // for messages only
	portable bool
}

func (f *osFile) fail(op string, err error) error {
	if err == nil || err == io.EOF {
		return err
	}
	return &fs.PathError{Op: op, Path: f.path, Err: err}
}

func (f *osFile) Write(p []byte) (int, error) {
	n, err := f.write(p, f.append)
	return n, f.fail("write", err)
}

func (f *osFile) WriteAt(p []byte, off int64) (int, error) {
	n, err := f.write(p, from(off, func(p []byte, off int64) (int, error) { return unix.Pwrite(f.fd, p, off) }))
	return n, f.fail("write", err)
}

// from makes calls write from off on, each behind what the ones before it have
// written: one that was interrupted has written nothing and comes again.
func from(off int64, call func([]byte, int64) (int, error)) func([]byte) (int, error) {
	return func(p []byte) (int, error) {
		n, err := call(p, off)
		off += int64(max(n, 0))
		return n, err
	}
}

// write calls once for all of p. A short write is an error whatever comes
// after: one more call only asks for the reason, which the kernel tells (disk
// full, quota, limit) when not one octet more can be written.
func (f *osFile) write(p []byte, call func([]byte) (int, error)) (int, error) {
	once := func(p []byte) (n int, err error) {
		err = retry(func() error { n, err = call(p); return err })
		return max(n, 0), err
	}
	if len(p) == 0 {
		return 0, nil
	}
	n, err := once(p)
	if err != nil || n == len(p) {
		return n, err
	}
	if _, err = once(p[n:]); err == nil {
		err = io.ErrShortWrite
	}
	return n, err
}

func (f *osFile) ReadAt(p []byte, off int64) (int, error) {
	done := 0
	for done < len(p) {
		var n int
		err := retry(func() (err error) { n, err = unix.Pread(f.fd, p[done:], off+int64(done)); return err })
		if err != nil {
			return done, f.fail("read", err)
		}
		if n == 0 {
			return done, io.EOF
		}
		done += n
	}
	return done, nil
}

func (f *osFile) Truncate(size int64) error {
	return f.fail("truncate", retry(func() error { return unix.Ftruncate(f.fd, size) }))
}

func (f *osFile) Allocate(off, size int64) error {
	return f.fail("allocate", retry(func() error { return allocate(f.fd, off, size) }))
}

func (f *osFile) Sync() error {
	return f.fail("sync", retry(func() error { return unix.Fsync(f.fd) }))
}

func (f *osFile) Datasync() error {
	return f.fail("sync", retry(func() error { return datasync(f.fd) }))
}

func (f *osFile) TryLock() (bool, error) {
	return f.locked(retry(func() error { return unix.Flock(f.fd, unix.LOCK_EX|unix.LOCK_NB) }))
}

func (f *osFile) TryLockRecord() (bool, error) {
	lock := unix.Flock_t{Type: unix.F_WRLCK, Whence: io.SeekStart}
	return f.locked(retry(func() error { return unix.FcntlFlock(uintptr(f.fd), setRecordLock, &lock) }))
}

// locked turns the errnos for "another holds it" into an answer.
func (f *osFile) locked(err error) (bool, error) {
	switch err {
	case nil:
		return true, nil
	case unix.EWOULDBLOCK, unix.EACCES:
		return false, nil
	}
	return false, f.fail("lock", err)
}

func (f *osFile) Stat() (Info, error) {
	i, err := stat(func(st *unix.Stat_t) error { return unix.Fstat(f.fd, st) })
	return i, f.fail("stat", err)
}

func (f *osFile) Chmod(mode fs.FileMode) error {
	return f.fail("chmod", retry(func() error { return unix.Fchmod(f.fd, permissions(mode)) }))
}

func (f *osFile) Chown(uid, gid int) error {
	return f.fail("chown", retry(func() error { return unix.Fchown(f.fd, uid, gid) }))
}

func (f *osFile) Close() error { return f.fail("close", closeFD(&f.fd)) }
