package state

import (
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

// Make makes the directory of the store for the account of the server, for root.
func Make(fsys disk.FS, dbDir string, uid, gid int) error {
	return statedir.Make(fsys, dbDir, name, uid, gid)
}
