package state

import (
	"errors"
	"fmt"
	"path/filepath"

	"postoffice/internal/disk"
	"postoffice/internal/statedir"
)

// name is the store's below db-dir.
const name = "store"

// Dir is where the store is.
func Dir(dbDir string) string { return filepath.Join(dbDir, name) }

// Mend is the command that mends the store.
func Mend(dbDir string) string { return "postoffice dbm -d " + Dir(dbDir) + " mend" }

// Make makes the directory of the store for the account of the server, for root. One that
// is there must be that account's, or root's and empty: whoever made it may have been
// killed before giving it away.
func Make(fsys disk.FS, dbDir string, uid, gid int) error {
	d, err := statedir.Open(fsys, dbDir, name)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := letsThrough(fsys, dbDir, uid); err != nil {
		return err
	}
	switch info, err := d.Lstat("."); {
	case err != nil:
		return err
	case info.UID == uid:
		return nil
	case info.UID != 0 || !empty(d):
		return fmt.Errorf("%s belongs to uid %d, and not to the server: chown -R %d:%d %[1]s", Dir(dbDir), info.UID, uid, gid)
	}
	// Its mode while it is ours: the master may change that of nothing else.
	return errors.Join(d.Chmod(0o700), d.Chown(uid, gid), d.Sync())
}

// letsThrough says why the server can't reach what is below a directory.
func letsThrough(fsys disk.FS, dir string, uid int) error {
	d, err := fsys.OpenDir(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	info, err := d.Lstat(".")
	if err == nil && info.UID != uid && info.Mode.Perm()&0o001 == 0 {
		err = fmt.Errorf("%s lets the server not through: chmod a+x %[1]s", dir)
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
