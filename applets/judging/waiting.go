package judging

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"postoffice/internal/maillog"
	"postoffice/internal/smtp"
	"postoffice/spool"
	"postoffice/spool/envelope"
)

const (
	maxJudged   = 3                // messages of the queue that are judged at once
	eachJudged  = maxJudged - 1    // of them from one who submits
	firstPause  = 10 * time.Second // after what could not be judged; doubled each time
	maxPause    = 5 * time.Minute  // the longest of these: so late mail is at most when filters are back
	startWait   = 10 * time.Minute // in which a server that has begun gives nothing up: filters may begin later than it
	rescanEvery = 15 * time.Minute // a message whose arrival was not told is found after this long
	aloneFails  = 2                // failures in a row after which it is not the message's fault
)

// Options are what a Waiting needs of others. Its functions may be called by several
// goroutines at once.
type Options struct {
	Queue *spool.Queue
	Log   *slog.Logger
	// Judge says what becomes of a message. An error is that it can't be told now; of the
	// Verdict beside it Done alone counts. nil functions returned by Judges: nothing is
	// judged, and all passes.
	Judge func(ctx context.Context, m *spool.Message) (Verdict, error)
	// Judges says whether there is anybody who judges.
	Judges func() bool
	// Over is told of a message that is not in the queue after its turn and doesn't wait
	// either: it was refused, thrown away or held.
	Over func(id spool.ID, env envelope.Envelope)
	// Refuse returns a message to its senders for those recipients for whom reply has one.
	// left says that there are others; else the message is closed.
	Refuse func(m *spool.Message, reply func(envelope.Key) smtp.Reply) (left bool, err error)
	// GiveUp returns a message that could not be judged to its senders, if it has waited too
	// long; reply says why it did. over says that it has; else the message is as it was.
	GiveUp func(m *spool.Message, reply smtp.Reply) (over bool, err error)
	// Passed is told of a message that is in the queue now; later says that it is to wait
	// there for the next run.
	Passed func(id spool.ID, env envelope.Envelope, later bool)
	// Waits is told of a message that could not be judged at its first turn.
	Waits func(id spool.ID, env envelope.Envelope)
	// Who is for whom a client's messages count.
	Who func(client string) string
	Now func() time.Time // nil: time.Now
}

// A Waiting judges what waits for filters in the queue. Run or Pass is called once at a
// time, everything else by any goroutine.
type Waiting struct {
	o       Options
	changed chan struct{}
	work    sync.WaitGroup

	mu      sync.Mutex // guards what follows
	known   map[spool.ID]*item
	of      map[string][]*item // by for whom they count, in order of arrival
	turns   []string           // the one who was served last behind the others
	running map[string]int     // by for whom
	busy    int
	failed  int             // turns in a row that judged nothing
	failing map[string]bool // for whom those were
	until   time.Time       // none of them has a turn before
	began   time.Time       // Run did; zero: it didn't
	closing bool            // one pass: nothing has a second turn
}

// item is one message.
type item struct {
	id    spool.ID
	who   string
	later bool // see Options.Passed
	tried int
	next  time.Time
	busy  bool
}

// NewWaiting reads nothing before Run or Pass.
func NewWaiting(o Options) *Waiting {
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Waiting{o: o, changed: make(chan struct{}, 1), known: map[spool.ID]*item{}, of: map[string][]*item{}, running: map[string]int{}, failing: map[string]bool{}}
}

// Arrived tells of a message that is durable in the queue and waits; client is its
// envelope's. later: see Options.Passed.
func (w *Waiting) Arrived(id spool.ID, client string, later bool) {
	w.mu.Lock()
	w.know(id, client, later)
	w.mu.Unlock()
	w.wake()
}

// know enters a message. The caller holds mu.
func (w *Waiting) know(id spool.ID, client string, later bool) {
	if w.known[id] != nil {
		return
	}
	it := &item{id: id, who: w.o.Who(client), later: later}
	w.known[id] = it
	if len(w.of[it.who]) == 0 && !slices.Contains(w.turns, it.who) {
		w.turns = append(w.turns, it.who)
	}
	w.of[it.who] = append(w.of[it.who], it)
}

// Now makes every message due, and looks for those that nobody told of.
func (w *Waiting) Now() {
	w.scan()
	w.mu.Lock()
	w.failed, w.until = 0, time.Time{}
	clear(w.failing)
	for _, it := range w.known {
		it.next = time.Time{}
	}
	w.mu.Unlock()
	w.wake()
}

// Resting says whether nobody is judging.
func (w *Waiting) Resting() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.busy == 0
}

func (w *Waiting) wake() {
	select {
	case w.changed <- struct{}{}:
	default:
	}
}

// scan enters the messages that are not known yet.
func (w *Waiting) scan() {
	err := w.o.Queue.EachWaiting(func(id spool.ID, client string) bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.know(id, client, false)
		return true
	})
	if err != nil {
		w.o.Log.LogAttrs(context.Background(), slog.LevelWarn, "queue not readable", maillog.Err(err))
	}
}

// Run judges until ctx ends.
func (w *Waiting) Run(ctx context.Context) {
	defer w.work.Wait()
	scanned := w.o.Now()
	w.mu.Lock()
	w.began = scanned
	w.mu.Unlock()
	w.scan()
	for ctx.Err() == nil {
		if w.o.Now().Sub(scanned) > rescanEvery {
			w.scan()
			scanned = w.o.Now()
		}
		timer := time.NewTimer(w.start(ctx))
		select {
		case <-ctx.Done():
		case <-w.changed:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// Pass gives each message that waits one turn, and returns when they are over.
func (w *Waiting) Pass(ctx context.Context) {
	w.scan()
	w.mu.Lock()
	w.closing = true
	w.mu.Unlock()
	defer w.work.Wait()
	for ctx.Err() == nil {
		w.start(ctx)
		w.mu.Lock()
		over := w.busy == 0
		w.mu.Unlock()
		if over {
			return
		}
		select {
		case <-ctx.Done():
		case <-w.changed:
		}
	}
}

// start begins the turns that are due, and returns how long to wait for the next.
func (w *Waiting) start(ctx context.Context) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	for {
		it, wait := w.due()
		if it == nil {
			return wait
		}
		it.busy = true
		w.busy++
		w.running[it.who]++
		w.work.Go(func() {
			err := w.turn(ctx, it)
			w.end(ctx, it, err)
			w.wake()
		})
	}
}

// due is whose turn is next, or how long until somebody's is. While nothing can be judged
// those whose mail could not be have one turn at a time, with pauses; who comes new waits
// for none of that, since it may be the others' mail. The caller holds mu.
func (w *Waiting) due() (*item, time.Duration) {
	now, wait := w.o.Now(), rescanEvery
	if w.busy >= maxJudged {
		return nil, wait
	}
	for i, who := range w.turns {
		if w.running[who] >= eachJudged {
			continue
		}
		if w.failed >= aloneFails && w.failing[who] {
			pause := w.until.Sub(now)
			if pause > 0 && !w.closing {
				wait = min(wait, pause)
				continue
			}
			if w.busy > 0 {
				continue
			}
		}
		for _, it := range w.of[who] {
			if it.busy || w.closing && it.tried > 0 {
				continue
			}
			if pause := it.next.Sub(now); pause > 0 && !w.closing {
				wait = min(wait, pause)
				continue
			}
			w.turns = append(slices.Delete(w.turns, i, i+1), who)
			return it, 0
		}
	}
	return nil, wait
}

// errOver is that a message doesn't wait any more, which tells nothing of who judges.
var errOver = errors.New("the message doesn't wait any more")

// turn has one message judged. The error is that it waits on, or errOver.
func (w *Waiting) turn(ctx context.Context, it *item) error {
	m, judged, err := w.o.Queue.ClaimWaiting(it.id)
	switch {
	case errors.Is(err, spool.ErrGone), errors.Is(err, spool.ErrCorrupt):
		w.forget(it) // in the queue by now, held, or set aside
		if errors.Is(err, spool.ErrGone) {
			w.o.Passed(it.id, envelope.Envelope{}, it.later) // if it is there
		}
		return errOver
	case err != nil:
		return err
	}
	defer m.Close()
	env, v := m.Envelope(), Verdict{}
	if !judged && w.o.Judges() {
		v, err = w.o.Judge(ctx, m)
		if v.Done != nil {
			defer v.Done()
		}
		switch {
		case err == nil:
		case ctx.Err() != nil: // nobody was asked to the end, which says nothing of the message
			return err
		default:
			return w.waits(m, it, err)
		}
	}
	passed, err := false, error(nil)
	if judged {
		passed, err = true, m.Pass()
	} else {
		passed, err = w.apply(m, v)
	}
	if err != nil {
		return err
	}
	w.forget(it)
	if passed {
		w.o.Passed(it.id, env, it.later)
	} else {
		w.o.Over(it.id, env)
	}
	return nil
}

// forget takes a message out.
func (w *Waiting) forget(it *item) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.known, it.id)
	w.of[it.who] = slices.DeleteFunc(w.of[it.who], func(o *item) bool { return o == it })
	if len(w.of[it.who]) == 0 {
		delete(w.of, it.who)
		w.turns = slices.DeleteFunc(w.turns, func(who string) bool { return who == it.who })
	}
}

// end counts a turn, and tells once that nothing can be judged, and once that it can again.
func (w *Waiting) end(ctx context.Context, it *item, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	it.busy = false
	w.busy--
	if w.running[it.who]--; w.running[it.who] <= 0 {
		delete(w.running, it.who)
	}
	if err == nil {
		if w.failed >= aloneFails {
			w.o.Log.LogAttrs(ctx, slog.LevelInfo, "filters judge again")
		}
		w.failed = 0
		clear(w.failing)
		return
	}
	if ctx.Err() != nil || err == errOver { // the server ends, or nothing was judged
		return
	}
	w.failed++
	w.failing[it.who] = true
	pause := pauseAfter(it.tried)
	it.tried++
	it.next = w.o.Now().Add(pause)
	if w.failed >= aloneFails {
		w.until = w.o.Now().Add(pauseAfter(w.failed - aloneFails))
	}
	if it.tried == 1 && w.failed == 1 {
		w.log(slog.LevelWarn, "message not judged", it.id, maillog.Err(err), maillog.Next(it.next), maillog.Reason("it waits in the queue, until qreturn is over"))
	}
}

func (w *Waiting) log(level slog.Level, msg string, id spool.ID, attrs ...slog.Attr) {
	w.o.Log.LogAttrs(context.Background(), level, msg, append([]slog.Attr{maillog.QueueID(id)}, attrs...)...)
}
