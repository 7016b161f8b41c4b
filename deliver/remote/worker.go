package remote

import (
	"context"
	"errors"
	"os"
	"time"

	"postoffice/deliver/outcome"
)

const (
	servedAge  = 15 * time.Second // a hop that says "busy" and served us so lately is asked again
	busyPause  = time.Second
	busyTries  = 5
	ceilingAge = 5 * time.Minute // so long no more sessions are tried than a hop was found to allow
)

// A worker does the jobs of one hop, one after the other, through one session
// at a time.
type worker struct {
	p          *Pool
	q          *hopQueue
	stop, work context.Context
	s          *Session // nil: none is open
}

// run takes jobs until there are none. A session that is too old for another
// message is closed. The worker's place is free when the connection is closed,
// and not before: the hop may allow no other.
func (w *worker) run() {
	for n := 0; ; n++ {
		if w.s != nil && !w.s.Usable() {
			w.close()
		}
		j := w.p.next(w, w.s != nil, n)
		if j == nil {
			break
		}
		if !w.do(j) {
			return
		}
	}
	w.close()
	w.p.end(w.q)
}

func (w *worker) close() {
	if w.s != nil {
		w.s.Close()
		w.s = nil
	}
}

// do sends the parts of one job and answers for each as it ends. false: the
// job is in the queue again, for the hop's other workers, and this one has
// ended.
func (w *worker) do(j *task) bool {
	for !j.over() {
		if j.Stop.Err() != nil {
			j.answer(Answer{})
			continue
		}
		if err := w.connect(j); err != nil {
			if errors.Is(err, errPutBack) {
				return false
			}
			if o := outcome.Of(err); o.Action == outcome.Bounced { // said of what needs TLS: nothing is down
				j.answerAll(o)
				continue
			}
			w.unreachable(j, err)
			continue
		}
		results, err := w.s.Send(w.work, j.message())
		if errors.Is(err, ErrStale) {
			w.close()
			continue
		}
		if err == nil && !j.note(results) {
			w.close()
			continue
		}
		x := Answer{Outcomes: results, Sessions: w.p.learn(w.q, results)}
		if w.hung(err) {
			x.Down = &outcome.Outcome{Err: err, Relay: w.s.Relay()}
		}
		j.answer(x)
		if err != nil || !w.s.Usable() {
			w.close()
		}
		if x.Down != nil {
			w.answerWaiting(j, *x.Down)
		}
	}
	return true
}

// errPutBack: the job is in the queue again, and the worker has ended.
var errPutBack = errors.New("left to another session")

// connect opens a session if there is none. A hop that has just served us and
// now says "busy", to the only session there is, is asked a few times more: it
// may not have noticed yet that the one before has ended. So is one to whose
// network other hops' sessions are open: those that are idle end soon.
func (w *worker) connect(j *task) error {
	for try := 0; w.s == nil; try++ {
		o := j.Options
		o.Transcript = j.transcript()
		if !w.q.store {
			o.place = w.p.place
		}
		var err error
		if w.s, err = w.dial(j, o); err == nil {
			return nil
		}
		w.s = nil
		if !w.ended(j) && w.p.putBack(w.q, j) {
			return errPutBack
		}
		busy := errors.Is(err, errManySessions) || w.p.justServed(w.q, err)
		if try == busyTries || !busy || !pause(j.Stop, busyPause) {
			return err
		}
	}
	return nil
}

// dial opens a session for a job. Before MAIL nothing is lost by giving up: where
// nothing more is to be begun it ends at once.
func (w *worker) dial(j *task, o Options) (*Session, error) {
	ctx, cancel := context.WithCancel(w.work)
	defer cancel()
	defer context.AfterFunc(j.Stop, cancel)()
	return Open(ctx, j.Hop, o)
}

// ended says that no session is wanted for a job any more.
func (w *worker) ended(j *task) bool { return w.work.Err() != nil || j.Stop.Err() != nil }

// Open opens a session with a hop. Errors are as DialAny's.
func Open(ctx context.Context, h Hop, o Options) (*Session, error) {
	o.relay = h.Relay
	if h.Socket != "" {
		return DialLMTP(ctx, h.Socket, o)
	}
	if h.Security == Opportunistic {
		return DialAny(ctx, h.Targets, o)
	}
	secure := o
	secure.TLS = TLSVerified
	s, err := DialAny(ctx, h.Targets, secure)
	if err != nil && h.Security == Wanted && outcome.Of(err).Action == outcome.Bounced {
		return DialAny(ctx, h.Targets, o)
	}
	return s, err
}

// hung reports whether a session ended because an LMTP server did not go on:
// such a one would hold all that waits for it just as long.
func (w *worker) hung(err error) bool {
	return w.q.store && w.work.Err() == nil && (errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, ErrLimit))
}

// unreachable answers for a job when no session could be had, and for all that
// wait for the hop with the same words.
func (w *worker) unreachable(j *task, err error) {
	if w.ended(j) {
		j.answer(Answer{})
		return
	}
	o := outcome.Of(err)
	o.Action = outcome.Deferred
	j.answerDown(o, false)
	w.answerWaiting(j, o)
}

// answerWaiting answers for what is left of a job, and for all that waits for
// the same hop, with the outcome of a hop that is down.
func (w *worker) answerWaiting(j *task, down outcome.Outcome) {
	for _, j := range append([]*task{j}, w.p.empty(w.q)...) {
		for !j.over() {
			if j.Stop.Err() != nil {
				j.answer(Answer{})
				continue
			}
			j.answerDown(down, true)
		}
	}
}

// empty takes the jobs that wait for a hop that is down, and leaves it as many
// sessions as it had at first.
func (p *Pool) empty(q *hopQueue) (waiting []*task) {
	p.mu.Lock()
	defer p.mu.Unlock()
	q.limit = q.first
	waiting, q.jobs = q.jobs, nil
	return waiting
}

// putBack leaves the job of a worker without a session to the hop's other
// workers, if it has some, and ends that worker: the hop takes mail, but not
// from so many at once.
func (p *Pool) putBack(q *hopQueue, j *task) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	q.limit = max(1, min(q.limit, q.live)-1)
	if q.live < 2 {
		return false
	}
	q.ceiling, q.ceilingUntil = q.limit, time.Now().Add(ceilingAge)
	q.jobs = append([]*task{j}, q.jobs...)
	p.ended(q)
	return true
}

// justServed reports whether a hop refused for the moment and took mail a
// moment ago.
func (p *Pool) justServed(q *hopQueue, err error) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return outcome.Of(err).Reply.Temporary() && time.Since(q.served) < servedAge
}

// learn gives a hop more room after each message that it answered for, and
// less when a session broke. It returns how many sessions it may have.
func (p *Pool) learn(q *hopQueue, results []outcome.Outcome) (sessions int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, o := range results {
		if o.Reply.IsZero() && o.Err != nil {
			q.limit = max(1, q.limit/2)
			return 0
		}
	}
	q.served = time.Now()
	most := q.most
	if time.Now().Before(q.ceilingUntil) {
		most = q.ceiling
	}
	q.limit = min(q.limit*2, most)
	p.serve(q)
	return q.limit
}

// pause waits; false: ctx has ended.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
