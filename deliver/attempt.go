package deliver

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"postoffice/deliver/local"
	"postoffice/internal/maillog"
	"postoffice/internal/smtp"
	"postoffice/spool"
)

// An attempt is the work on one message from its claim to its close. Its
// goroutine alone records; deliveries send it their answers.
type attempt struct {
	r       *Runner
	s       *settings
	it      *item
	m       *spool.Message
	id      spool.ID
	forced  time.Time       // attempts before this do not count
	stop    context.Context // ended: begin nothing
	work    context.Context // ended: break off
	answers chan []answer
	routed  chan routed
	called  chan struct{} // a gate that was full has room

	env   spool.Envelope      // without its recipients
	leads map[spool.Key]*Lead // of what has been expanded
	added map[spool.Key]int   // recipients below one of the envelope, or a member of a list
	// children are the keys of what each recipient was expanded to; nil: not
	// looked up yet.
	children map[spool.Key][]spool.Key
	renewed  map[int]bool       // blocks that this attempt put in the place of what had vanished
	missed   map[spool.Key]bool // items that were not there in this attempt
	reroute  bool               // what is pending goes where the files say now
	notes    map[spool.Key]*lastNote
	number   int // of this attempt

	domains    map[string][]spool.Key // whose route is to be found
	had        *had                   // what earlier attempts reached; nil: not looked up yet
	boxes      map[string]*box        // by account
	letters    []*target              // for mailboxes, to be begun
	items      map[spool.Agent]*target
	errands    []*target          // to programs, files and lists, to be begun
	hops       map[string]*hop    // by next hop and reverse-path: not yet on their way
	remotes    map[string]*target // by address
	trace      *trace             // of the header; nil: not read yet
	open       int                // answers to come
	routing    int                // routes to come
	routeSlots chan struct{}
	boxesOpen  int // mailboxes that are being written

	failed     []failure
	late       []failure // deferred now; too old, perhaps
	next       time.Time // when the deferred are due, by the wall clock
	busy       []refused
	dead       atomic.Bool
	unreported error // why a report could not be queued
	broken     bool  // nothing can be recorded any more
	held       bool  // it is in hold/ now
}

// lastNote is what a message's notes say of a recipient.
type lastNote struct {
	attempt  int
	at, next time.Time
}

// A target is where one or more recipients, spelt differently perhaps, go.
type target struct {
	path    smtp.Path // of one elsewhere
	params  []smtp.Param
	keys    []spool.Key
	done    bool   // it has been answered for
	ended   Action // how, with done; an expansion is Delivered
	*errand        // nil elsewhere
}

// An errand is what a target here has besides.
type errand struct {
	name      string // the user with whose rights it is done; of a mailbox the account
	reverse   smtp.Path
	extension string // the detail of user+detail
	final     bool   // into the mailbox whatever .forward says
	folder    string // see local.Delivery
	step      Step
	box       *box // of a mailbox
	again     bool // of a list: it is read anew, for what it was expanded to before
	begun     bool // a goroutine works on it
}

// An answer is the outcome for a target, or for recipients without one.
type answer struct {
	t          *target
	keys       []spool.Key
	outcome    Outcome
	asked      *Step        // instead of an outcome: this list was read
	lines      []local.Line // of it
	forwarded  bool         // instead of an outcome: there is a .forward
	changed    bool         // an item is not there any more; outcome where that is no help
	skipped    bool         // nothing was tried and nothing is to be noted
	remembered bool         // the words are an earlier message's
	token      string       // of a local delivery
	took       time.Duration
}

// A failure is a recipient that has an outcome to tell the sender.
type failure struct {
	key     spool.Key
	outcome *Outcome
	tried   bool // by this message, now or before
	expired bool
}

// workOn makes one attempt at a message and puts it where it belongs then.
func (r *Runner) workOn(it *item) {
	m, err := r.queue.Claim(it.id)
	if err != nil {
		r.unclaimed(it, err)
		return
	}
	a := &attempt{
		r: r, s: r.settings.Load(), it: it, m: m, id: it.id,
		answers: make(chan []answer), routed: make(chan routed), called: make(chan struct{}, 1),
		leads: map[spool.Key]*Lead{}, added: map[spool.Key]int{}, renewed: map[int]bool{}, missed: map[spool.Key]bool{},
		domains: map[string][]spool.Key{}, boxes: map[string]*box{}, items: map[spool.Agent]*target{},
		hops: map[string]*hop{}, remotes: map[string]*target{},
	}
	r.mu.Lock()
	a.stop, a.work = r.stop, r.work
	a.reroute, it.reroute = it.reroute, false
	if it.force != 0 {
		a.forced = a.s.Now().Add(-time.Duration(r.sched.now() - it.force))
	}
	r.mu.Unlock()
	end := a.run()
	a.tellEnd()
	if err := m.Close(); err != nil && !errors.Is(err, spool.ErrClosed) {
		a.log(slog.LevelWarn, "message not closed", maillog.Err(err))
	}
	r.mu.Lock()
	it.called = nil
	r.dropTicket(it)
	end()
	r.mu.Unlock()
}

// unclaimed says what follows when a message can't be worked on.
func (r *Runner) unclaimed(it *item, err error) {
	r.tellUnopened(it.id, errors.Is(err, spool.ErrBusy))
	r.mu.Lock()
	defer r.mu.Unlock()
	r.dropTicket(it)
	switch {
	case errors.Is(err, spool.ErrGone), errors.Is(err, spool.ErrCorrupt):
		r.sched.forget(it) // what is corrupt the spool has logged and set aside
	case errors.Is(err, spool.ErrBusy):
		r.sched.putBack(it, busyWait)
	default:
		wait := retryDelay(1)
		r.sched.putBack(it, wait)
		r.warn("message not readable", maillog.QueueID(it.id), maillog.Err(err), maillog.Next(time.Now().Add(wait)))
	}
}

// run is the attempt; what it returns puts the item back, under mu.
func (a *attempt) run() (end func()) {
	a.read()
	due := a.due()
	if len(due) == 0 && a.pending() {
		return a.putBack()
	}
	if a.stop.Err() != nil {
		return func() { a.r.sched.putBack(a.it, 0) }
	}
	if len(due) > 0 {
		a.plan(due)
		a.collect()
		a.conclude()
	}
	if a.broken {
		return func() { a.r.sched.setAside(a.it) }
	}
	if a.held {
		return func() { a.r.sched.forget(a.it) }
	}
	if a.pending() {
		return a.putBack()
	}
	if err := a.m.Finish(); err != nil {
		a.log(slog.LevelWarn, "message not removed", maillog.Err(err))
		return func() { a.r.sched.putBack(a.it, retryDelay(1)) }
	}
	a.log(slog.LevelInfo, "message removed", maillog.Delay(a.delay()))
	return func() { a.r.sched.forget(a.it) }
}

// putBack says when the message is looked at again: when one of the busy
// destinations has room, else when its deferred recipients are due.
func (a *attempt) putBack() func() {
	if len(a.busy) > 0 {
		return func() { a.r.parkAt(a.busy, a.it) }
	}
	wait := a.next.Sub(a.s.Now())
	if a.next.IsZero() { // nothing was tried: the runner is to stop
		wait = 0
		if a.stop.Err() == nil {
			wait = retryDelay(1)
		}
	}
	wait = min(max(wait, 0), maxDelay) // notes of a clock that was wrong (A40)
	return func() { a.r.sched.putBack(a.it, wait) }
}

// read takes recipients and notes from the message.
func (a *attempt) read() {
	a.env = a.m.Envelope()
	a.env.Recipients = nil
	a.notes = map[spool.Key]*lastNote{}
	for n, err := range a.m.Notes() {
		if err != nil { // hints: an early attempt
			a.log(slog.LevelWarn, "notes not readable", maillog.Err(err))
			return
		}
		if n.Event != "" {
			continue
		}
		last := &lastNote{n.Attempt, n.Time, n.Next}
		for _, k := range n.Keys {
			a.notes[k] = last
		}
	}
}

// due returns the pending recipients whose time has come, and counts the
// attempt. A note from a clock that was ahead is not believed. With reroute all
// are due, also behind a gate where the message was parked.
func (a *attempt) due() []spool.Key {
	now := a.s.Now()
	var due []spool.Key
	for rc := range a.m.Pending() {
		n := a.notes[rc.Key]
		if n == nil {
			n = &lastNote{}
		}
		wait := n.next.Sub(now)
		if !a.reroute && !n.at.Before(a.forced) && wait > 0 && wait <= maxDelay {
			a.next = latest(a.next, n.next)
			continue
		}
		a.number = max(a.number, n.attempt+1)
		due = append(due, rc.Key)
	}
	return due
}

func (a *attempt) pending() bool {
	for range a.m.Pending() {
		return true
	}
	return false
}

// collect starts deliveries as soon as it is known where they go, and records
// answers, until none is to come. What goes to one next hop leaves together
// if all routes are found soon.
func (a *attempt) collect() {
	soon := time.NewTimer(routeWait)
	defer soon.Stop()
	late := false
	for {
		a.startErrands()
		a.startRoutes()
		if a.routing == 0 || late {
			a.startHops()
		}
		if a.routing == 0 {
			a.dropUseless()
		}
		if a.open == 0 && a.routing == 0 {
			return
		}
		if a.waitToo() {
			continue
		}
		select {
		case <-a.called:
			a.again()
		case answers := <-a.answers:
			a.open--
			a.record(a.more(answers))
		case rt := <-a.routed:
			a.routing--
			a.follow(rt)
		case <-soon.C:
			late = true
		}
	}
}

// more adds the answers that are there already: they are recorded with one
// sync.
func (a *attempt) more(answers []answer) []answer {
	for {
		select {
		case x := <-a.answers:
			a.open--
			answers = append(answers, x...)
		default:
			return answers
		}
	}
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func itoa(n int) string { return strconv.Itoa(n) }

// sorted returns the keys of a map in order.
func sorted[K cmp.Ordered, V any](m map[K]V) []K {
	keys := make([]K, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
