package local

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"sync"
	"time"
)

const (
	lockWait = 60 * time.Second // A46
	maxBatch = 100              // messages of one batch: bounds how long a lock is held
	maxBusy  = 64               // mailboxes being written at once, each by one thread

	maxSynced = 100_000 // mailboxes that are remembered, about 40 octets each
)

// Mailboxes writes to the mailboxes of one mail directory. There must be only
// one for a directory in a process.
type Mailboxes struct {
	o     Options
	busy  chan struct{}     // a place for each thread that writes
	self  holder            // of our dot locks
	alive func(holder) bool // whether the holder of a dot lock still runs
	now   func() time.Time  // for the age of dot locks

	mu     sync.Mutex          // guards what follows
	boxes  map[string]*waiting // accounts for which something waits or is written
	synced map[[2]uint64]bool  // mailboxes whose name is known to be durable, by device and inode
}

// waiting is the queue of one mailbox; a goroutine serves it while it exists.
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
	return &Mailboxes{
		o:      o,
		self:   ourselves(),
		alive:  holder.alive,
		now:    time.Now,
		busy:   make(chan struct{}, maxBusy),
		boxes:  map[string]*waiting{},
		synced: map[[2]uint64]bool{},
	}
}

// Deliver appends d to the mailbox of its user and waits until it is synced,
// refused or deferred, or known to be for a .forward. Calls for one mailbox that wait together are written
// together. When ctx ends, a delivery that has not begun is deferred at once;
// one that has begun takes its course, so that Body must not block for ever.
// Deliver never returns while Body is in use.
func (m *Mailboxes) Deliver(ctx context.Context, d Delivery) Result {
	a, res, ok := m.account(ctx, d.User)
	if !ok {
		return res
	}
	j := &job{d: d, result: make(chan Result, 1)}
	m.mu.Lock()
	w := m.boxes[a.Name]
	if w == nil {
		w = &waiting{}
		m.boxes[a.Name] = w
		go m.serve(a, w)
	}
	w.jobs = append(w.jobs, j)
	m.mu.Unlock()

	select {
	case res := <-j.result:
		return res
	case <-ctx.Done():
		if m.withdraw(a.Name, j) {
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
func (m *Mailboxes) withdraw(name string, j *job) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	w := m.boxes[name]
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

// serve writes batch after batch until nothing waits for the mailbox.
func (m *Mailboxes) serve(a Account, w *waiting) {
	for {
		err := m.waitAndWrite(a, w)
		if err != nil { // before anything was taken
			for _, j := range m.take(w, math.MaxInt) {
				j.result <- deferred("4.2.0", "mailbox is not available", err)
			}
		}
		m.mu.Lock()
		done := len(w.jobs) == 0
		if done {
			delete(m.boxes, a.Name) // the next Deliver begins anew
		}
		m.mu.Unlock()
		if done {
			return
		}
	}
}

// waitAndWrite writes one batch as soon as the mailbox's locks can be had. The
// wait holds neither a thread nor a place.
func (m *Mailboxes) waitAndWrite(a Account, w *waiting) error {
	var (
		end   = time.Now().Add(m.o.LockWait)
		pause = 10 * time.Millisecond
	)
	for !m.idle(w) {
		m.busy <- struct{}{}
		err := m.write(a, w)
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
// the mailbox, once that is locked; before that it answers for what a .forward
// takes elsewhere.
func (m *Mailboxes) write(a Account, w *waiting) error {
	b := &batch{m: m, a: a, mode: 0o600, look: lookout{fs: m.o.FS, a: a}}
	gid, openErr := b.openMailDir()
	err := m.o.As(a, gid, func() error {
		defer b.look.close()
		gone := m.takeThose(w, maxBatch, b.look.all(m.peek(w, maxBatch)))
		b.answerElsewhere(gone)
		if len(gone) > 0 && m.idle(w) {
			return nil
		}
		if openErr != nil {
			return openErr
		}
		return b.run(func() []*job { return m.take(w, maxBatch) })
	})
	if b.dir != nil {
		b.dir.Close() // it was only read through this handle
	}
	for _, tell := range b.results {
		tell()
	}
	return err
}

// openMailDir opens the directory of the mailbox and returns the group in which
// mailboxes are made and read, -1 for the account's own.
func (b *batch) openMailDir() (gid int, err error) {
	b.dir, err = b.m.o.FS.OpenDir(b.m.o.Dir)
	if err != nil {
		return -1, fmt.Errorf("open the mail directory: %w", err)
	}
	info, err := b.dir.Lstat(".")
	if err != nil {
		return -1, fmt.Errorf("open the mail directory: %w", err)
	}
	if info.Mode.Perm()&0o022 != 0o020 {
		return -1, nil
	}
	b.mode = 0o660 // 2775 root:mail
	return info.GID, nil
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
