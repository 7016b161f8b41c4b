package mailbox

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math"
	"syscall"
	"time"

	"postoffice/deliver/local"
	"postoffice/deliver/local/stalled"
	"postoffice/deliver/outcome"
	"postoffice/internal/account"
	"postoffice/internal/disk"
	"postoffice/internal/maillog"
)

// waitAndWrite writes one batch as soon as the mailbox's locks can be had. The
// wait holds neither a thread nor a place, but the server's room for deliveries: where
// others may need that, a lock is waited for as long as for a file system.
func (m *Mailboxes) waitAndWrite(a account.Account, at place, w *waiting) error {
	began, pause := time.Now(), 10*time.Millisecond
	for !m.idle(w) {
		err := m.busy.Do(stalled.Work{
			Ways:    []string{inHome: a.Home, inPlace: at.path()},
			Crowded: m.crowded,
			Refuse:  func(err error) bool { m.refuse(at, w, err); return true },
			Do:      func(p *stalled.Place) error { return m.write(a, at, w, p) },
		})
		if !errors.Is(err, errLocked) {
			return err
		}
		waited := time.Since(began)
		if waited+pause > m.o.LockWait || waited >= stalled.StepWait && m.crowded() {
			return fmt.Errorf("%w for %v", err, waited.Round(time.Second))
		}
		time.Sleep(pause)
		pause = min(2*pause, 250*time.Millisecond)
	}
	return nil
}

// crowded says that others may need the room of a delivery that waits.
func (m *Mailboxes) crowded() bool { return m.mail.Load() >= maxQuietMail }

// The paths that work on a mailbox goes to, as a stalled.Place counts them.
const (
	inHome = iota
	inPlace
)

// refuse answers what waits for a place whose file system does not answer. What
// a thread has in hand already may be written yet: it is told so much.
func (m *Mailboxes) refuse(at place, w *waiting, err error) {
	for _, j := range m.take(w, math.MaxInt) {
		j.result <- local.Settle(at.stalled(err))
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	w.refused = true
	for _, j := range w.inHand {
		j.hangs <- local.Settle(at.stalled(err))
	}
	w.inHand = nil
}

// write lets a thread with the account's ids write one batch of what waits for
// the place, once that is locked; before that it answers for what a .forward
// takes elsewhere. An error means that it took nothing else.
func (m *Mailboxes) write(a account.Account, at place, w *waiting, p *stalled.Place) error {
	t := &task{m: m, a: a, at: at, place: p, look: forwardProbe{fs: m.o.FS, homes: m.o.Homes, a: a, place: p}}
	p.Go(inPlace)
	mode, gid, openErr := t.openTop()
	p.Step()
	err := m.o.As(a, gid, func() error {
		defer t.close()
		gone := m.takeThose(w, maxBatch, t.look.all(m.peek(w, maxBatch)))
		t.answerElsewhere(gone)
		if len(gone) > 0 && m.idle(w) || m.wasRefused(w) {
			return nil
		}
		if openErr != nil {
			return openErr
		}
		p.Go(inPlace)
		return t.run(mode, func() []*job {
			jobs := m.inHand(w, t.answerElsewhere(m.take(w, maxBatch)))
			p.Go(inPlace)
			return jobs
		})
	})
	m.inHand(w, nil)
	if t.top != nil {
		t.top.Close() // it was only read through this handle
	}
	for _, tell := range t.results {
		tell()
	}
	return err
}

// wasRefused says that nobody waits for a place any more because its file system
// did not answer.
func (m *Mailboxes) wasRefused(w *waiting) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return w.refused && len(w.jobs) == 0
}

// inHand says which jobs the thread at a place has taken.
func (m *Mailboxes) inHand(w *waiting, jobs []*job) []*job {
	m.mu.Lock()
	defer m.mu.Unlock()
	w.inHand = jobs
	return jobs
}

// openTop opens the mail directory, and returns the mode of mailboxes in it and
// the group in which they are made and read, -1 for the account's own. Other
// directories are for the account to open.
func (t *task) openTop() (mode fs.FileMode, gid int, err error) {
	if t.at.foreign {
		return 0o600, -1, nil
	}
	t.top, err = t.m.o.FS.OpenDir(t.at.top)
	if err != nil {
		return 0, -1, fmt.Errorf("open the mail directory: %w", err)
	}
	info, err := t.top.Lstat(".")
	if err != nil {
		return 0, -1, fmt.Errorf("open the mail directory: %w", err)
	}
	if gid, ok := madeIn(info); ok {
		return 0o660, gid, nil
	}
	return 0o600, -1, nil
}

// madeIn is the group in which mailboxes are made in a mail directory, false if that is
// the account's own.
func madeIn(info disk.Info) (gid int, ok bool) {
	return info.GID, info.Mode.Perm()&0o022 == 0o020 // 2775 root:mail
}

// MadeIn is madeIn for a process that is to write mailboxes in the directory.
func MadeIn(info fs.FileInfo) (gid int, ok bool) { return madeIn(disk.InfoOf(info)) }

// run writes the jobs that take returns, in the way of the place's kind. An
// error means that none was taken.
func (t *task) run(mode fs.FileMode, take func() []*job) error {
	dir, err := t.open()
	if err != nil {
		return err
	}
	if t.at.isMaildir() {
		d := &maildir{task: t, dir: dir}
		return d.run(take)
	}
	b := &mbox{task: t, dir: dir, mode: mode}
	return b.run(take)
}

// task is one thread's work on what waits for a place, with the ids of the
// account.
type task struct {
	m    *Mailboxes
	a    account.Account
	at   place
	look forwardProbe // for mail that goes elsewhere

	place *stalled.Place // told of each step

	top  disk.Dir   // opened before, if it is for us to open
	dirs []disk.Dir // those opened for this task
	made []madeDir  // those of them that were made in it

	results []func() // tell the senders, once the place is unlocked
}

// madeDir is a directory whose name may not be durable yet.
type madeDir struct {
	in   disk.Dir
	name string
}

// answer keeps a job's result until the place is unlocked.
func (t *task) answer(j *job, r local.Result) {
	t.results = append(t.results, func() { j.result <- r })
}

func (t *task) settle(j *job, o outcome.Outcome) { t.answer(j, local.Settle(o)) }

func (t *task) close() {
	for _, d := range t.dirs {
		d.Close() // what was written was synced
	}
	t.look.close()
}

func (t *task) warn(msg string, err error) {
	t.m.o.Log.LogAttrs(context.Background(), slog.LevelWarn, msg,
		maillog.User(t.a.Name), maillog.File(t.at.path()), maillog.Err(err))
}

// open returns the directory of the place. Those in the home directory are made
// where they are missing, but never the home directory.
func (t *task) open() (disk.Dir, error) {
	dir := t.top
	switch {
	case t.at.inHome:
		home, err := t.look.openHome()
		if err != nil {
			return nil, err
		}
		if home == nil {
			return nil, fmt.Errorf("%s has no home directory: there is no %q", t.a.Name, t.a.Home)
		}
		if err := t.checkDir(home, t.a.Home); err != nil {
			return nil, err
		}
		dir = home
	case t.at.foreign:
		opened, err := disk.SearchWay(t.m.o.FS, t.at.top, t.at.check)
		if errors.Is(err, fs.ErrNotExist) && t.at.mend != "" {
			err = fmt.Errorf("%w: %s", err, t.at.mend)
		}
		if err != nil {
			return nil, fmt.Errorf("open the directory of a %s: %w", t.at.word, err)
		}
		t.dirs = append(t.dirs, opened)
		dir = opened
	}
	for i := range t.at.below {
		below := place{top: t.at.top, below: t.at.below[:i+1]}
		next, err := t.descend(dir, t.at.below[i], below.path())
		if err != nil {
			return nil, err
		}
		dir = next
	}
	return dir, nil
}

// descend opens a directory in another, or makes it.
func (t *task) descend(in disk.Dir, name, path string) (disk.Dir, error) {
	dir, err := in.OpenDir(name)
	if errors.Is(err, fs.ErrNotExist) {
		if err := in.Mkdir(name, 0o700); err == nil {
			t.made = append(t.made, madeDir{in, name})
		} else if !errors.Is(err, fs.ErrExist) {
			return nil, fmt.Errorf("make a directory: %w", err)
		}
		dir, err = in.OpenDir(name)
	}
	if errors.Is(err, syscall.ELOOP) || errors.Is(err, syscall.ENOTDIR) {
		return nil, fmt.Errorf("%s is a link or no directory, and must be one: %w", path, err)
	}
	if err != nil {
		return nil, fmt.Errorf("open a directory: %w", err)
	}
	t.dirs = append(t.dirs, dir)
	return dir, t.checkDir(dir, path)
}

// checkDir says why nothing may be written below a directory.
func (t *task) checkDir(dir disk.Dir, path string) error {
	info, err := dir.Lstat(".")
	if err != nil {
		return fmt.Errorf("look at a directory: %w", err)
	}
	if info.UID != t.a.UID && info.UID != 0 {
		return fmt.Errorf("directory %s must not be used: it belongs to uid %d, want %d", path, info.UID, t.a.UID)
	}
	return nil
}

// syncAbove makes the names of the place's directories durable. Whoever made
// them may have died before.
func (t *task) syncAbove() error {
	in, below := t.look.home, t.dirs
	switch {
	case len(t.at.below) == 0:
		return nil
	case !t.at.inHome:
		in, below = t.dirs[0], t.dirs[1:]
	}
	for _, d := range below[:len(t.at.below)] {
		if err := t.syncNames(in); err != nil {
			return err
		}
		in = d
	}
	return nil
}

// syncNames makes the names in a directory durable. After an error those of
// directories that were made there may be lost, whatever a later sync says:
// they go out of the way, and are made anew.
func (t *task) syncNames(in disk.Dir) error {
	err := in.Sync()
	if err == nil {
		return nil
	}
	err = fmt.Errorf("sync a directory: %w", err)
	for _, d := range t.made {
		if d.in == in {
			err = errors.Join(err, in.Rename(d.name, in, "."+d.name+".unsynced"))
		}
	}
	return err
}

// failed is the result of a message that could not be written.
func (t *task) failed(err error) outcome.Outcome {
	err = fmt.Errorf("%s %s: %w", t.at.word, t.at.path(), err)
	if disk.Full(err) {
		return outcome.Deferral("4.2.2", t.at.full(), err)
	}
	if over, ok := errors.AsType[overQuota](err); ok {
		return outcome.Deferral("4.2.2", "mailbox is full, it takes mail when its user has removed some", over)
	}
	if _, ok := errors.AsType[local.BodyError](err); ok {
		return outcome.Deferral("4.3.0", "message was not delivered whole", err)
	}
	return outcome.Deferral("4.2.0", t.at.unwritable(), err)
}
