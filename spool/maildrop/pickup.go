package maildrop

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"syscall"
	"time"

	"postoffice/internal/disk"
	"postoffice/internal/maillog"
)

const (
	oldAge     = 36 * time.Hour // of what an interrupted writer has left, as of interrupted arrivals (A33)
	maxTold    = 1000           // names whose trouble is remembered
	maxTrouble = 3              // messages of an owner that can't be taken, before the others wait

	maxSmall = 1 << 20  // octets of a message that waits for no other
	maxLarge = 64 << 20 // octets of larger messages in one look, before the smaller ones are looked for again

	maxLook = 10 * time.Second // from which a look begins no other small message, and one large one at most
)

// maxDrop is what a message may have in octets, whatever the server takes: it is
// copied while others wait.
const maxDrop = 256 << 20

// Limit is how many octets a message may have that is left, where one that is
// submitted may have size, 0 for any number.
func Limit(size int64) int64 {
	if size <= 0 || size > maxDrop {
		return maxDrop
	}
	return size
}

// Dropped is a message from maildrop/ that is being picked up.
type Dropped struct {
	Drop
	Name  string
	Owner int // the uid of who left it, by the file system's word

	// Disowned is a message whose Owner is root or the server, who leave none
	// here: the file was given to it, as by chown -R or from a backup, and who
	// left it isn't known. It must not be sent before somebody has looked at it.
	Disowned bool

	f    disk.File
	at   int64
	info disk.Info
	read int64 // octets that Body has read
}

// Size is the message's header and body, in octets.
func (d *Dropped) Size() int64 { return d.info.Size - d.at }

// Body reads the message. A file that was changed meanwhile ends in ErrNever.
func (d *Dropped) Body() io.Reader {
	return io.MultiReader(sizeReader{io.NewSectionReader(d.f, d.at, d.Size()), &d.read}, unchanged{d})
}

// sizeReader counts what is read.
type sizeReader struct {
	io.Reader
	n *int64
}

func (c sizeReader) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	*c.n += int64(n)
	return n, err
}

// unchanged is an empty end for a file that is as it was when it was opened.
type unchanged struct{ d *Dropped }

func (u unchanged) Read([]byte) (int, error) {
	now, err := u.d.f.Stat()
	if err == nil && (now.Size != u.d.info.Size || !now.ModTime.Equal(u.d.info.ModTime)) {
		err = unfit("changed while it was read")
	}
	if err == nil {
		err = io.EOF
	}
	return 0, err
}

// PickUp looks at maildrop/ once, takes turns between the owners, and hands
// what lies there to take, which returns nil when the message is durable in
// the queue: only then is the file removed. An error that is ErrNever sets the
// file aside in corrupt/; any other leaves it for the next time, and after some
// the rest of its owner too. A crash between the two picks the message up again.
// size is that of a message which a server takes, as Limit has it. more says that others have not had their turn
// yet, or that some were left out, and some were not.
//
// Several processes may do this at the same time: each file is locked.
func (m *Maildrop) PickUp(ctx context.Context, size int64, take func(*Dropped) error) (more bool, err error) {
	if m.dir == nil {
		return false, nil
	}
	m.picking.Lock()
	defer m.picking.Unlock()
	stuck := m.unstick()
	if m.round.after == noOwner {
		m.before, m.round.told = m.round.told, make(map[string]bool)
	}
	found, err := m.look(ctx)
	if err != nil {
		return false, errors.Join(stuck, fmt.Errorf("maildrop: %w", err))
	}
	gone, err := m.takeTurns(ctx, &found, Limit(size), take)
	err = errors.Join(stuck, err)
	if gone > 0 {
		err = errors.Join(err, m.dir.Sync()) // what comes back after a crash is sent twice
	}
	return m.next(found, gone > 0), err
}

// takeTurns picks up what was found, and returns how many files are gone. After
// maxLook it leaves the rest for the next look, which sees who came meanwhile: in it
// comes first who has had nothing, and here still one large message.
func (m *Maildrop) takeTurns(ctx context.Context, found *owners, limit int64, take func(*Dropped) error) (gone int, err error) {
	large := int64(0)            // octets of large ones that were read
	trouble := make(map[int]int) // of each owner
	met := make(map[int]bool)    // who has had one that is small
	last := noOwner              // of them
	began := m.now()
	turns, more := m.inTurns(found.of)
	found.left = found.left || more
	for _, c := range turns {
		uid, late := c.info.UID, m.now().Sub(began) >= maxLook
		switch {
		case ctx.Err() != nil:
			return gone, err
		case m.stuck[uid] != "" || trouble[uid] == maxTrouble:
			continue
		case c.isLarge() && (large >= maxLarge || late && large > 0):
			found.left = true
			return gone, err
		case c.isLarge():
			m.large = uid
		case late && !met[uid]:
			found.last, found.more = last, true
			continue
		case late:
			found.left = true
			continue
		default:
			met[uid], last = true, max(last, uid)
		}
		removed, terr := m.pickUp(c.name, limit, func(d *Dropped) error {
			err := take(d)
			if c.isLarge() {
				large += d.read // one that is refused unread keeps no other waiting
			}
			return err
		})
		switch {
		case removed:
			gone++
		case m.stuck[uid] != "":
			err = errors.Join(err, terr)
		case terr != nil:
			trouble[uid]++
			m.tell(c, terr)
		}
	}
	return gone, err
}

// next goes on to the owners behind those found, or ends the round and says
// whether another one has something to do.
func (m *Maildrop) next(found owners, gone bool) (more bool) {
	r := &m.round
	r.left, r.gone = r.left || found.left, r.gone || gone
	if found.more {
		r.after = found.last
		return true
	}
	more = r.left && r.gone
	*r = round{after: noOwner, told: r.told}
	return more
}

// unstick removes files whose messages are in the queue. While that doesn't work
// nothing more of their owner is picked up: it would be again, each time. Others'
// is, since it may be the owner's doing: they can mount something on the file.
func (m *Maildrop) unstick() (err error) {
	for uid, name := range m.stuck {
		err = m.unstickOf(uid, name)
	}
	return err
}

func (m *Maildrop) unstickOf(uid int, name string) error {
	if err := remove(m.dir, name); err != nil {
		m.stuck[uid] = name
		return fmt.Errorf("maildrop: picked up, but not removed: %w", err)
	}
	delete(m.stuck, uid)
	return nil
}

// candidate is a file that may be a message.
type candidate struct {
	name string
	info disk.Info
}

// look lists the files, some of each owner whose turn it is. What an interrupted
// writer has left, and what is no file, is removed when it is old.
func (m *Maildrop) look(ctx context.Context) (owners, error) {
	found := owners{after: m.round.after, last: noOwner, of: map[int]*owned{}}
	for name, err := range m.dir.Names() {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return found, err
		}
		info, err := m.dir.Lstat(name)
		if err != nil {
			continue // gone meanwhile
		}
		c := &candidate{name, info}
		switch {
		case strings.HasPrefix(name, unfinished):
			m.dropOld(c)
		case !info.Mode.IsRegular():
			m.tell(c, fmt.Errorf("is no file (%v)", info.Mode.Type()))
			m.dropOld(c)
		case info.Nlink != 1:
			m.tell(c, fmt.Errorf("has %d names", info.Nlink))
		case info.Mode&0o040 == 0:
			m.tell(c, fmt.Errorf("can't be read by the group (mode %04o)", info.Mode.Perm()))
		default:
			found.add(c)
		}
	}
	return found, nil
}

// isLarge says that a file is copied when no smaller one waits. What it has on the
// disk is of no matter: holes are octets of the message.
func (c *candidate) isLarge() bool { return c.info.Size > maxSmall }

// inTurns puts the oldest of each owner first, then the second of each. Behind them
// stand large ones, one of each owner, from behind the owner of the last one on; more
// says that somebody has more of these.
func (m *Maildrop) inTurns(found map[int]*owned) (turns []*candidate, more bool) {
	for _, of := range found {
		slices.SortFunc(of.drops, func(a, b *candidate) int {
			if n := a.info.ModTime.Compare(b.info.ModTime); n != 0 {
				return n
			}
			return strings.Compare(a.name, b.name)
		})
	}
	uids := slices.Sorted(maps.Keys(found))
	for i := range dropsPerOwner {
		for _, uid := range uids {
			if of := found[uid]; i < len(of.drops) && !of.drops[i].isLarge() {
				turns = append(turns, of.drops[i])
			}
		}
	}
	next, had := slices.BinarySearch(uids, m.large)
	if had {
		next++
	}
	for _, uid := range slices.Concat(uids[next:], uids[:next]) {
		drops := found[uid].drops
		if i := slices.IndexFunc(drops, (*candidate).isLarge); i >= 0 {
			turns = append(turns, drops[i])
			more = more || slices.ContainsFunc(drops[i+1:], (*candidate).isLarge)
		}
	}
	return turns, more
}

// dropOld removes what is older than an interrupted arrival may be (A33),
// unless somebody is still writing it. A directory stays.
func (m *Maildrop) dropOld(c *candidate) {
	if c.info.Mode.IsDir() || m.now().Sub(c.info.ModTime) < oldAge {
		return
	}
	if c.info.Mode.IsRegular() {
		if f, err := m.dir.Open(c.name, disk.ReadOnly); err == nil {
			defer f.Close() // only locked
			if free, err := f.TryLock(); err != nil || !free {
				return
			}
		}
	}
	if err := m.dir.Unlink(c.name); err == nil {
		m.event(slog.LevelInfo, "interrupted drop removed", c.name, c.info.UID, nil)
	}
}

// pickUp takes one file.
func (m *Maildrop) pickUp(name string, limit int64, take func(*Dropped) error) (removed bool, err error) {
	f, err := m.dir.Open(name, disk.ReadOnly)
	switch {
	case errors.Is(err, disk.ErrNotRegular) || errors.Is(err, syscall.ELOOP):
		return false, nil // replaced since: told the next time
	case err != nil:
		return false, present(err)
	}
	defer f.Close() // only read
	free, err := f.TryLock()
	if err == nil && free {
		free, err = disk.Named(m.dir, name, f)
	}
	if err != nil || !free {
		return false, err // still in somebody's hands
	}
	d := &Dropped{Name: name, f: f}
	if err = m.examine(d, limit); err == nil {
		if err = take(d); err == nil {
			err := m.unstickOf(d.Owner, name)
			return err == nil, err
		}
	}
	if errors.Is(err, ErrNever) {
		return m.setAside(d, err)
	}
	return false, err
}

// examine finds out whose the file is and reads its envelope.
func (m *Maildrop) examine(d *Dropped, limit int64) (err error) {
	if d.info, err = d.f.Stat(); err != nil {
		return err
	}
	d.Owner = d.info.UID
	d.Disowned = d.Owner == 0 || d.Owner == m.uid
	switch {
	case d.info.Nlink != 1:
		return fmt.Errorf("it has %d names", d.info.Nlink)
	case d.info.GID != m.gid:
		return unfit("belongs to group %d: it was not made here", d.info.GID)
	}
	d.Drop, d.at, err = decode(d.f, d.info.Size)
	if err == nil && limit > 0 && d.Size() > limit {
		return unfit("has %d octets, more than a message may have", d.Size())
	}
	return err
}

// tell logs what keeps a file from being picked up, once while it lies there.
func (m *Maildrop) tell(c *candidate, why error) {
	told := m.round.told
	if told[c.name] || len(told) >= maxTold {
		return
	}
	told[c.name] = true
	if !m.before[c.name] {
		m.event(slog.LevelWarn, "drop not picked up", c.name, c.info.UID, why)
	}
}

func (m *Maildrop) event(level slog.Level, event, name string, uid int, why error, more ...slog.Attr) {
	attrs := append(more, maillog.Client(fmt.Sprintf("uid %d", uid)), maillog.File(Dir+"/"+name))
	if why != nil {
		attrs = append(attrs, maillog.Err(why))
	}
	m.log.LogAttrs(context.Background(), level, event, attrs...)
}
