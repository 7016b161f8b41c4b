package mailbox

import (
	"io/fs"
	"sync/atomic"

	"postoffice/internal/account"
	"postoffice/internal/disk"
)

// faults is the machine's file system with calls that fail on demand.
type faults struct {
	disk.FS
	syncs, dirSyncs, opens atomic.Int64
	write                  func(p []byte) (int, error) // instead of a write, if it returns an error
	sync, truncate         error
	dirSync                error
	create, allocate       error
	unlink                 error
}

type faultyDir struct {
	disk.Dir
	f *faults
}

type faultyFile struct {
	disk.File
	f *faults
}

func (f *faults) OpenDir(path string) (disk.Dir, error) {
	f.opens.Add(1)
	d, err := f.FS.OpenDir(path)
	return &faultyDir{d, f}, err
}

func (d *faultyDir) OpenDir(name string) (disk.Dir, error) {
	dir, err := d.Dir.OpenDir(name)
	return &faultyDir{dir, d.f}, err
}

func (d *faultyDir) Rename(old string, to disk.Dir, name string) error {
	return d.Dir.Rename(old, to.(*faultyDir).Dir, name)
}

func (d *faultyDir) Open(name string, a disk.Access) (disk.File, error) {
	f, err := d.Dir.Open(name, a)
	return &faultyFile{f, d.f}, err
}

func (d *faultyDir) Create(name string, mode fs.FileMode) (disk.File, error) {
	if d.f.create != nil {
		return nil, d.f.create
	}
	f, err := d.Dir.Create(name, mode)
	if err != nil || len(name) > len(account.LockSuffix) && name[len(name)-len(account.LockSuffix):] == account.LockSuffix {
		return f, err
	}
	return &faultyFile{f, d.f}, err
}

func (d *faultyDir) RenameNoReplace(old string, to disk.Dir, name string) error {
	return d.Dir.RenameNoReplace(old, to.(*faultyDir).Dir, name)
}

func (d *faultyDir) Unlink(name string) error {
	if d.f.unlink != nil {
		return d.f.unlink
	}
	return d.Dir.Unlink(name)
}

func (d *faultyDir) Sync() error {
	d.f.dirSyncs.Add(1)
	if d.f.dirSync != nil {
		return d.f.dirSync
	}
	return d.Dir.Sync()
}

func (f *faultyFile) Write(p []byte) (int, error) {
	if f.f.write != nil {
		if n, err := f.f.write(p); err != nil {
			f.File.Write(p[:n])
			return n, err
		}
	}
	return f.File.Write(p)
}

func (f *faultyFile) Sync() error {
	f.f.syncs.Add(1)
	if f.f.sync != nil {
		return f.f.sync
	}
	return f.File.Sync()
}

func (f *faultyFile) Allocate(off, n int64) error {
	if f.f.allocate != nil {
		return f.f.allocate
	}
	return f.File.Allocate(off, n)
}

func (f *faultyFile) Truncate(n int64) error {
	if f.f.truncate != nil {
		return f.f.truncate
	}
	return f.File.Truncate(n)
}
