//go:build !lite

package store

import (
	"errors"
	"io"
	"os"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"
	"golang.org/x/sys/unix"

	"postoffice/internal/disk"
)

// errCutOff is what Pebble gets when it is not to write any more.
var errCutOff = errors.New("the store was let go of")

// files are Pebble's files. A write that has no room waits for it, since Pebble ends or
// hangs where one fails. When the store is let go of with writes under way, as nothing
// else helps where one hangs, they can't change anything any more.
type files struct {
	vfs.FS
	room *room
	as   func(func() error) error // with whose rights names are used

	gate sync.RWMutex // held for reading while something is changed
	cut  bool         // set once, under gate
}

func newFiles(dir disk.Dir, o Options) *files {
	base, ok := o.base.(vfs.FS)
	if !ok {
		base = vfs.Default
	}
	return &files{FS: base, room: newRoom(dir, o), as: o.As}
}

// cutOff lets nothing be changed any more. It waits for what is under way.
func (f *files) cutOff() {
	f.room.end()
	f.gate.Lock()
	defer f.gate.Unlock()
	f.cut = true
}

// once does what changes something.
func (f *files) once(do func() error) error {
	f.gate.RLock()
	defer f.gate.RUnlock()
	if f.cut {
		return errCutOff
	}
	return do()
}

// write does it when there is room.
func (f *files) write(do func() error) error {
	for {
		err := f.once(do)
		if !disk.Full(err) || !f.room.give() {
			return err
		}
	}
}

// change is write for what names files.
func (f *files) change(do func() error) error {
	return f.write(func() error { return f.as(do) })
}

// make makes a file, or opens one to write it, with the store's mode.
func (f *files) make(open func() (vfs.File, error)) (file vfs.File, err error) {
	err = f.change(func() error {
		file, err = open()
		if err == nil {
			if err = unix.Fchmod(int(file.Fd()), 0o600); err != nil {
				file.Close()
			}
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return &writtenFile{file, f}, nil
}

func (f *files) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	return f.make(func() (vfs.File, error) { return f.FS.Create(name, category) })
}

func (f *files) OpenReadWrite(name string, category vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	return f.make(func() (vfs.File, error) { return f.FS.OpenReadWrite(name, category, opts...) })
}

func (f *files) ReuseForWrite(old, name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	return f.make(func() (vfs.File, error) { return f.FS.ReuseForWrite(old, name, category) })
}

func (f *files) Open(name string, opts ...vfs.OpenOption) (file vfs.File, err error) {
	err = f.as(func() error { file, err = f.FS.Open(name, opts...); return err })
	return file, err
}

func (f *files) OpenDir(name string) (file vfs.File, err error) {
	err = f.as(func() error { file, err = f.FS.OpenDir(name); return err })
	if err != nil {
		return nil, err
	}
	return &writtenFile{file, f}, nil
}

func (f *files) List(dir string) (names []string, err error) {
	err = f.as(func() error { names, err = f.FS.List(dir); return err })
	return names, err
}

func (f *files) Stat(name string) (info vfs.FileInfo, err error) {
	err = f.as(func() error { info, err = f.FS.Stat(name); return err })
	return info, err
}

func (f *files) Link(old, name string) error {
	return f.change(func() error { return f.FS.Link(old, name) })
}

func (f *files) Remove(name string) error {
	return f.change(func() error { return f.FS.Remove(name) })
}

func (f *files) RemoveAll(name string) error {
	return f.change(func() error { return f.FS.RemoveAll(name) })
}

func (f *files) Rename(old, name string) error {
	return f.change(func() error { return f.FS.Rename(old, name) })
}

func (f *files) MkdirAll(dir string, _ os.FileMode) error {
	return f.change(func() error { return f.FS.MkdirAll(dir, 0o700) })
}

// Lock locks nothing: the store has its own lock, which outlives what Pebble closes.
func (f *files) Lock(string) (io.Closer, error) { return io.NopCloser(nil), nil }

// writtenFile is a file that is written, or a directory that is synced.
type writtenFile struct {
	vfs.File
	files *files
}

func (f *writtenFile) Write(p []byte) (n int, err error) {
	err = f.files.write(func() error {
		m, err := f.File.Write(p[n:])
		n += m
		return err
	})
	return n, err
}

func (f *writtenFile) WriteAt(p []byte, off int64) (n int, err error) {
	err = f.files.write(func() error {
		m, err := f.File.WriteAt(p[n:], off+int64(n))
		n += m
		return err
	})
	return n, err
}

// Preallocate is worth a try, and not the ballast.
func (f *writtenFile) Preallocate(off, length int64) error {
	return f.files.once(func() error { return f.File.Preallocate(off, length) })
}

// What a sync fails with is never tried again: the octets may be gone.

func (f *writtenFile) Sync() error     { return f.files.once(f.File.Sync) }
func (f *writtenFile) SyncData() error { return f.files.once(f.File.SyncData) }

func (f *writtenFile) SyncTo(length int64) (full bool, err error) {
	err = f.files.once(func() error { full, err = f.File.SyncTo(length); return err })
	return full, err
}
