package mailbox

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strconv"
	"strings"
	"time"

	"postoffice/internal/disk"
)

const (
	tmpAge    = 36 * time.Hour // after which a file in tmp/ is nobody's any more
	cleanWait = 12 * time.Hour // between two looks for such files
	maxClean  = 10_000         // names that one look sees
	nameTries = 5              // for a name that nobody has
)

// maildir is one task at a Maildir. Each message is a file that is written and
// synced in tmp/ and then gets its name in new/, so that readers need no lock
// (A47).
type maildir struct {
	*task
	dir disk.Dir

	tmp, fresh disk.Dir // tmp/ and new/
	stored     []stored
	octets     int64 // of stored
	sum        int64 // of what was there before, where counted
	counted    bool
}

// stored is a message that has its name in new/, which may not be durable yet.
type stored struct {
	j    *job
	name string
}

// run stores the jobs that take returns. An error means that none was taken.
func (d *maildir) run(take func() []*job) error {
	if err := d.openDirs(); err != nil {
		return err
	}
	d.clean()
	for _, j := range take() {
		err := d.mayStore(j)
		var name string
		if err == nil {
			name, err = d.store(j)
		}
		if err != nil {
			d.settle(j, d.failed(err))
			continue
		}
		d.stored = append(d.stored, stored{j, name})
	}
	d.finish()
	return nil
}

// openDirs opens tmp/ and new/. cur/ is for readers, some of which don't make
// it.
func (d *maildir) openDirs() (err error) {
	for _, sub := range []struct {
		name string
		dir  *disk.Dir
	}{{"tmp", &d.tmp}, {"new", &d.fresh}, {"cur", new(disk.Dir)}} {
		if *sub.dir, err = d.descend(d.dir, sub.name, d.at.path()+"/"+sub.name); err != nil {
			return err
		}
	}
	return nil
}

// store writes a message and returns its name in new/. After an error there is
// nothing of it.
func (d *maildir) store(j *job) (string, error) {
	for range nameTries {
		name := d.m.uniqueName()
		f, err := d.tmp.Create(name, 0o600)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err != nil {
			return "", err
		}
		size, err := d.writeSynced(f, j.d.Body)
		err = errors.Join(err, f.Close())
		if err != nil {
			return "", errors.Join(err, d.drop(d.tmp, name))
		}
		final, err := d.publish(name, size)
		if err != nil {
			return "", errors.Join(err, d.drop(d.tmp, name))
		}
		d.octets += size
		return final, nil
	}
	return "", errNoName
}

var errNoName = errors.New("no name for a new file: all that were tried are taken")

// writeSynced writes and syncs a message.
func (d *maildir) writeSynced(f disk.File, body io.Reader) (size int64, err error) {
	err = stream("", body, func(p []byte) error {
		d.place.Step()
		n, err := f.Write(p)
		size += int64(n)
		if err == nil && n < len(p) {
			err = io.ErrShortWrite
		}
		return err
	})
	if err != nil {
		return size, err
	}
	d.place.Step()
	if err := f.Sync(); err != nil {
		return size, fmt.Errorf("sync: %w", err)
	}
	d.place.Step()
	return size, nil
}

// publish gives a file of tmp/ a name in new/ that nobody has.
func (d *maildir) publish(tmp string, size int64) (string, error) {
	name := tmp
	for range nameTries {
		final := fmt.Sprintf("%s,S=%d", name, size)
		err := d.tmp.RenameNoReplace(tmp, d.fresh, final)
		if !errors.Is(err, fs.ErrExist) {
			return final, err
		}
		name = d.m.uniqueName()
	}
	return "", errNoName
}

// finish makes the messages durable and answers for them.
func (d *maildir) finish() {
	if len(d.stored) == 0 {
		return
	}
	if err := d.sync(); err != nil {
		for _, s := range d.stored {
			d.settle(s.j, d.failed(errors.Join(err, d.drop(d.fresh, s.name))))
		}
		return
	}
	for _, s := range d.stored {
		d.settle(s.j, d.at.delivered(d.a))
	}
	d.record()
}

// sync makes the names in new/ durable, and those of the directories once in
// the life of this process.
func (d *maildir) sync() error {
	if err := d.fresh.Sync(); err != nil {
		return fmt.Errorf("sync new/: %w", err)
	}
	info, err := d.fresh.Lstat(".")
	if err != nil {
		return fmt.Errorf("look at new/: %w", err)
	}
	id := [2]uint64{info.Dev, info.Ino}
	if d.m.isSynced(id) {
		return nil
	}
	if err := errors.Join(d.syncAbove(), d.syncNames(d.dir)); err != nil {
		return err
	}
	d.m.setSynced(id)
	return nil
}

// drop removes a file that nobody was promised. A reader may have taken it.
func (d *maildir) drop(dir disk.Dir, name string) error {
	if err := dir.Unlink(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// clean removes what processes of ours that were killed left in tmp/.
func (d *maildir) clean() {
	now := d.m.now()
	if !d.m.mayClean(d.a.Name+" "+d.at.path(), now) {
		return
	}
	seen := 0
	for name, err := range d.tmp.Names() {
		if seen++; err != nil || seen > maxClean {
			return
		}
		if !d.m.isOurs(name) {
			continue
		}
		info, err := d.tmp.Lstat(name)
		if err != nil || !info.Mode.IsRegular() || now.Sub(info.ModTime) < tmpAge {
			continue
		}
		if err := d.drop(d.tmp, name); err != nil {
			d.warn("old file in tmp/ not removed", err)
			return
		}
	}
}

// mayClean says whether it is time to look for old files.
func (m *Mailboxes) mayClean(key string, now time.Time) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if last, ok := m.cleaned[key]; ok && now.Sub(last) < cleanWait {
		return false
	}
	if len(m.cleaned) >= maxSynced {
		clear(m.cleaned)
	}
	m.cleaned[key] = now
	return true
}

// uniqueName is a name that no other file of a Maildir has: seconds, then
// microseconds, process, count and random bits, then the host.
func (m *Mailboxes) uniqueName() string {
	now := m.now()
	return fmt.Sprintf("%d.M%06dP%dQ%dR%016x.%s", now.Unix(), now.Nanosecond()/1000, m.self.pid, m.count.Add(1), m.random(), m.host)
}

// isOurs says whether uniqueName may have made a name on this host.
func (m *Mailboxes) isOurs(name string) bool {
	rest, ok := strings.CutSuffix(name, "."+m.host)
	for _, mark := range []string{".M", "P", "Q", "R"} {
		var digits string
		if digits, rest, _ = strings.Cut(rest, mark); !isNumber(digits, 10) {
			return false
		}
	}
	return ok && isNumber(rest, 16)
}

func isNumber(s string, base int) bool {
	_, err := strconv.ParseUint(s, base, 64)
	return err == nil
}

// hostInNames escapes what has a meaning in the name of a Maildir's file.
func hostInNames(host string) string {
	var b strings.Builder
	for _, c := range []byte(host[:min(len(host), 100)]) {
		switch {
		case c == '/' || c == ':' || c == ',' || c == '\\':
			fmt.Fprintf(&b, "\\%03o", c)
		case c > ' ' && c < 0x7f:
			b.WriteByte(c)
		}
	}
	if b.Len() == 0 {
		return "localhost"
	}
	return b.String()
}
