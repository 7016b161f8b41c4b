package local

import (
	"errors"
	"io/fs"

	"postoffice/internal/disk"
)

// writeDraft writes what is to become a dot lock, under a name that no mailbox
// has. One that is there already was left by a process that was killed here.
func (b *batch) writeDraft(name string) (disk.Info, error) {
	f, err := b.dir.Create(name, 0o600)
	if errors.Is(err, fs.ErrExist) {
		if err := b.dir.Unlink(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return disk.Info{}, err
		}
		f, err = b.dir.Create(name, 0o600)
	}
	if err != nil {
		return disk.Info{}, err
	}
	_, err = f.Write([]byte(b.m.self.String()))
	info, statErr := f.Stat()
	return info, errors.Join(err, statErr, f.Close())
}
