package mailbox

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"syscall"
	"time"

	"postoffice/internal/account"
	"postoffice/internal/disk"
	"postoffice/internal/maillog"
)

const (
	staleAfter = 5 * time.Minute // A46
)

// dotLock makes MAILBOX.lock, which names this process. False: the account may
// not make files in the mail directory, so nobody with its rights uses dot
// locks there. errLocked: another program holds it.
func (b *mbox) dotLock() (bool, error) {
	name := b.at.name + account.LockSuffix
	b.sweepDrafts()
	for range 3 { // once more after a stale lock was removed
		err := b.makeLock(name)
		switch {
		case err == nil:
			return true, nil
		case noLocks(err):
			if _, err := b.dir.Lstat(name); errors.Is(err, fs.ErrNotExist) {
				return false, nil
			}
		case errors.Is(err, errLocked):
			return false, errLocked
		case !errors.Is(err, fs.ErrExist):
			return false, fmt.Errorf("make %s.lock: %w", b.path(), err)
		case b.isOthers(name):
			return false, nil
		}
		gone, err := b.breakStale(name)
		if err != nil {
			return false, err
		}
		if !gone {
			return false, errLocked
		}
	}
	return false, errLocked
}

// isOthers says that a lock is somebody else's in a directory in which anybody
// may make files and only their owners remove them (1777): neither the account's
// programs nor root's made it, it would hold up the mail for ever, and whoever
// did may not write here anyway.
func (b *mbox) isOthers(name string) bool {
	dir, err := b.dir.Lstat(".")
	if err != nil || dir.Mode&fs.ModeSticky == 0 || dir.Mode&0o002 == 0 {
		return false
	}
	lock, err := b.dir.Lstat(name)
	if err != nil || lock.UID == b.a.UID || lock.UID == 0 || lock.UID == dir.UID {
		return false
	}
	b.warn("lock passed over", fmt.Errorf("%s.lock belongs to uid %d: remove it", b.path(), lock.UID))
	return true
}

// noLocks says that nobody with the account's rights can make a lock.
func noLocks(err error) bool {
	return errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS)
}

// makeLock makes the lock with its content in one step: whoever finds it knows
// whose it is.
func (b *mbox) makeLock(name string) error {
	draft := b.m.draftName()
	mine, err := b.writeDraft(draft)
	if err == nil {
		err = b.dir.RenameNoReplace(draft, b.dir, name)
	}
	if err == nil {
		err = b.isMine(name, mine)
	}
	if err == nil {
		b.mine = mine
		return nil
	}
	if undo := b.dir.Unlink(draft); undo != nil && !errors.Is(undo, fs.ErrNotExist) && !noLocks(err) {
		b.warn("draft of a dot lock not removed", undo)
	}
	if errors.Is(err, fs.ErrNotExist) { // another process took the draft for a dead one's
		return errLocked
	}
	return err
}

// isMine looks whether the lock that was made is the draft that was written:
// another process may have put its own in its place. That one then finds its
// draft gone.
func (b *mbox) isMine(name string, mine disk.Info) error {
	info, err := b.dir.Lstat(name)
	if err != nil {
		return err
	}
	if !info.Same(mine) {
		return errors.Join(errLocked, b.dir.Unlink(name))
	}
	return nil
}

// dotUnlock removes the lock. One that stays there, as on a disk that has an
// error, is known to be nobody's: the next batch need not wait for it.
func (b *mbox) dotUnlock() {
	err := b.dir.Unlink(b.at.name + account.LockSuffix)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		b.m.leave(b.mine, true)
	}
	if err != nil {
		b.warn("dot lock not removed", err)
	}
}

// breakStale removes a lock whose owner is dead; true if it is gone. A lock
// of ours is stale as soon as its process is gone from this machine, or if we
// could not remove it. Any other is so when it has not been touched for 5 minutes
// and the process that it names, if it names one of this machine, is not there.
func (b *mbox) breakStale(name string) (bool, error) {
	info, err := b.dir.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("look at %s.lock: %w", b.path(), err)
	}
	owner := b.owner(name)
	left := owner == b.m.self && b.m.hasLeft(info)
	if !info.Mode.IsRegular() || !left && !b.stale(owner, b.m.now().Sub(info.ModTime)) {
		return false, nil
	}
	again, err := b.dir.Lstat(name)
	if err != nil || !again.Same(info) {
		return errors.Is(err, fs.ErrNotExist), nil
	}
	if err := b.dir.Unlink(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, fmt.Errorf("remove stale %s.lock: %w", b.path(), err)
	}
	b.m.leave(info, false)
	b.m.o.Log.LogAttrs(context.Background(), slog.LevelWarn, "stale lock removed",
		maillog.User(b.a.Name), maillog.File(b.path()+account.LockSuffix))
	return true, nil
}

// stale decides about a lock of that age. An old one that names us was left
// behind by a failure to remove it.
func (b *mbox) stale(h lockOwner, age time.Duration) bool {
	ours := h.pid == b.m.self.pid && (!h.signed() || h == b.m.self)
	if h.sameMachine(b.m.self) && !ours {
		return !b.m.alive(h)
	}
	if age < staleAfter {
		return false
	}
	return ours || h.signed() || h.pid == 0 || !b.m.alive(h)
}

// owner reads who made a lock, as far as it says.
func (b *mbox) owner(name string) lockOwner {
	f, err := b.dir.Open(name, disk.ReadOnly)
	if err != nil {
		return lockOwner{}
	}
	defer f.Close()
	var p [200]byte
	n, _ := f.ReadAt(p[:], 0)
	return parseLockOwner(string(p[:n]))
}
