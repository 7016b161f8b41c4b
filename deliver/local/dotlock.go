package local

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"strconv"
	"syscall"
	"time"

	"postoffice/internal/disk"
	"postoffice/internal/maillog"
)

const (
	lockSuffix = ".lock"
	staleAfter = 5 * time.Minute // A46
)

// dotLock makes MAILBOX.lock, which holds the process number. False: the
// account may not make files in the mail directory, so nobody with its rights
// uses dot locks there. errLocked: another program holds it.
func (b *batch) dotLock() (bool, error) {
	name := b.a.Name + lockSuffix
	for range 3 { // once more after a stale lock was removed
		f, err := b.dir.Create(name, 0o600)
		switch {
		case errors.Is(err, fs.ErrExist):
			gone, err := b.breakStale(name)
			if err != nil {
				return false, err
			}
			if !gone {
				return false, errLocked
			}
		case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
			return false, nil
		case err != nil:
			return false, fmt.Errorf("make %s.lock: %w", b.path(), err)
		default:
			err = b.signLock(f, name)
			return err == nil, err
		}
	}
	return false, errLocked
}

// signLock writes our process number into the lock, or removes it again.
func (b *batch) signLock(f disk.File, name string) error {
	_, err := f.Write(strconv.AppendInt(nil, int64(b.m.pid), 10))
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(fmt.Errorf("make %s.lock: %w", b.path(), err), b.dir.Unlink(name))
	}
	return nil
}

func (b *batch) dotUnlock() {
	if err := b.dir.Unlink(b.a.Name + lockSuffix); err != nil {
		b.warn("dot lock not removed", err)
	}
}

// breakStale removes a lock whose holder is dead; true if it is gone. A lock
// is stale when it has not been touched for 5 minutes and the process that it
// names, if it names one, is not there.
func (b *batch) breakStale(name string) (bool, error) {
	info, err := b.dir.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("look at %s.lock: %w", b.path(), err)
	}
	if !info.Mode.IsRegular() || b.m.now().Sub(info.ModTime) < staleAfter {
		return false, nil
	}
	pid := b.lockHolder(name)
	if pid > 0 && pid != b.m.pid && b.m.alive(pid) { // ours would not be waited for
		return false, nil
	}
	again, err := b.dir.Lstat(name)
	if err != nil || !again.Same(info) {
		return errors.Is(err, fs.ErrNotExist), nil
	}
	if err := b.dir.Unlink(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, fmt.Errorf("remove stale %s.lock: %w", b.path(), err)
	}
	b.m.o.Log.LogAttrs(context.Background(), slog.LevelWarn, "stale lock removed",
		maillog.User(b.a.Name), maillog.File(b.path()+lockSuffix), slog.Int("pid", pid))
	return true, nil
}

// lockHolder reads the process number in a lock; 0 if there is none.
func (b *batch) lockHolder(name string) int {
	f, err := b.dir.Open(name, disk.ReadOnly)
	if err != nil {
		return 0
	}
	defer f.Close()
	var p [20]byte
	n, _ := f.ReadAt(p[:], 0)
	pid, err := strconv.Atoi(string(bytes.TrimSpace(p[:n])))
	if err != nil || pid < 0 {
		return 0
	}
	return pid
}

// alive reports whether a process with this number exists.
func alive(pid int) bool {
	err := syscall.Kill(pid, 0)
	return err == nil || errors.Is(err, syscall.EPERM)
}
