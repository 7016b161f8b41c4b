package mailbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"syscall"

	"postoffice/deliver/local"
	"postoffice/internal/disk"
	"postoffice/internal/maillog"
)

// errLocked says that somebody else holds the mailbox: try again soon.
var errLocked = errors.New("mailbox is locked by another program")

// mbox is one task at a file of messages: open, lock, append, sync. It runs
// with the ids of the account.
type mbox struct {
	*task
	dir  disk.Dir    // in which the file is
	mode fs.FileMode // of one that has to be made

	mine  disk.Info // the dot lock, if there is one
	f     disk.File
	made  bool      // by this batch
	id    [2]uint64 // device and inode
	start int64     // length of the file before this batch
	end   int64     // length now, all of it whole messages
	tail  [2]byte   // the last octets before end
	dirty bool      // there may be more behind end, or room kept for it
}

// run writes the jobs that take returns. An error means that none was taken.
func (b *mbox) run(take func() []*job) error {
	dot, err := b.dotLock()
	if err != nil {
		return err
	}
	if dot {
		defer b.dotUnlock()
	}
	if err := b.openFile(); err != nil {
		return err
	}
	defer b.closeFile()
	if err := b.lock(); err != nil {
		return err
	}
	b.deliver(take())
	return nil
}

func (b *mbox) closeFile() {
	// The file was synced: closing it can't undo that (A37).
	if err := b.f.Close(); err != nil {
		b.warn("mailbox not closed", err)
	}
}

func (b *mbox) path() string { return b.at.path() }

// openFile opens the file, or makes it.
func (b *mbox) openFile() error {
	for range 3 { // it may come or go between the two calls
		f, err := b.dir.Open(b.at.name, disk.ReadWrite)
		if errors.Is(err, fs.ErrNotExist) {
			f, err = b.create()
			if errors.Is(err, fs.ErrExist) {
				continue
			}
		}
		if errors.Is(err, syscall.ELOOP) {
			return fmt.Errorf("%s %s is a symbolic link: remove it: %w", b.at.word, b.path(), err)
		}
		if err != nil {
			return fmt.Errorf("open %s: %w", b.at.word, b.closedBy(err))
		}
		b.f = f
		return nil
	}
	return fmt.Errorf("%s %s comes and goes", b.at.word, b.path())
}

// closedBy says whose file it is that the account may not open: in a directory where
// anybody may make files, another user's may have the name of a mailbox.
func (b *mbox) closedBy(err error) error {
	if !errors.Is(err, fs.ErrPermission) {
		return err
	}
	info, look := b.dir.Lstat(b.at.name)
	if look != nil || info.UID == b.a.UID {
		return err
	}
	return fmt.Errorf("it belongs to uid %d, want %d: %w", info.UID, b.a.UID, err)
}

func (b *mbox) create() (disk.File, error) {
	f, err := b.dir.Create(b.at.name, b.mode)
	if err != nil {
		return nil, err
	}
	b.made = true
	if err := f.Chmod(b.mode); err != nil { // whatever the umask is
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// lock locks the open mailbox, then looks whether it is one that may be
// written and still the file of that name (A44), and where it ends.
func (b *mbox) lock() error {
	if _, err := b.check(); err != nil {
		return err
	}
	ok, err := b.f.TryLockRecord()
	if err != nil {
		return fmt.Errorf("lock %s %s: %w", b.at.word, b.path(), err)
	}
	if !ok {
		return errLocked
	}
	named, err := disk.Named(b.dir, b.at.name, b.f)
	if err != nil {
		return fmt.Errorf("look at %s again: %w", b.at.word, err)
	}
	if !named { // a mail reader put a new file in its place
		return errLocked
	}
	info, err := b.check()
	if err != nil {
		return err
	}
	b.id = [2]uint64{info.Dev, info.Ino}
	b.start, b.end = info.Size, info.Size
	return b.readTail()
}

// check says why the mailbox must not be written.
func (b *mbox) check() (disk.Info, error) {
	info, err := b.f.Stat()
	if err != nil {
		return info, fmt.Errorf("look at %s: %w", b.at.word, err)
	}
	switch {
	case !info.Mode.IsRegular():
		err = disk.ErrNotRegular
	case info.Nlink != 1:
		err = fmt.Errorf("it has %d links, want 1", info.Nlink)
	case info.UID != b.a.UID:
		err = fmt.Errorf("it belongs to uid %d, want %d", info.UID, b.a.UID)
	case info.Mode.Perm()&0o111 != 0:
		err = fmt.Errorf("it is executable, mode %v", info.Mode)
	}
	if err != nil {
		return info, fmt.Errorf("%s %s must not be written: %w", b.at.word, b.path(), err)
	}
	return info, nil
}

// readTail reads the last octets, which say how the next message has to begin.
func (b *mbox) readTail() error {
	b.tail = [2]byte{'\n', '\n'} // an empty mailbox needs no empty line
	n := min(b.start, 2)
	if _, err := b.f.ReadAt(b.tail[2-n:], b.start-n); err != nil && !(n == 0 || errors.Is(err, io.EOF)) {
		return fmt.Errorf("read the end of %s %s: %w", b.at.word, b.path(), err)
	}
	return nil
}

// gap is what must stand between the octets that are there and a From_ line,
// so that the line is seen (R10, A27).
func (b *mbox) gap() string {
	switch {
	case b.tail == [2]byte{'\n', '\n'}:
		return ""
	case b.tail[1] == '\n':
		return "\n"
	}
	return "\n\n"
}

// deliver appends the jobs, syncs once and answers all of them.
func (b *mbox) deliver(jobs []*job) {
	var done []*job
	for i, j := range jobs {
		err, fatal := b.add(j)
		if fatal {
			b.fail(append(done, jobs[i:]...), err)
			return
		}
		if err != nil {
			b.settle(j, b.failed(err))
			continue
		}
		done = append(done, j)
	}
	if len(done) == 0 {
		return
	}
	if err := b.sync(); err != nil {
		b.fail(done, err)
		return
	}
	for _, j := range done {
		b.settle(j, b.at.delivered(b.a))
	}
}

// fail cuts the whole batch back and defers the jobs (A45).
func (b *mbox) fail(jobs []*job, err error) {
	err = errors.Join(err, b.cut(b.start))
	for _, j := range jobs {
		b.settle(j, b.failed(err))
	}
}

// add writes one message behind the others. After an error the mailbox
// ends where it ended before; if that can't be had, or the disk is broken
// rather than full, the error is fatal to the batch.
func (b *mbox) add(j *job) (err error, fatal bool) {
	end, tail, gap := b.end, b.tail, b.gap()
	if err := fits(j, end); err != nil {
		return err, false
	}
	if err = reserve(b.f, end+int64(len(gap)), j.d.Size); err == nil {
		b.dirty = true
		err = stream(gap, j.d.Body, b.put)
	}
	if err == nil {
		b.dirty = false
		return nil, false
	}
	if cut := b.cut(end); cut != nil {
		return errors.Join(err, cut), true
	}
	b.end, b.tail = end, tail
	_, body := errors.AsType[local.BodyError](err)
	return err, !body && !disk.Full(err)
}

// put appends p.
func (b *mbox) put(p []byte) error {
	if len(p) == 0 {
		return nil
	}
	b.place.Step()
	n, err := b.f.Write(p)
	if err == nil && n < len(p) {
		err = io.ErrShortWrite
	}
	if err != nil {
		return err
	}
	b.end += int64(n)
	for _, c := range p[max(0, len(p)-2):] {
		b.tail = [2]byte{b.tail[1], c}
	}
	return nil
}

// cut makes the mailbox end at length again.
func (b *mbox) cut(length int64) error {
	if !b.dirty && length == b.end {
		return nil
	}
	if err := b.f.Truncate(length); err != nil {
		b.m.o.Log.LogAttrs(context.Background(), slog.LevelError, "mailbox left with a part of a message",
			maillog.User(b.a.Name), maillog.File(b.path()), slog.Int64("length", length), maillog.Err(err))
		return fmt.Errorf("cut back to %d octets: %w", length, err)
	}
	b.dirty = false
	return nil
}

// sync makes the messages durable, and the mailbox's name once in the life of
// this process: whoever made the file may have died before its name was safe.
func (b *mbox) sync() error {
	b.place.Step()
	if err := b.f.Sync(); err != nil {
		return fmt.Errorf("sync: %w", err)
	}
	if b.m.isSynced(b.id) {
		return nil
	}
	if err := b.syncAbove(); err != nil {
		return err
	}
	if err := b.dir.Sync(); err != nil {
		err = fmt.Errorf("sync the directory: %w", err)
		if b.made { // its name may be lost now, whatever a later sync says: it has to be made anew
			err = errors.Join(err, b.dir.Unlink(b.at.name))
		}
		return err
	}
	b.m.setSynced(b.id)
	return nil
}
