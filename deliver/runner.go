package deliver

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"postoffice/internal/maillog"
	"postoffice/spool"
)

const (
	maxActive   = 500                    // messages in work at one time
	rescanEvery = 15 * time.Minute       // a message whose arrival was not told is found after this long
	cleanEvery  = time.Hour              // orphans of interrupted arrivals
	stopGrace   = 15 * time.Second       // what transactions get to end in when the runner is to stop
	busyWait    = 250 * time.Millisecond // until a message that another process holds is looked at again
)

// settings are what one attempt sees from its begin to its end.
type settings struct {
	Options
	router *Router
}

// A Runner delivers what is in the queue. Run or Pass may be called once at a
// time; all other methods may be called by any goroutine at any time.
type Runner struct {
	settings atomic.Pointer[settings]
	queue    *spool.Queue
	kick     chan struct{} // something to do, or something has ended
	locals   chan struct{} // a place for each local delivery

	storeJobs chan *storeJob // for sessions with the LMTP server that linger

	mu    sync.Mutex
	sched schedule
	dests destinations
	clock clock
	once  bool            // a pass: sessions don't linger
	stop  context.Context // ended: begin nothing
	work  context.Context // ended: break off

	tasks sync.WaitGroup // messages and sessions
}

// NewRunner returns a Runner for o.Queue. It reads nothing before Run or Pass.
func NewRunner(o Options) *Runner {
	r := &Runner{
		queue:  o.Queue,
		kick:   make(chan struct{}, 1),
		locals: make(chan struct{}, maxLocal),

		storeJobs: make(chan *storeJob),

		sched: newSchedule(),
		dests: newDestinations(),
	}
	r.stop, r.work = context.Background(), context.Background()
	r.Reload(o)
	return r
}

// Reload makes o the settings of all attempts that begin from now on. The
// queue stays the one that NewRunner got.
func (r *Runner) Reload(o Options) {
	o = o.filled()
	o.Queue = r.queue
	r.settings.Store(&settings{Options: o, router: NewRouter(o)})
	r.mu.Lock()
	r.dests.forgetRoutes()
	r.mu.Unlock()
}

// Router returns the router of the present settings.
func (r *Runner) Router() *Router { return r.settings.Load().router }

// Wake tells of a message that is new in the queue or is to be tried at once.
func (r *Runner) Wake(id spool.ID) {
	r.mu.Lock()
	r.sched.arrive(id)
	r.mu.Unlock()
	r.poke()
}

// RunNow makes every message due, whatever its time, and forgets which
// destinations were down.
func (r *Runner) RunNow() {
	r.scan()
	r.mu.Lock()
	r.sched.all()
	r.dests.forgetDown()
	r.mu.Unlock()
	r.poke()
}

// Active says whether a message is being worked on.
func (r *Runner) Active(id spool.ID) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	it := r.sched.items[id]
	return it != nil && it.state == active
}

// SetAside says whether a delivery of this message could not be recorded, so
// that this runner leaves it alone.
func (r *Runner) SetAside(id spool.ID) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	it := r.sched.items[id]
	return it != nil && it.state == aside
}

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
		r.mu.Lock()
		defer r.mu.Unlock()
		for _, id := range ids {
			if r.sched.know(id) {
				r.sched.items[id].reroute = reroute
			}
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
	r.mu.Lock()
	r.stop, r.work, r.once = ctx, work, once
	if once {
		r.sched.all()
	}
	r.mu.Unlock()
	r.loop(ctx, once, scan)
	r.end(ctx, cancel)
	return nil
}

// loop starts what is due until ctx ends or, for one pass, nothing is left.
func (r *Runner) loop(ctx context.Context, once bool, scan func()) {
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
		r.mu.Lock()
		r.clock.look(r.settings.Load().Now())
		r.start()
		wait, idle := r.sched.wait(time.Minute), r.sched.idle()
		if r.sched.active >= maxActive {
			wait = time.Minute
		}
		r.mu.Unlock()
		if once && idle {
			return
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-r.kick:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// start gives goroutines to what is due. The caller holds mu.
func (r *Runner) start() {
	for r.sched.active < maxActive {
		it := r.sched.next()
		if it == nil {
			return
		}
		r.tasks.Go(func() {
			r.workOn(it)
			r.poke()
		})
	}
}

// end waits for what is in work: as long as it takes after a pass that came
// to its end, else stopGrace.
func (r *Runner) end(ctx context.Context, cancel func()) {
	done := make(chan struct{})
	go func() {
		r.tasks.Wait()
		close(done)
	}()
	select {
	case <-done:
		return
	case <-ctx.Done():
	}
	timer := time.NewTimer(stopGrace)
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
		if e.Place != spool.Active {
			continue
		}
		r.mu.Lock()
		r.sched.know(e.ID)
		r.mu.Unlock()
	}
}

// clean lets the spool remove what interrupted arrivals left behind.
func (r *Runner) clean(ctx context.Context) {
	if err := r.queue.Clean(ctx); err != nil && !errors.Is(err, context.Canceled) {
		r.warn("queue not cleaned", maillog.Err(err))
	}
}

func (r *Runner) poke() {
	select {
	case r.kick <- struct{}{}:
	default:
	}
}

func (r *Runner) warn(msg string, attrs ...slog.Attr) {
	r.settings.Load().Log.LogAttrs(context.Background(), slog.LevelWarn, msg, attrs...)
}
