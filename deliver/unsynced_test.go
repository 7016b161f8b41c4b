package deliver

import (
	"errors"
	"io/fs"
	"sync/atomic"
	"syscall"

	"postoffice/internal/disk"
)

// unsynced is the machine's disk without the waits for it: what these tests
// look at does not depend on them, and hundreds of messages come in a second.
type unsynced struct {
	disk.FS
	stuck *atomic.Bool // slots can't be written
	full  *atomic.Bool // files can't be made
	tight *atomic.Bool // files can't be made large
	syncs *atomic.Int64
}

type unsyncedDir struct {
	disk.Dir
	fs unsynced
}

type unsyncedFile struct {
	disk.File
	fs unsynced
}

var errStuck = errors.New("operation not permitted")

func (u unsynced) dir(d disk.Dir, err error) (disk.Dir, error) {
	if err != nil {
		return nil, err
	}
	return unsyncedDir{d, u}, nil
}

func (u unsynced) file(f disk.File, err error) (disk.File, error) {
	if err != nil {
		return nil, err
	}
	return unsyncedFile{f, u}, nil
}

func (u unsynced) OpenDir(path string) (disk.Dir, error) { return u.dir(u.FS.OpenDir(path)) }

func (d unsyncedDir) OpenDir(name string) (disk.Dir, error) { return d.fs.dir(d.Dir.OpenDir(name)) }
func (d unsyncedDir) Sync() error                           { return nil }

func (d unsyncedDir) Create(name string, mode fs.FileMode) (disk.File, error) {
	if d.fs.full.Load() {
		return nil, syscall.ENOSPC
	}
	return d.fs.file(d.Dir.Create(name, mode))
}

func (d unsyncedDir) Open(name string, access disk.Access) (disk.File, error) {
	return d.fs.file(d.Dir.Open(name, access))
}

func (d unsyncedDir) Rename(old string, to disk.Dir, name string) error {
	return d.Dir.Rename(old, to.(unsyncedDir).Dir, name)
}

func (d unsyncedDir) RenameNoReplace(old string, to disk.Dir, name string) error {
	return d.Dir.RenameNoReplace(old, to.(unsyncedDir).Dir, name)
}

func (d unsyncedDir) Link(old string, to disk.Dir, name string) error {
	return d.Dir.Link(old, to.(unsyncedDir).Dir, name)
}

func (f unsyncedFile) Sync() error { return nil }

func (f unsyncedFile) Datasync() error {
	f.fs.syncs.Add(1)
	return nil
}

func (f unsyncedFile) WriteAt(p []byte, off int64) (int, error) {
	if f.fs.stuck.Load() {
		return 0, errStuck
	}
	return f.File.WriteAt(p, off)
}

// tightFile is what a file may have on a tight disk, in octets.
const tightFile = 16 << 10

func (f unsyncedFile) Write(p []byte) (int, error) {
	if info, err := f.Stat(); err == nil && f.fs.tight.Load() && info.Size+int64(len(p)) > tightFile {
		return 0, syscall.ENOSPC
	}
	return f.File.Write(p)
}
