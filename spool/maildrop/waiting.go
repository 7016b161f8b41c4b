package maildrop

import (
	"maps"
	"slices"
	"strings"
	"time"

	"postoffice/internal/disk"
)

// Left is what somebody has left in maildrop/.
type Left struct {
	Owner  int // uid
	Files  int
	Octets int64
	Oldest time.Time
}

// Waiting counts what lies in maildrop/ for each owner, in the order of their
// uids; files that are still being written don't count. Only the owner of the
// spool's directory, and root, may look.
func Waiting(fsys disk.FS, spool string) ([]Left, error) {
	root, err := fsys.OpenDir(spool)
	if err != nil {
		return nil, err
	}
	defer root.Close() // only read
	d, err := root.OpenDir(Dir)
	if err != nil {
		return nil, present(err)
	}
	defer d.Close() // only read
	of := make(map[int]Left)
	for name, err := range d.Names() {
		if err != nil {
			return nil, err
		}
		info, err := d.Lstat(name)
		if err != nil || strings.HasPrefix(name, unfinished) || !info.Mode.IsRegular() {
			continue
		}
		w := of[info.UID]
		if w.Files == 0 || info.ModTime.Before(w.Oldest) {
			w.Oldest = info.ModTime
		}
		w.Owner, w.Files, w.Octets = info.UID, w.Files+1, w.Octets+info.Size
		of[info.UID] = w
	}
	var all []Left
	for _, uid := range slices.Sorted(maps.Keys(of)) {
		all = append(all, of[uid])
	}
	return all, nil
}
