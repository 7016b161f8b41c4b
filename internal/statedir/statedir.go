package statedir

import (
	"errors"
	"io"
	"io/fs"
	"path/filepath"

	"postoffice/internal/disk"
)

// Open opens a directory below dir. What isn't there of it and above it is made.
func Open(fsys disk.FS, dir, name string) (disk.Dir, error) {
	parent, err := openMade(fsys, filepath.Clean(dir))
	if err != nil {
		return nil, err
	}
	defer parent.Close()
	return subdir(parent, name, 0o700)
}

// openMade opens a directory that everybody may see, and makes it where there is none.
func openMade(fsys disk.FS, dir string) (disk.Dir, error) {
	d, err := fsys.OpenDir(dir)
	above := filepath.Dir(dir)
	if !errors.Is(err, fs.ErrNotExist) || above == dir {
		return d, err
	}
	parent, err := openMade(fsys, above)
	if err != nil {
		return nil, err
	}
	defer parent.Close()
	return subdir(parent, filepath.Base(dir), 0o755)
}

func subdir(d disk.Dir, name string, mode fs.FileMode) (disk.Dir, error) {
	if err := d.Mkdir(name, mode); err == nil {
		if err := d.Sync(); err != nil {
			return nil, err
		}
		made, err := d.OpenDir(name)
		if err == nil {
			err = made.Chmod(mode) // whatever the umask
		}
		return made, err
	} else if !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	return d.OpenDir(name)
}

// Read reads up to most octets of a file.
func Read(d disk.Dir, name string, most int64) ([]byte, error) {
	f, err := d.Open(name, disk.ReadOnly)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.NewSectionReader(f, 0, most))
}

// Write puts a file, which is the owner's alone to read, in the place of the one that is
// there, if any, in one step.
func Write(d disk.Dir, name string, text []byte) error {
	tmp := "." + name
	if err := d.Unlink(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := d.Create(tmp, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, d.Unlink(tmp))
	}
	if err := d.Rename(tmp, d, name); err != nil {
		return err
	}
	return d.Sync()
}
