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

	rcpts  map[spool.Key]spool.Recipient
	notes  map[spool.Key]lastNote
	number int // of this attempt

	domains    map[string][]spool.Recipient // whose route is to be found
	boxes      map[string]*target           // by account
	hops       map[string]*hop              // by next hop and reverse-path: not yet on their way
	remotes    map[string]*target           // by address
	trace      *trace                       // of the header; nil: not read yet
	open       int                          // answers to come
	routing    int                          // routes to come
	routeSlots chan struct{}
	boxSlots   chan struct{}

	failed []failure
	late   []failure // deferred now; too old, perhaps
	next   time.Time // when the deferred are due, by the wall clock
	busy   *gate     // that could not take some recipient
	dead   atomic.Bool
	broken bool // nothing can be recorded any more
	held   bool // it is in hold/ now
}

// lastNote is what a message's notes say of a recipient.
type lastNote struct {
	attempt  int
	at, next time.Time
}

// A target is where one or more recipients, spelt differently perhaps, go.
type target struct {
	name    string // the account
	path    smtp.Path
	params  []smtp.Param
	reverse smtp.Path
	keys    []spool.Key
	begun   bool // its delivery has been started
	done    bool // it has been answered for
}

// An answer is the outcome for a target, or for recipients without one.
type answer struct {
	t          *target
	keys       []spool.Key
	outcome    Outcome
	skipped    bool   // nothing was tried and nothing is to be noted
	remembered bool   // the words are an earlier message's
	token      string // of a local delivery
	took       time.Duration
}

// A failure is a recipient that has an outcome to tell the sender.
type failure struct {
	rcpt    spool.Recipient
	outcome Outcome
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
		answers: make(chan []answer), routed: make(chan routed),
		domains: map[string][]spool.Recipient{}, boxes: map[string]*target{},
		hops: map[string]*hop{}, remotes: map[string]*target{},
	}
	r.mu.Lock()
	a.stop, a.work = r.stop, r.work
	if it.force != 0 {
		a.forced = a.s.Now().Add(-time.Duration(r.sched.now() - it.force))
	}
	r.mu.Unlock()
	end := a.run()
	if err := m.Close(); err != nil && !errors.Is(err, spool.ErrClosed) {
		a.log(slog.LevelWarn, "message not closed", maillog.Err(err))
	}
	r.mu.Lock()
	end()
	r.mu.Unlock()
}

// unclaimed says what follows when a message can't be worked on.
func (r *Runner) unclaimed(it *item, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
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

// putBack says when the message is looked at again: when a busy destination
// has room, else when its deferred recipients are due.
func (a *attempt) putBack() func() {
	if a.busy != nil {
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
	a.rcpts = map[spool.Key]spool.Recipient{}
	for rc := range a.m.Recipients() {
		a.rcpts[rc.Key] = rc
	}
	a.notes = map[spool.Key]lastNote{}
	for n, err := range a.m.Notes() {
		if err != nil { // hints: an early attempt
			a.log(slog.LevelWarn, "notes not readable", maillog.Err(err))
			return
		}
		if n.Event != "" {
			continue
		}
		for _, k := range n.Keys {
			a.notes[k] = lastNote{n.Attempt, n.Time, n.Next}
		}
	}
}

// due returns the pending recipients whose time has come, and counts the
// attempt. A note from a clock that was ahead is not believed.
func (a *attempt) due() []spool.Recipient {
	now := a.s.Now()
	var due []spool.Recipient
	for rc := range a.m.Pending() {
		n, tried := a.notes[rc.Key]
		wait := n.next.Sub(now)
		if tried && !n.at.Before(a.forced) && wait > 0 && wait <= maxDelay {
			a.next = latest(a.next, n.next)
			continue
		}
		a.number = max(a.number, n.attempt+1)
		due = append(due, rc)
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
		a.startBoxes()
		a.startRoutes()
		if a.routing == 0 || late {
			a.startHops()
		}
		if a.open == 0 && a.routing == 0 {
			return
		}
		select {
		case answers := <-a.answers:
			a.open--
			a.record(answers)
		case rt := <-a.routed:
			a.routing--
			a.follow(rt)
		case <-soon.C:
			late = true
		}
	}
}

// record writes down what is known now. After the first failure to do so
// nothing more is tried or recorded (A38).
func (a *attempt) record(answers []answer) {
	var done []spool.Key
	for i := range answers {
		x := &answers[i]
		if x.t != nil {
			x.keys, x.t.done = x.t.keys, true
		}
		if x.outcome.Action == Delivered && !x.skipped {
			done = append(done, x.keys...)
		}
	}
	if a.broken || !a.setState(done, spool.Delivered) {
		return
	}
	for _, x := range answers {
		if x.skipped {
			continue
		}
		switch x.outcome.Action {
		case Delivered:
			a.logRecipients(x, "message delivered", maillog.Sent)
		case Bounced:
			a.fail(x)
		default:
			a.postpone(x)
		}
		if x.token != "" {
			a.s.Local.Recorded(x.token)
		}
	}
}

// setState records a state and says whether that worked.
func (a *attempt) setState(keys []spool.Key, state spool.State) bool {
	if len(keys) == 0 {
		return true
	}
	if err := a.m.Record(keys, state); err != nil {
		a.setBroken(err)
		return false
	}
	for _, k := range keys {
		rc := a.rcpts[k]
		rc.State = state
		a.rcpts[k] = rc
	}
	return true
}

// setBroken ends all work on the message: what was delivered can't be
// recorded.
func (a *attempt) setBroken(err error) {
	a.broken = true
	a.dead.Store(true)
	a.log(slog.LevelError, "delivery not recorded, message set aside until the next start", maillog.Err(err))
}

// fail keeps a permanent failure for the bounce at the attempt's end.
func (a *attempt) fail(x answer) {
	for _, k := range x.keys {
		a.failed = append(a.failed, failure{rcpt: a.rcpts[k], outcome: x.outcome, tried: true})
	}
	a.note(x, time.Time{})
}

// postpone notes a deferral.
func (a *attempt) postpone(x answer) {
	next := a.s.Now().Add(retryDelay(a.number))
	a.next = latest(a.next, next)
	for _, k := range x.keys {
		tried := !x.remembered || a.notes[k].attempt > 0
		a.late = append(a.late, failure{rcpt: a.rcpts[k], outcome: x.outcome, tried: tried})
	}
	a.note(x, next)
	a.logRecipients(x, "delivery deferred", maillog.Deferred, maillog.Attempt(a.number), maillog.Next(next))
}

// note appends a hint. That it can't be written costs an early retry.
func (a *attempt) note(x answer, next time.Time) {
	n := spool.Note{Time: a.s.Now(), Keys: x.keys, Attempt: a.number, Relay: x.outcome.Relay, Reply: x.outcome.Reply, Next: next}
	if x.outcome.Err != nil {
		n.Err = printable(x.outcome.Err.Error(), 500)
	}
	if err := a.m.Note(n); err != nil {
		a.log(slog.LevelWarn, "attempt not noted", maillog.Err(err))
	}
}

// settle answers for recipients without trying anything.
func (a *attempt) settle(keys []spool.Key, o Outcome) {
	a.record([]answer{{keys: keys, outcome: o}})
}

// conclude turns what has become too old into failures, sends the bounces and
// records the failed.
func (a *attempt) conclude() {
	if a.broken {
		return
	}
	a.r.mu.Lock()
	age := a.r.clock.age(a.m.Envelope().Arrived, a.s.Now())
	a.r.mu.Unlock()
	if age > a.s.QReturn {
		for _, f := range a.late {
			if f.tried {
				f.expired = true
				a.failed = append(a.failed, f)
			}
		}
	}
	if len(a.failed) > 0 {
		a.bounce()
	}
}

// delay is the time since the message arrived.
func (a *attempt) delay() time.Duration {
	return max(a.s.Now().Sub(a.m.Envelope().Arrived), 0)
}

func (a *attempt) log(level slog.Level, msg string, attrs ...slog.Attr) {
	a.s.Log.LogAttrs(context.Background(), level, msg, append([]slog.Attr{maillog.QueueID(a.id)}, attrs...)...)
}

// logRecipients writes one line for each recipient of an answer.
func (a *attempt) logRecipients(x answer, msg, status string, more ...slog.Attr) {
	for _, k := range x.keys {
		a.logRecipient(a.rcpts[k], x.outcome, msg, status, more...)
	}
}

func (a *attempt) logRecipient(rc spool.Recipient, o Outcome, msg, status string, more ...slog.Attr) {
	attrs := []slog.Attr{maillog.To(rc.Path)}
	if orig := a.original(rc); orig != rc.Path {
		attrs = append(attrs, maillog.OrigTo(orig))
	}
	attrs = append(attrs, maillog.Relay(o.Relay), maillog.DSN(dsn(o)), maillog.Status(status), maillog.Delay(a.delay()))
	if !o.Reply.IsZero() {
		attrs = append(attrs, maillog.Reply(o.Reply))
	}
	if o.Err != nil {
		attrs = append(attrs, maillog.Err(o.Err))
	}
	a.log(slog.LevelInfo, msg, append(attrs, more...)...)
}

// original is the address in the envelope that led to rc.
func (a *attempt) original(rc spool.Recipient) smtp.Path {
	for rc.Parent != spool.NoKey {
		parent, ok := a.rcpts[rc.Parent]
		if !ok {
			break
		}
		rc = parent
	}
	return rc.Path
}

// dsn is the enhanced status code of an outcome.
func dsn(o Outcome) string {
	if o.Reply.Status != "" {
		return o.Reply.Status
	}
	switch o.Action {
	case Delivered:
		return "2.0.0"
	case Bounced:
		return "5.0.0"
	}
	if o.Reply.IsZero() && o.Err != nil {
		return "4.4.1"
	}
	return "4.0.0"
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
