package mailbox

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"postoffice/internal/account"
	"postoffice/internal/disk"
)

// The name of a draft holds a number that nobody can guess: who may make files
// in the directory could otherwise take the name of another's draft and keep
// them from making locks.
const (
	draftPrefix = ".draft-"
	draftLength = len(draftPrefix) + 16 + len(account.LockSuffix)

	maxListed = 10_000 // names that are looked at for drafts in one directory
	maxLooked = 10_000 // directories that are known to have been looked at
)

func (m *Mailboxes) draftName() string {
	return fmt.Sprintf("%s%016x%s", draftPrefix, m.random(), account.LockSuffix)
}

func isDraft(name string) bool {
	return len(name) == draftLength && strings.HasPrefix(name, draftPrefix) && strings.HasSuffix(name, account.LockSuffix)
}

// writeDraft writes what is to become a dot lock, under a name that no mailbox
// has.
func (b *mbox) writeDraft(name string) (disk.Info, error) {
	f, err := b.dir.Create(name, 0o600)
	if err != nil {
		return disk.Info{}, err
	}
	_, err = f.Write([]byte(b.m.self.String()))
	info, statErr := f.Stat()
	return info, errors.Join(err, statErr, f.Close())
}

// sweepDrafts removes what processes that were killed have left of the account's
// in the directory, when we come there first. One that still writes its draft
// finds it gone, and makes another.
func (b *mbox) sweepDrafts() {
	dir, err := b.dir.Lstat(".")
	if err != nil {
		return // the lock can't be made, either
	}
	for _, name := range b.m.leftDrafts([2]uint64{dir.Dev, dir.Ino}, b.a.UID, b.listDrafts) {
		if err := b.dir.Unlink(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			b.warn("draft of a dot lock not removed", err)
		}
	}
}

// listDrafts finds the drafts in the directory, and whose they are.
func (b *mbox) listDrafts() map[int][]string {
	drafts := map[int][]string{}
	n := 0
	for name, err := range b.dir.Names() {
		if n++; err != nil || n > maxListed {
			break // who may not list it removes what they make, or it stays
		}
		if !isDraft(name) {
			continue
		}
		if info, err := b.dir.Lstat(name); err == nil && info.Mode.IsRegular() {
			drafts[info.UID] = append(drafts[info.UID], name)
		}
	}
	return drafts
}

// leftDrafts returns the drafts of an account that were in a directory when it
// was listed, once.
func (m *Mailboxes) leftDrafts(dir [2]uint64, uid int, list func() map[int][]string) []string {
	m.mu.Lock()
	drafts, ok := m.drafts[dir]
	m.mu.Unlock()
	if !ok {
		drafts = list()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if !ok {
		if len(m.drafts) >= maxLooked {
			clear(m.drafts)
		}
		m.drafts[dir] = drafts
	}
	names := drafts[uid]
	delete(drafts, uid)
	return names
}
