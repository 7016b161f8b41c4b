package deliver

import (
	"context"
	"time"

	"postoffice/deliver/remote"
	"postoffice/internal/smtp"
)

// A job is what of one message goes to one host. It has a place in the host's
// gate until all its targets are answered for.
type job struct {
	a       *attempt
	h       *host
	via     []remote.Target
	reverse smtp.Path
	targets []*target // still to be sent
}

// startHops hands what was placed to the hosts' queues.
func (a *attempt) startHops() {
	for _, id := range sorted(a.hops) {
		h := a.hops[id]
		delete(a.hops, id)
		if a.broken || a.stop.Err() != nil {
			continue
		}
		if down := a.enqueue(h); down != nil {
			var answers []answer
			for _, t := range h.targets {
				answers = append(answers, answer{t: t, outcome: *down, remembered: true})
			}
			a.record(answers)
		}
	}
}

// enqueue gives a job to a host that has a place for it. down is the outcome
// if the host is known not to answer.
func (a *attempt) enqueue(hp *hop) (down *Outcome) {
	r := a.r
	r.mu.Lock()
	defer r.mu.Unlock()
	h := r.dests.host(hp.rt.key)
	ok, down := h.enter(a.it)
	if !ok {
		if down == nil {
			a.busy = append(a.busy, refused{&h.gate, func() { a.addHop(hp) }})
		}
		return down
	}
	a.open += (len(hp.targets) + domainRcptMax - 1) / domainRcptMax
	h.queue = append(h.queue, &job{a: a, h: h, via: hp.rt.targets, reverse: hp.reverse, targets: hp.targets})
	r.serve(h)
	return nil
}

// serve sees to it that a waiting job finds a session: one that lingers, a
// new one, or the next that is free. The caller holds mu.
func (r *Runner) serve(h *host) {
	switch {
	case len(h.queue) == 0:
	case h.idlers > 0:
		h.idlers--
		h.wake <- struct{}{} // has room for every session
	case h.live >= h.limit:
	case h.live == 0 && r.dests.first < maxHosts:
		r.dests.first++
		r.open(h)
	case h.live > 0 && r.dests.extra < maxExtra:
		r.dests.extra++
		r.open(h)
	case h.live == 0 && !h.hungry:
		h.hungry = true
		r.dests.hungry = append(r.dests.hungry, h)
	}
}

func (r *Runner) open(h *host) {
	h.live++
	h.hungry = false
	stop, work := r.stop, r.work
	r.tasks.Go(func() {
		r.session(stop, work, h)
		r.poke()
	})
}

// session takes the host's jobs one after the other until there are none. A
// session that is too old for another message is closed (remote.Session). Its
// place is free when the connection is closed, and not before: the host may
// allow no other.
func (r *Runner) session(stop, work context.Context, h *host) {
	var s *remote.Session
	for n := 0; ; n++ {
		if s != nil && !s.Usable() {
			s.Close()
			s = nil
		}
		j := r.nextJob(stop, h, s != nil, n)
		if j == nil {
			break
		}
		var err error
		if s, err = r.send(work, j, s); err != nil {
			break
		}
	}
	if s != nil {
		s.Close()
	}
	r.mu.Lock()
	r.ended(h)
	r.mu.Unlock()
}

// nextJob takes a job off the host's queue. Without one, a session that is
// open lingers a moment; then, or when other hosts need a session more, nil
// ends it.
func (r *Runner) nextJob(stop context.Context, h *host, open bool, n int) *job {
	r.mu.Lock()
	defer r.mu.Unlock()
	for {
		yield := len(r.dests.hungry) > 0 && n >= maxSessionJobs
		if len(h.queue) > 0 && !yield {
			j := h.queue[0]
			h.queue[0] = nil
			h.queue = h.queue[1:]
			return j
		}
		if !open || len(h.queue) > 0 || len(r.dests.hungry) > 0 || r.once || stop.Err() != nil {
			return nil
		}
		if !r.linger(stop, h) {
			open = false
		}
	}
}

// ended gives a session's place to whoever waits for one. The caller holds mu.
func (r *Runner) ended(h *host) {
	h.live--
	if h.live == 0 {
		r.dests.first--
	} else {
		r.dests.extra--
	}
	if len(r.dests.hungry) > 0 { // before this host: it has had its turn
		next := r.dests.hungry[0]
		r.dests.hungry = r.dests.hungry[1:]
		next.hungry = false
		r.serve(next)
	}
	r.serve(h)
}

// linger waits for a job and says whether to look for one. It gives mu up
// meanwhile.
func (r *Runner) linger(stop context.Context, h *host) bool {
	h.idlers++
	r.mu.Unlock()
	timer := time.NewTimer(linger)
	woken := false
	select {
	case <-h.wake:
		woken = true
	case <-timer.C:
	case <-stop.Done():
	}
	timer.Stop()
	r.mu.Lock()
	if !woken {
		if h.idlers > 0 {
			h.idlers--
		} else {
			<-h.wake // it was sent when we gave up
			return true
		}
	}
	return woken
}
