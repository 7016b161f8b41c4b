package statedir

import (
	"errors"
	"fmt"
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

// Make makes a directory below dir that is an account's, for root, or for that account. One
// that is there must be that account's, or root's and empty: whoever made it may have been
// killed before giving it away.
func Make(fsys disk.FS, dir, name string, uid, gid int) error {
	d, err := Open(fsys, dir, name)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := letsThrough(fsys, dir, uid); err != nil {
		return err
	}
	path := filepath.Join(dir, name)
	switch info, err := d.Lstat("."); {
	case err != nil:
		return err
	case info.UID == uid:
		return nil
	case info.UID != 0 || !empty(d):
		return fmt.Errorf("%s belongs to uid %d, and not to %d, who is to have it: chown -R %[3]d:%[4]d %[1]s", path, info.UID, uid, gid)
	}
	// Its mode while it is ours: the master may change that of nothing else.
	return errors.Join(d.Chmod(0o700), d.Chown(uid, gid), d.Sync())
}

// letsThrough says why an account can't reach what is below a directory.
func letsThrough(fsys disk.FS, dir string, uid int) error {
	d, err := fsys.OpenDir(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	info, err := d.Lstat(".")
	if err == nil && info.UID != uid && info.Mode.Perm()&0o001 == 0 {
		err = fmt.Errorf("%s doesn't let uid %d through: chmod a+x %[1]s", dir, uid)
	}
	return err
}

// empty reports whether a directory has nothing in it.
func empty(d disk.Dir) bool {
	for range d.Names() { // a name, or that they can't be read
		return false
	}
	return true
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
