package mailbox

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"postoffice/deliver/local"
	"postoffice/deliver/local/quota"
	"postoffice/deliver/local/stalled"
	"postoffice/deliver/outcome"
	"postoffice/internal/account"
	"postoffice/internal/disk"
)

const (
	lockWait = 60 * time.Second // A46
	maxBatch = 100              // messages of one batch: bounds how long a lock is held

	maxQuietMail      = 128 // deliveries under way, from which one that hangs may hold up others: half of what a server asks for
	maxQuietQuestions = 8   // the same for questions after a .forward

	maxSynced = 100_000 // mailboxes that are remembered, about 40 octets each
	maxLeft   = 10_000  // locks that are remembered
)

// Mailboxes writes to the mailboxes of one mail directory, and to what stands
// for mailboxes elsewhere. There must be only one for a directory in a process.
type Mailboxes struct {
	o     Options
	busy  *stalled.Places      // one for each thread that writes
	self  lockOwner            // of our dot locks
	alive func(lockOwner) bool // whether the owner of a dot lock still runs
	now   func() time.Time     // for the age of dot locks, and names

	book quota.Book // of Maildirs that have bounds

	host   string        // in names
	random func() uint64 // in names
	count  atomic.Uint64 // in names

	mail, questions atomic.Int64 // deliveries and questions under way

	mu      sync.Mutex                     // guards what follows
	boxes   map[string]*waiting            // by account and place: where something waits or is written
	synced  map[[2]uint64]bool             // mailboxes whose name is known to be durable, by device and inode
	cleaned map[string]time.Time           // Maildirs by account and path: last look for old files
	drafts  map[[2]uint64]map[int][]string // of dot locks, left by processes that were killed, by directory and owner
	left    map[[2]uint64]bool             // dot locks of ours that could not be removed, by device and inode
}

// waiting is the queue of one place; a goroutine serves it while it exists.
type waiting struct {
	jobs    []*job
	inHand  []*job // those that were taken last, and may not be answered yet
	refused bool   // some were told that their file system does not answer
}

// job is one delivery on its way.
type job struct {
	d      local.Delivery
	result chan local.Result // buffered: the writer never waits
	hangs  chan local.Result // buffered: what is told of one that was taken and hangs
}

// New opens nothing yet: a directory that is not there now may be
// mounted later.
func New(o Options) *Mailboxes {
	o.LockWait = cmp.Or(o.LockWait, lockWait)
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.As == nil {
		o.As = func(_ account.Account, _ int, f func() error) error { return f() }
	}
	if o.Hostname == "" {
		o.Hostname, _ = os.Hostname() // a name that isn't known becomes localhost
	}
	return &Mailboxes{
		o:       o,
		self:    ourselves(),
		alive:   lockOwner.alive,
		now:     time.Now,
		host:    hostInNames(o.Hostname),
		random:  rand.Uint64,
		busy:    stalled.New(o.Mounts),
		boxes:   map[string]*waiting{},
		synced:  map[[2]uint64]bool{},
		cleaned: map[string]time.Time{},
		drafts:  map[[2]uint64]map[int][]string{},
		left:    map[[2]uint64]bool{},
	}
}

// Deliver writes d to where its user's mail goes and waits until it is synced,
// refused or deferred, or known to be for a .forward. Calls for one place that
// wait together are written together. When ctx ends, a delivery that has not
// begun is deferred at once; one that has begun takes its course, so that Body
// must not block for ever. Deliver never returns while Body is in use.
func (m *Mailboxes) Deliver(ctx context.Context, d local.Delivery) local.Result {
	return m.DeliverOr(ctx, d, func(local.Result) {})
}

// DeliverOr is Deliver. If the delivery hangs in a file system that doesn't
// answer, it calls hangs once with what can be told meanwhile; the result may be
// another.
func (m *Mailboxes) DeliverOr(ctx context.Context, d local.Delivery, hangs func(local.Result)) local.Result {
	a, o, ok := m.account(ctx, d.User)
	if !ok {
		return local.Settle(o)
	}
	at, err := m.place(a, d.Folder)
	if err != nil {
		return local.Settle(outcome.Deferral("4.3.5", "there is no such folder", err))
	}
	return m.deliver(ctx, a, at, d, hangs)
}

// AppendFile appends a message to the file with that path, as Deliver does to a
// mailbox. check says what is wrong with the way to its directory. /dev/null
// takes everything.
func (m *Mailboxes) AppendFile(ctx context.Context, a account.Account, path string, check func(way []disk.Step) error, body io.Reader) local.Result {
	at, err := filePlace(path)
	at.check = check
	if err != nil {
		return local.Settle(outcome.Deferral("4.3.5", at.unavailable(), err))
	}
	if path == os.DevNull {
		if _, err := io.Copy(io.Discard, body); err != nil {
			return local.Settle(outcome.Deferral("4.3.0", "message was not delivered whole", fmt.Errorf("read the message: %w", err)))
		}
		return local.Settle(at.delivered(a))
	}
	return m.deliver(ctx, a, at, local.Delivery{User: a.Name, Body: body, Size: -1, Final: true}, func(local.Result) {})
}

func (m *Mailboxes) deliver(ctx context.Context, a account.Account, at place, d local.Delivery, hangs func(local.Result)) local.Result {
	m.mail.Add(1)
	here := true
	leave := func() {
		if here {
			m.mail.Add(-1)
		}
		here = false
	}
	defer leave()
	j := &job{d: d, result: make(chan local.Result, 1), hangs: make(chan local.Result, 1)}
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
	case r := <-j.result:
		return r
	case r := <-j.hangs:
		leave() // it is nobody's room any more
		hangs(r)
		return <-j.result
	case <-ctx.Done():
		if m.withdraw(key, j) {
			return local.Settle(outcome.Deferral("4.3.0", "local delivery was interrupted", context.Cause(ctx)))
		}
		return <-j.result
	}
}

// account finds the user and says why it can't have a mailbox.
func (m *Mailboxes) account(ctx context.Context, user string) (a account.Account, o outcome.Outcome, ok bool) {
	if _, domain, ok := account.SplitVirtual(user); ok {
		return m.o.Virtual.account(user, domain)
	}
	a, err := m.o.Accounts.Lookup(ctx, user)
	switch {
	case errors.Is(err, account.ErrNoUser):
		return a, outcome.Refusal("5.1.1", "no such user here", err), false
	case err != nil:
		return a, outcome.Deferral("4.3.0", "local users can't be looked up now", err), false
	}
	if err := a.CheckMailbox(); err != nil {
		return a, outcome.Deferral("4.2.0", "no mailbox can be this user's", err), false
	}
	return a, outcome.Outcome{}, true
}

// Owner is the account whose process may write a user's mailbox, or says why there is
// none.
func (m *Mailboxes) Owner(ctx context.Context, user string) (a account.Account, o outcome.Outcome, ok bool) {
	a, o, ok = m.account(ctx, user)
	if _, _, virtual := account.SplitVirtual(user); ok && virtual {
		a = m.o.Virtual.User
	}
	return a, o, ok
}

// Ways are the paths that a delivery to an account's mailbox goes to, as Hangs numbers them.
func (m *Mailboxes) Ways(a account.Account) []string {
	at, err := m.place(a, "")
	if err != nil {
		return []string{inHome: a.Home, inPlace: a.Home}
	}
	return []string{inHome: a.Home, inPlace: at.path()}
}

// Hangs says whether something was left behind in a file system that doesn't answer, and
// which of Ways leads there.
func (m *Mailboxes) Hangs() (way int, yes bool) { return m.busy.Hangs() }

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
func (m *Mailboxes) serve(key string, a account.Account, at place, w *waiting) {
	for {
		err := m.waitAndWrite(a, at, w)
		if err != nil { // before anything was taken
			for _, j := range m.take(w, math.MaxInt) {
				j.result <- local.Settle(at.closed(err))
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

// leave remembers a dot lock of ours that could not be removed, or that it was.
func (m *Mailboxes) leave(lock disk.Info, there bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	id := [2]uint64{lock.Dev, lock.Ino}
	if !there {
		delete(m.left, id)
		return
	}
	if len(m.left) >= maxLeft {
		clear(m.left) // they are stale when they are old
	}
	m.left[id] = true
}

// hasLeft reports whether a lock is one that could not be removed.
func (m *Mailboxes) hasLeft(lock disk.Info) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.left[[2]uint64{lock.Dev, lock.Ino}]
}
