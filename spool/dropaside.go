package spool

import (
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"postoffice/internal/disk"
	"postoffice/internal/maillog"
)

// What one owner may have in corrupt/ of files from maildrop/.
const (
	maxAside       = 100
	maxAsideOctets = 64 << 20
)

// setDropAside moves a file that is no message into corrupt/, where it is
// listed as one of a foreign owner and can never be released. Beyond what one
// owner may have there it stays where it is.
func (q *Queue) setDropAside(d *Dropped, why error) (bool, error) {
	if err := q.roomAside(d.info); err != nil {
		return false, fmt.Errorf("%w; it stays here, since %v", err, why)
	}
	id, err := q.ids.next()
	if err == nil {
		err = q.maildrop.RenameNoReplace(d.Name, q.dirs[Corrupt], string(id))
	}
	if err != nil {
		return false, err
	}
	err = q.dirs[Corrupt].Sync()
	q.logDrop(slog.LevelError, "drop set aside", d.Name, d.Owner, why, maillog.QueueID(id))
	return true, err
}

// roomAside says why there is no room in corrupt/ for one more file.
func (q *Queue) roomAside(file disk.Info) error {
	files, octets := 1, file.Size
	for name, err := range q.dirs[Corrupt].Names() {
		if err != nil {
			return err
		}
		if info, err := q.dirs[Corrupt].Lstat(name); err == nil && info.UID == file.UID {
			files++
			octets += info.Size
		}
	}
	if files > maxAside || octets > maxAsideOctets {
		return fmt.Errorf("corrupt/ has %d files of uid %d already, remove them (postoffice queue remove)", files-1, file.UID)
	}
	return nil
}

// Waiting is what somebody has left in maildrop/.
type Waiting struct {
	Owner  int // uid
	Files  int
	Octets int64
	Oldest time.Time
}

// Waiting counts what lies in maildrop/ for each owner, in the order of their
// uids; files that are still being written don't count. Only the owner of the
// spool, and root, may look.
func (q *Queue) Waiting() ([]Waiting, error) {
	d, err := q.root.OpenDir(MaildropDir)
	if err != nil {
		return nil, ignoreGone(err)
	}
	defer d.Close() // only read
	of := make(map[int]Waiting)
	for name, err := range d.Names() {
		if err != nil {
			return nil, err
		}
		info, err := d.Lstat(name)
		if err != nil || strings.HasPrefix(name, dropUnfinished) || !info.Mode.IsRegular() {
			continue
		}
		w := of[info.UID]
		if w.Files == 0 || info.ModTime.Before(w.Oldest) {
			w.Oldest = info.ModTime
		}
		w.Owner, w.Files, w.Octets = info.UID, w.Files+1, w.Octets+info.Size
		of[info.UID] = w
	}
	var all []Waiting
	for _, uid := range slices.Sorted(maps.Keys(of)) {
		all = append(all, of[uid])
	}
	return all, nil
}
