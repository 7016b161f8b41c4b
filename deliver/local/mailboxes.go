package local

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
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
// refused or deferred. Calls for one mailbox that wait together are written
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
	m.mu.Lock()
	defer m.mu.Unlock()
	n := min(len(w.jobs), most)
	jobs := w.jobs[:n:n]
	w.jobs = w.jobs[n:]
	return jobs
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
		err := m.write(a, func() []*job { return m.take(w, maxBatch) })
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

// write opens the mail directory and lets a thread with the account's ids
// write one batch of the jobs that take returns once the mailbox is locked.
func (m *Mailboxes) write(a Account, take func() []*job) error {
	dir, err := m.o.FS.OpenDir(m.o.Dir)
	if err != nil {
		return fmt.Errorf("open the mail directory: %w", err)
	}
	defer dir.Close()
	info, err := dir.Lstat(".")
	if err != nil {
		return fmt.Errorf("open the mail directory: %w", err)
	}
	b := &batch{m: m, a: a, dir: dir, mode: 0o600}
	gid := -1
	if info.Mode.Perm()&0o022 == 0o020 { // 2775 root:mail: the group makes and reads mailboxes
		b.mode, gid = 0o660, info.GID
	}
	err = m.o.As(a, gid, func() error { return b.run(take) })
	for _, tell := range b.results {
		tell()
	}
	return err
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
