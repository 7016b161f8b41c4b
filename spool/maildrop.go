package spool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"strings"
	"syscall"

	"postoffice/internal/disk"
	"postoffice/internal/maillog"
)

// MaildropDir is the directory in the spool's where anybody on this machine may
// leave a message. What lies there is a stranger's: it is never renamed into
// the queue, only read, as little as needed, and copied.
const MaildropDir = "maildrop"

// maildropMode: anybody makes a file in it, nobody lists it, nobody removes
// another's, and files get the group of the server, which so can read them.
const maildropMode = 0o733 | fs.ModeSetgid | fs.ModeSticky

// searchMode is what the spool's own directory needs in addition for that.
const searchMode = 0o011

// What one look at maildrop/ takes.
const (
	dropsPerOwner = 50
	maxOwners     = 200
	maxTold       = 1000 // names whose trouble is remembered
	maxTrouble    = 3    // messages of an owner that can't be taken, before the others wait
)

// openMaildrop opens maildrop/, and makes it, with its mode, where missing.
func (q *Queue) openMaildrop(root disk.Info) error {
	d, err := q.subdir(MaildropDir, maildropMode)
	if err != nil {
		return err
	}
	q.maildrop = d
	info, err := d.Lstat(".")
	if err != nil {
		return err
	}
	gid := os.Getegid()
	if q.chown {
		gid = q.gid
	}
	const all = fs.ModePerm | fs.ModeSetuid | fs.ModeSetgid | fs.ModeSticky
	q.dropGID = gid
	if info.GID != gid {
		err = d.Chown(-1, gid)
	}
	if err == nil && (info.Mode&all != maildropMode || info.GID != gid) {
		if err = d.Chmod(maildropMode); err == nil {
			err = d.Sync()
		}
	}
	if err == nil && root.Mode&searchMode != searchMode {
		err = q.root.Chmod(root.Mode&all | searchMode)
	}
	return err
}

// IsMaildrop reports whether an open directory is one that a spool has made to
// be a maildrop/.
func IsMaildrop(d disk.Dir) bool {
	info, err := d.Lstat(".")
	return err == nil && info.Mode.IsDir() && info.Mode&^fs.ModeDir == maildropMode
}

// Dropped is a message from maildrop/ that is being picked up.
type Dropped struct {
	Drop
	Name  string
	Owner int // the uid of who left it, by the file system's word

	f    disk.File
	at   int64
	info disk.Info
}

// Size is the message's header and body, in octets.
func (d *Dropped) Size() int64 { return d.info.Size - d.at }

// Body reads the message. A file that was changed meanwhile ends in ErrCorrupt.
func (d *Dropped) Body() io.Reader {
	return io.MultiReader(io.NewSectionReader(d.f, d.at, d.Size()), unchanged{d})
}

// unchanged is an empty end for a file that is as it was when it was opened.
type unchanged struct{ d *Dropped }

func (u unchanged) Read([]byte) (int, error) {
	now, err := u.d.f.Stat()
	if err == nil && (now.Size != u.d.info.Size || !now.ModTime.Equal(u.d.info.ModTime)) {
		err = damage("changed while it was read")
	}
	if err == nil {
		err = io.EOF
	}
	return 0, err
}

// PickUp goes through maildrop/ once, in turns between the owners, and hands
// what lies there to take, which returns nil when the message is durable in
// the queue: only then is the file removed. An error that is ErrCorrupt sets
// the file aside in corrupt/; any other leaves it for the next time, and after
// some the rest of its owner too. A crash between the two picks the message up again. limit bounds
// a message, 0 doesn't. more says that some were left out, and some were not.
//
// Several processes may do this at the same time: each file is locked.
func (q *Queue) PickUp(ctx context.Context, limit int64, take func(*Dropped) error) (more bool, err error) {
	if q.maildrop == nil {
		return false, nil
	}
	q.picking.Lock()
	defer q.picking.Unlock()
	if err := q.unstick(); err != nil {
		return false, err
	}
	before := q.told
	q.told = make(map[string]bool)
	found, more, err := q.look(ctx, before)
	if err != nil {
		return false, fmt.Errorf("maildrop: %w", err)
	}
	gone := 0
	trouble := make(map[int]int) // of each owner
	for _, c := range found {
		if ctx.Err() != nil {
			break
		}
		if trouble[c.info.UID] == maxTrouble {
			continue
		}
		removed, err := q.pickUp(c.name, limit, take)
		if removed {
			gone++
		}
		if q.stuck != "" {
			return false, err
		}
		if err != nil {
			trouble[c.info.UID]++
			q.tell(before, c, err)
		}
	}
	if gone > 0 {
		err = q.maildrop.Sync() // what comes back after a crash is sent twice
	}
	return more && gone > 0, err
}

// unstick removes a file whose message is in the queue. Until that has worked
// nothing more is picked up: it would be again, each time.
func (q *Queue) unstick() error {
	if q.stuck == "" {
		return nil
	}
	if err := ignoreGone(q.maildrop.Unlink(q.stuck)); err != nil {
		return fmt.Errorf("maildrop: picked up, but not removed: %w", err)
	}
	q.stuck = ""
	return nil
}

// candidate is a file that may be a message.
type candidate struct {
	name string
	info disk.Info
}

// owned are the files of one owner.
type owned struct{ drops []*candidate }

// look lists the files, some of each owner, the owners in turns. more: there
// were others. What an interrupted writer has left, and what is no file, is
// removed when it is old.
func (q *Queue) look(ctx context.Context, before map[string]bool) (found []*candidate, more bool, err error) {
	owners := make(map[int]*owned)
	for name, err := range q.maildrop.Names() {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return nil, false, err
		}
		info, err := q.maildrop.Lstat(name)
		if err != nil {
			continue // gone meanwhile
		}
		c := &candidate{name, info}
		of := owners[info.UID]
		switch {
		case strings.HasPrefix(name, dropUnfinished):
			q.dropOld(c)
		case !info.Mode.IsRegular():
			q.tell(before, c, fmt.Errorf("is no file (%v)", info.Mode.Type()))
			q.dropOld(c)
		case info.Nlink != 1:
			q.tell(before, c, fmt.Errorf("has %d names", info.Nlink))
		case info.Mode&0o040 == 0:
			q.tell(before, c, fmt.Errorf("can't be read by the group (mode %04o)", info.Mode.Perm()))
		case of == nil && len(owners) >= maxOwners || of != nil && len(of.drops) >= dropsPerOwner:
			more = true
		case of == nil:
			owners[info.UID] = &owned{[]*candidate{c}}
		default:
			of.drops = append(of.drops, c)
		}
	}
	return inTurns(owners), more, nil
}

// inTurns puts the oldest of each owner first, then the second of each.
func inTurns(owners map[int]*owned) (all []*candidate) {
	for _, of := range owners {
		slices.SortFunc(of.drops, func(a, b *candidate) int {
			if n := a.info.ModTime.Compare(b.info.ModTime); n != 0 {
				return n
			}
			return strings.Compare(a.name, b.name)
		})
	}
	for i := range dropsPerOwner {
		for _, of := range owners {
			if i < len(of.drops) {
				all = append(all, of.drops[i])
			}
		}
	}
	return all
}

// dropOld removes what is older than an interrupted arrival may be (A33),
// unless somebody is still writing it. A directory stays.
func (q *Queue) dropOld(c *candidate) {
	if c.info.Mode.IsDir() || q.now().Sub(c.info.ModTime) < orphanAge {
		return
	}
	if c.info.Mode.IsRegular() {
		if f, err := q.maildrop.Open(c.name, disk.ReadOnly); err == nil {
			defer f.Close() // only locked
			if free, err := f.TryLock(); err != nil || !free {
				return
			}
		}
	}
	if err := q.maildrop.Unlink(c.name); err == nil {
		q.logDrop(slog.LevelInfo, "interrupted drop removed", c.name, c.info.UID, nil)
	}
}

// pickUp takes one file.
func (q *Queue) pickUp(name string, limit int64, take func(*Dropped) error) (removed bool, err error) {
	f, err := q.maildrop.Open(name, disk.ReadOnly)
	switch {
	case errors.Is(err, disk.ErrNotRegular) || errors.Is(err, syscall.ELOOP):
		return false, nil // replaced since: told the next time
	case err != nil:
		return false, ignoreGone(err)
	}
	defer f.Close() // only read
	if got, err := lockNamed(q.maildrop, name, f); err != nil || got != locked {
		return false, err // still in somebody's hands
	}
	d := &Dropped{Name: name, f: f}
	if err = q.examine(d, limit); err == nil {
		if err = take(d); err == nil {
			q.stuck = name
			err := q.unstick()
			return err == nil, err
		}
	}
	if errors.Is(err, ErrCorrupt) {
		return q.setDropAside(d, err)
	}
	return false, err
}

// examine finds out whose the file is and reads its envelope.
func (q *Queue) examine(d *Dropped, limit int64) (err error) {
	if d.info, err = d.f.Stat(); err != nil {
		return later(err)
	}
	d.Owner = d.info.UID
	switch {
	case d.info.Nlink != 1:
		return fmt.Errorf("%w: it has %d names", ErrLater, d.info.Nlink)
	case d.Owner == 0 || d.Owner == q.uid:
		return damage("belongs to uid %d, who leaves no mail here", d.Owner)
	case d.info.GID != q.dropGID:
		return damage("belongs to group %d: it was not made here", d.info.GID)
	case limit > 0 && d.info.Size > limit+maxDropEnvelope:
		return damage("has %d octets, more than a message may have", d.info.Size)
	}
	d.Drop, d.at, err = decodeDrop(d.f, d.info.Size)
	return err
}

// tell logs what keeps a file from being picked up, once while it lies there.
func (q *Queue) tell(before map[string]bool, c *candidate, why error) {
	if len(q.told) >= maxTold {
		return
	}
	q.told[c.name] = true
	if !before[c.name] {
		q.logDrop(slog.LevelWarn, "drop not picked up", c.name, c.info.UID, why)
	}
}

func (q *Queue) logDrop(level slog.Level, event, name string, uid int, why error, more ...slog.Attr) {
	attrs := append(more, maillog.Client(fmt.Sprintf("uid %d", uid)), maillog.File(MaildropDir+"/"+name))
	if why != nil {
		attrs = append(attrs, maillog.Err(why))
	}
	q.log.LogAttrs(context.Background(), level, event, attrs...)
}
