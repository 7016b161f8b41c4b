package remote

import (
	"context"
	"net/netip"
	"sync"
	"time"

	"postoffice/internal/peer"
)

const (
	hopSessions   = 20   // with one hop, once it has shown that it takes mail
	storeSessions = 20   // with an LMTP server
	maxHops       = 1000 // hops with a session: the first of each is never refused before that
	maxExtra      = 100  // sessions beyond the first of each hop, together

	networkSessions = 40 // with the addresses that count as one, whatever leads there

	linger     = 2 * time.Second
	passLinger = linger / 50 // of an LMTP server, whose jobs come one by one
	maxTurn    = 50          // jobs; then a session makes room for another hop
	sweepFrom  = 4096        // hops; from there idle ones are forgotten
)

// A Pool has the sessions with all next hops. Jobs for one hop wait in its
// queue; a few workers, each with a session of its own, take them from there.
// A hop's first session is followed by more when it has taken mail: their
// number doubles with each success, and shrinks when a session breaks or one
// more is refused.
type Pool struct {
	workers sync.WaitGroup // workers

	mu         sync.Mutex
	stop, work context.Context
	pass       bool // sessions don't linger
	hops       map[string]*hopQueue
	sweepAt    int
	first      int         // hops with a session
	extra      int         // sessions beyond those
	hungry     []*hopQueue // have a job and may not have a session

	networks peer.Room[netip.Prefix] // sessions by the other end's network
}

// A hopQueue is a hop as the Pool knows it. The Pool's mutex guards it.
type hopQueue struct {
	store       bool // an LMTP server of this machine
	first, most int  // workers: see Hop.limits

	jobs  []*task // waiting for a worker
	live  int     // workers
	limit int     // of them

	ceiling      int // sessions that it was found to allow
	ceilingUntil time.Time
	served       time.Time // when it took or refused a message last

	hungry bool          // waits for a session to be free
	idlers int           // workers that linger
	wake   chan struct{} // tells one of them of a job
}

// NewPool returns a Pool without sessions.
func NewPool() *Pool {
	return &Pool{
		stop: context.Background(), work: context.Background(),
		hops: map[string]*hopQueue{}, sweepAt: sweepFrom,
	}
}

// Start sets how the sessions end that are opened from now on. When stop ends
// none lingers and none is tried again; when work ends, what is on its way is
// broken off. In a pass only those with an LMTP server linger, for a moment: the
// jobs of others are all there.
func (p *Pool) Start(stop, work context.Context, pass bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stop, p.work, p.pass = stop, work, pass
}

// Wait waits until all sessions have ended.
func (p *Pool) Wait() { p.workers.Wait() }

// Add gives the Pool a job that has recipients.
func (p *Pool) Add(j Job) {
	p.mu.Lock()
	defer p.mu.Unlock()
	q := p.hop(j.Hop)
	q.jobs = append(q.jobs, &task{Job: j})
	p.serve(q)
}

func (p *Pool) hop(h Hop) *hopQueue {
	if q := p.hops[h.Key]; q != nil {
		return q
	}
	p.sweep()
	q := &hopQueue{store: h.Socket != ""}
	q.first, q.most = h.limits()
	q.limit, q.wake = q.first, make(chan struct{}, q.most)
	p.hops[h.Key] = q
	return q
}

// sweep forgets idle hops where there are many.
func (p *Pool) sweep() {
	if len(p.hops) < p.sweepAt {
		return
	}
	for k, q := range p.hops {
		if q.live == 0 && len(q.jobs) == 0 {
			delete(p.hops, k)
		}
	}
	p.sweepAt = max(sweepFrom, 2*len(p.hops))
}

// serve sees to it that a waiting job finds a worker: one that lingers, a new
// one, or the next that is free. The caller holds mu.
func (p *Pool) serve(q *hopQueue) {
	switch {
	case len(q.jobs) == 0:
	case q.idlers > 0:
		q.idlers--
		q.wake <- struct{}{} // has room for every worker
	case q.live >= q.limit:
	case q.store: // takes no share of what there is for other machines
		p.open(q)
	case q.live == 0 && p.first < maxHops:
		p.first++
		p.open(q)
	case q.live > 0 && p.extra < maxExtra:
		p.extra++
		p.open(q)
	case q.live == 0 && !q.hungry:
		q.hungry = true
		p.hungry = append(p.hungry, q)
	}
}

// open starts a worker. The caller holds mu.
func (p *Pool) open(q *hopQueue) {
	q.live++
	q.hungry = false
	w := &worker{p: p, q: q, stop: p.stop, work: p.work}
	p.workers.Go(w.run)
}

// next takes a job off the hop's queue. Without one, a worker whose session is
// open lingers a moment; then, or when other hops need a session more, nil
// ends it. n counts its jobs.
func (p *Pool) next(w *worker, open bool, n int) *task {
	p.mu.Lock()
	defer p.mu.Unlock()
	q := w.q
	for {
		wanted := !q.store && len(p.hungry) > 0
		if len(q.jobs) > 0 && (!wanted || n < maxTurn) {
			j := q.jobs[0]
			q.jobs[0] = nil
			q.jobs = q.jobs[1:]
			return j
		}
		if !open || len(q.jobs) > 0 || wanted || p.pass && !q.store || w.stop.Err() != nil {
			return nil
		}
		open = p.linger(w)
	}
}

// linger waits for a job and reports whether to look for one. It gives mu up
// meanwhile.
func (p *Pool) linger(w *worker) bool {
	q, wait := w.q, linger
	if p.pass {
		wait = passLinger
	}
	q.idlers++
	p.mu.Unlock()
	timer := time.NewTimer(wait)
	woken := false
	select {
	case <-q.wake:
		woken = true
	case <-timer.C:
	case <-w.stop.Done():
	}
	timer.Stop()
	p.mu.Lock()
	if !woken {
		if q.idlers > 0 {
			q.idlers--
		} else {
			<-q.wake // it was sent when we gave up
			return true
		}
	}
	return woken
}

// place takes a place for a session with an address.
func (p *Pool) place(a netip.Addr) (release func(), ok bool) {
	n := peer.Network(a)
	if !p.networks.Enter(n, -1, networkSessions) {
		return nil, false
	}
	return sync.OnceFunc(func() { p.networks.Leave(n) }), true
}

// end gives back the place of a worker whose session is closed.
func (p *Pool) end(q *hopQueue) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ended(q)
}

// ended gives a worker's place to whoever waits for one. The caller holds mu.
func (p *Pool) ended(q *hopQueue) {
	q.live--
	switch {
	case q.store:
	case q.live == 0:
		p.first--
	default:
		p.extra--
	}
	if !q.store && len(p.hungry) > 0 { // before this hop: it has had its turn
		next := p.hungry[0]
		p.hungry = p.hungry[1:]
		next.hungry = false
		p.serve(next)
	}
	p.serve(q)
}
