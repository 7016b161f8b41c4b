package deliver

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"postoffice/deliver/remote"
	"postoffice/deliver/route"
	"postoffice/deliver/schedule"
	"postoffice/internal/maillog"
	"postoffice/internal/smtp"
	"postoffice/spool"
)

const (
	rescanEvery = 15 * time.Minute       // a message whose arrival was not told is found after this long
	cleanEvery  = time.Hour              // orphans of interrupted arrivals
	stopGrace   = 15 * time.Second       // what transactions get to end in when the runner is to stop, where nobody says otherwise
	busyWait    = 250 * time.Millisecond // until a message that another process holds is looked at again
)

// settings are what one attempt sees from its begin to its end.
type settings struct {
	Options
	router  *route.Router
	circles tellOnce // among aliases
}

// A Runner delivers what is in the queue. Run or Pass may be called once at a
// time; all other methods may be called by any goroutine at any time.
type Runner struct {
	settings atomic.Pointer[settings]
	queue    *spool.Queue
	sched    *schedule.Schedule
	answers  dnsAnswers
	pool     *remote.Pool
	opening  chan struct{} // messages that are read

	tasks sync.WaitGroup // messages
}

// NewRunner returns a Runner for o.Queue. It reads nothing before Run or Pass.
func NewRunner(o Options) *Runner {
	r := &Runner{
		queue:   o.Queue,
		sched:   schedule.New(),
		answers: dnsAnswers{of: map[string]*dnsAnswer{}},
		pool:    remote.NewPool(),
		opening: make(chan struct{}, maxOpening),
	}
	r.Reload(o)
	return r
}

// Reload makes o the settings of all attempts that begin from now on. The
// queue stays the one that NewRunner got.
func (r *Runner) Reload(o Options) {
	o = o.filled()
	o.Queue = r.queue
	o.Remote.Scarce = r.sched.Scarce
	r.settings.Store(&settings{Options: o, router: route.New(o.Options)})
	r.forgetRoutes()
}

// Router returns the router of the present settings.
func (r *Runner) Router() *route.Router { return r.settings.Load().router }

// Wake tells of a message that is to be tried at once.
func (r *Runner) Wake(id spool.ID) { r.sched.Arrive(id, "", false) }

// Arrived tells of a message that is new in the queue, with the client that its
// envelope names and its reverse-path.
func (r *Runner) Arrived(id spool.ID, client string, reverse smtp.Path) {
	r.sched.Arrive(id, Submitter(client, reverse), false)
}

// RunNow makes every message due, whatever its time, and forgets which
// destinations were down.
func (r *Runner) RunNow() {
	r.scan()
	r.forgetDown()
	r.sched.WakeAll()
}

// forgetDown makes every destination be tried again, with new answers of DNS.
func (r *Runner) forgetDown() {
	r.forgetRoutes()
	r.sched.ForgetDown(schedule.Host, schedule.Mailbox, schedule.Mailer, schedule.Stored, schedule.Virtual, schedule.List)
}

func (r *Runner) forgetRoutes() {
	r.answers.forget()
	r.sched.ForgetDown(schedule.Domain)
}

// Active says whether a message is being worked on.
func (r *Runner) Active(id spool.ID) bool { return r.sched.Active(id) }

// Resting says whether nothing is being worked on.
func (r *Runner) Resting() bool {
	active, _ := r.sched.Count()
	return active == 0
}

// SetAside says whether a delivery of this message could not be recorded, so
// that this runner leaves it alone.
func (r *Runner) SetAside(id spool.ID) bool { return r.sched.Aside(id) }

// Run delivers until ctx ends. It waits for the queue's lock first. When ctx
// ends no delivery is begun; those that run get 15 seconds.
func (r *Runner) Run(ctx context.Context) error { return r.run(ctx, false, r.scan) }

// Pass tries every message once, due or not, and whatever comes in meanwhile,
// and returns when nothing is left to do now.
func (r *Runner) Pass(ctx context.Context) error { return r.run(ctx, true, r.scan) }

// PassOf is a Pass over these messages alone, and what comes in meanwhile;
// reroute as for Retry.
func (r *Runner) PassOf(ctx context.Context, ids []spool.ID, reroute bool) error {
	return r.run(ctx, true, func() {
		for _, id := range ids {
			r.sched.Know(id, reroute)
		}
	})
}

// run is Run, and with once a Pass; scan finds the messages.
func (r *Runner) run(ctx context.Context, once bool, scan func()) error {
	unlock, err := r.queue.Lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	scan()
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	if once {
		r.clean(ctx)
	}
	r.pool.Start(ctx, work, once)
	if once {
		r.sched.WakeAll()
	}
	r.loop(ctx, work, once, scan)
	r.end(ctx, cancel)
	return nil
}

// loop starts what is due until ctx ends or, for one pass, nothing is left. work
// ends when what was started is to be broken off.
func (r *Runner) loop(ctx, work context.Context, once bool, scan func()) {
	scanned := time.Now()
	var cleaned time.Time
	for ctx.Err() == nil {
		if time.Since(scanned) > rescanEvery {
			scan()
			scanned = time.Now()
		}
		if !once && time.Since(cleaned) > cleanEvery {
			cleaned = time.Now()
			r.tasks.Go(func() { r.clean(ctx) })
		}
		r.sched.LookAtClock(r.settings.Load().Now())
		r.start(ctx, work)
		if once && r.sched.Idle() {
			return
		}
		timer := time.NewTimer(r.sched.Wait(time.Minute))
		select {
		case <-ctx.Done():
		case <-r.sched.Changed():
		case <-timer.C:
		}
		timer.Stop()
	}
}

// start gives goroutines to what is due.
func (r *Runner) start(stop, work context.Context) {
	for w := r.sched.Next(); w != nil; w = r.sched.Next() {
		r.tasks.Go(func() {
			widen(attemptStack)
			r.workOn(w, stop, work)
		})
	}
}

// attemptStack is what an attempt needs of its stack at least, with the line of the log
// that it writes at its deepest.
const attemptStack = 6 << 10

// widen gives a goroutine the stack of an attempt at once. Grown when it is needed it
// would be copied twice, with all that stands on it then.
//
//go:noinline
func widen(n int) byte {
	var room [attemptStack]byte
	return room[n-1] // what is not looked at would not be there
}

// end waits for what is in work: as long as it takes after a pass that came
// to its end, else as Options say.
func (r *Runner) end(ctx context.Context, cancel func()) {
	done := make(chan struct{})
	go func() {
		r.tasks.Wait()
		r.pool.Wait()
		close(done)
	}()
	select {
	case <-done:
		return
	case <-ctx.Done():
	}
	timer := time.NewTimer(cmp.Or(r.settings.Load().StopTime, stopGrace))
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
		cancel()
		<-done
	}
}

// scan enters the messages of the queue that are not known yet.
func (r *Runner) scan() {
	for e, err := range r.queue.Entries() {
		if err != nil {
			r.warn("queue not readable", maillog.Err(err))
			return
		}
		if e.Location != spool.Active {
			continue
		}
		r.sched.Know(e.ID, false)
	}
}

// clean lets the spool remove what interrupted arrivals left behind.
func (r *Runner) clean(ctx context.Context) {
	if err := r.queue.Clean(ctx); err != nil && !errors.Is(err, context.Canceled) {
		r.warn("queue not cleaned", maillog.Err(err))
	}
}

func (r *Runner) warn(msg string, attrs ...slog.Attr) {
	r.settings.Load().Log.LogAttrs(context.Background(), slog.LevelWarn, msg, attrs...)
}
