package local

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	lockWait = 60 * time.Second // A46
	maxBatch = 100              // messages of one batch: bounds how long a lock is held
	maxBusy  = 64               // mailboxes being written at once, each by one thread

	maxSynced = 100_000 // mailboxes that are remembered, about 40 octets each
)

// Mailboxes writes to the mailboxes of one mail directory, and to what stands
// for mailboxes elsewhere. There must be only one for a directory in a process.
type Mailboxes struct {
	o     Options
	busy  chan struct{}     // a place for each thread that writes
	self  holder            // of our dot locks
	alive func(holder) bool // whether the holder of a dot lock still runs
	now   func() time.Time  // for the age of dot locks, and names

	host   string        // in names
	random func() uint64 // in names
	count  atomic.Uint64 // in names

	mu      sync.Mutex           // guards what follows
	boxes   map[string]*waiting  // by account and place: where something waits or is written
	synced  map[[2]uint64]bool   // mailboxes whose name is known to be durable, by device and inode
	cleaned map[string]time.Time // Maildirs by account and path: last look for old files
}

// waiting is the queue of one place; a goroutine serves it while it exists.
type waiting struct {
	jobs []*job
}

// job is one delivery on its way.
type job struct {
	d      Delivery
	result chan Result // buffered: the writer never waits
}

// NewMailboxes opens nothing yet: a directory that is not there now may be
// mounted later.
func NewMailboxes(o Options) *Mailboxes {
	o.LockWait = cmp.Or(o.LockWait, lockWait)
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.As == nil {
		o.As = func(_ Account, _ int, f func() error) error { return f() }
	}
	if o.Hostname == "" {
		o.Hostname, _ = os.Hostname() // a name that isn't known becomes localhost
	}
	return &Mailboxes{
		o:       o,
		self:    ourselves(),
		alive:   holder.alive,
		now:     time.Now,
		host:    hostInNames(o.Hostname),
		random:  rand.Uint64,
		busy:    make(chan struct{}, maxBusy),
		boxes:   map[string]*waiting{},
		synced:  map[[2]uint64]bool{},
		cleaned: map[string]time.Time{},
	}
}

// Deliver writes d to where its user's mail goes and waits until it is synced,
// refused or deferred, or known to be for a .forward. Calls for one place that
// wait together are written together. When ctx ends, a delivery that has not
// begun is deferred at once; one that has begun takes its course, so that Body
// must not block for ever. Deliver never returns while Body is in use.
func (m *Mailboxes) Deliver(ctx context.Context, d Delivery) Result {
	a, res, ok := m.account(ctx, d.User)
	if !ok {
		return res
	}
	at, err := m.place(a, d.Folder)
	if err != nil {
		return deferred("4.3.5", "there is no such folder", err)
	}
	return m.deliver(ctx, a, at, d)
}

// appendFile appends a message to the file with that path, as Deliver does to a
// mailbox. /dev/null takes everything.
func (m *Mailboxes) appendFile(ctx context.Context, a Account, path string, body io.Reader) Result {
	at, err := filePlace(path)
	if err != nil {
		return deferred("4.3.5", at.unavailable(), err)
	}
	if path == os.DevNull {
		if _, err := io.Copy(io.Discard, body); err != nil {
			return deferred("4.3.0", "message was not delivered whole", fmt.Errorf("read the message: %w", err))
		}
		return at.delivered(a)
	}
	return m.deliver(ctx, a, at, Delivery{User: a.Name, Body: body, Size: -1, Final: true})
}

func (m *Mailboxes) deliver(ctx context.Context, a Account, at place, d Delivery) Result {
	j := &job{d: d, result: make(chan Result, 1)}
	key := a.Name + " " + at.path()
	m.mu.Lock()
	w := m.boxes[key]
	if w == nil {
		w = &waiting{}
		m.boxes[key] = w
		go m.serve(key, a, at, w)
	}
	w.jobs = append(w.jobs, j)
	m.mu.Unlock()

	select {
	case res := <-j.result:
		return res
	case <-ctx.Done():
		if m.withdraw(key, j) {
			return deferred("4.3.0", "local delivery was interrupted", context.Cause(ctx))
		}
		return <-j.result
	}
}

// account finds the user and says what is wrong if he can't have a mailbox.
func (m *Mailboxes) account(ctx context.Context, user string) (a Account, res Result, ok bool) {
	a, err := m.o.Accounts.Lookup(ctx, user)
	switch {
	case errors.Is(err, ErrNoUser):
		return a, refused("5.1.1", "no such user here", err), false
	case err != nil:
		return a, deferred("4.3.0", "local users can't be looked up now", err), false
	}
	if err := CheckName(a.Name); err != nil {
		return a, deferred("4.2.0", "no mailbox can have this user's name", fmt.Errorf("account %q: %w", a.Name, err)), false
	}
	if a.UID == 0 && a.Name != "root" { // A43: root's own plain mailbox, nothing else with uid 0
		err := fmt.Errorf("account %s has uid 0 and is not root: give it an alias", a.Name)
		return a, deferred("4.2.0", "mailbox is not available", err), false
	}
	return a, Result{}, true
}

// withdraw takes back a job that no batch holds yet.
func (m *Mailboxes) withdraw(key string, j *job) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	w := m.boxes[key]
	if w == nil {
		return false
	}
	for i, other := range w.jobs {
		if other == j {
			w.jobs = append(w.jobs[:i], w.jobs[i+1:]...)
			return true
		}
	}
	return false
}

// take moves what waits for the mailbox, at most most jobs, to the caller.
func (m *Mailboxes) take(w *waiting, most int) []*job {
	return m.takeThose(w, most, func(*job) bool { return true })
}

// takeThose is take for the jobs that want picks.
func (m *Mailboxes) takeThose(w *waiting, most int, want func(*job) bool) (taken []*job) {
	m.mu.Lock()
	defer m.mu.Unlock()
	w.jobs = slices.DeleteFunc(w.jobs, func(j *job) bool {
		take := len(taken) < most && want(j)
		if take {
			taken = append(taken, j)
		}
		return take
	})
	return taken
}

// peek returns what waits for the mailbox and leaves it there.
func (m *Mailboxes) peek(w *waiting, most int) []*job {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(w.jobs[:min(len(w.jobs), most)])
}

// idle reports whether nothing waits any more.
func (m *Mailboxes) idle(w *waiting) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(w.jobs) == 0
}

// serve writes batch after batch until nothing waits for the place.
func (m *Mailboxes) serve(key string, a Account, at place, w *waiting) {
	for {
		err := m.waitAndWrite(a, at, w)
		if err != nil { // before anything was taken
			for _, j := range m.take(w, math.MaxInt) {
				j.result <- at.closed(err)
			}
		}
		m.mu.Lock()
		done := len(w.jobs) == 0
		if done {
			delete(m.boxes, key) // the next Deliver begins anew
		}
		m.mu.Unlock()
		if done {
			return
		}
	}
}

// waitAndWrite writes one batch as soon as the mailbox's locks can be had. The
// wait holds neither a thread nor a place.
func (m *Mailboxes) waitAndWrite(a Account, at place, w *waiting) error {
	var (
		end   = time.Now().Add(m.o.LockWait)
		pause = 10 * time.Millisecond
	)
	for !m.idle(w) {
		m.busy <- struct{}{}
		err := m.write(a, at, w)
		<-m.busy
		if !errors.Is(err, errLocked) {
			return err
		}
		if time.Now().Add(pause).After(end) {
			return fmt.Errorf("%w for %v", err, m.o.LockWait)
		}
		time.Sleep(pause)
		pause = min(2*pause, 250*time.Millisecond)
	}
	return nil
}

// write lets a thread with the account's ids write one batch of what waits for
// the place, once that is locked; before that it answers for what a .forward
// takes elsewhere. An error means that it took nothing else.
func (m *Mailboxes) write(a Account, at place, w *waiting) error {
	t := &turn{m: m, a: a, at: at, look: lookout{fs: m.o.FS, a: a}}
	mode, gid, openErr := t.openTop()
	err := m.o.As(a, gid, func() error {
		defer t.close()
		gone := m.takeThose(w, maxBatch, t.look.all(m.peek(w, maxBatch)))
		t.answerElsewhere(gone)
		if len(gone) > 0 && m.idle(w) {
			return nil
		}
		if openErr != nil {
			return openErr
		}
		return t.run(mode, func() []*job { return t.answerElsewhere(m.take(w, maxBatch)) })
	})
	if t.top != nil {
		t.top.Close() // it was only read through this handle
	}
	for _, tell := range t.results {
		tell()
	}
	return err
}

// openTop opens the mail directory, and returns the mode of mailboxes in it and
// the group in which they are made and read, -1 for the account's own. Other
// directories are for the account to open.
func (t *turn) openTop() (mode fs.FileMode, gid int, err error) {
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
	if info.Mode.Perm()&0o022 == 0o020 { // 2775 root:mail
		return 0o660, info.GID, nil
	}
	return 0o600, -1, nil
}

// run writes the jobs that take returns, in the way of the place's kind. An
// error means that none was taken.
func (t *turn) run(mode fs.FileMode, take func() []*job) error {
	dir, err := t.open()
	if err != nil {
		return err
	}
	if t.at.isMaildir() {
		d := &maildir{turn: t, dir: dir}
		return d.run(take)
	}
	b := &batch{turn: t, dir: dir, mode: mode}
	return b.run(take)
}

// isSynced reports whether the name of the mailbox with this device and inode
// is known to be durable.
func (m *Mailboxes) isSynced(id [2]uint64) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.synced[id]
}

func (m *Mailboxes) setSynced(id [2]uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.synced) >= maxSynced {
		clear(m.synced)
	}
	m.synced[id] = true
}
