package deliver

import (
	"context"
	"errors"
	"io"
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
// session that is too old for another message is closed (remote.Session).
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
		s = r.send(work, j, s)
	}
	if s != nil {
		s.Close()
	}
}

// nextJob takes a job off the host's queue. Without one, a session that is
// open lingers a moment; then, or when other hosts need a session more, nil
// ends it and its place is free.
func (r *Runner) nextJob(stop context.Context, h *host, open bool, n int) *job {
	r.mu.Lock()
	defer r.mu.Unlock()
	for {
		if len(h.queue) > 0 && !r.mustYield(h, n) {
			j := h.queue[0]
			h.queue[0] = nil
			h.queue = h.queue[1:]
			return j
		}
		if !open || len(h.queue) > 0 || len(r.dests.hungry) > 0 || r.once || stop.Err() != nil {
			break
		}
		if !r.linger(stop, h) {
			open = false
		}
	}
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
	return nil
}

// mustYield says that a session has to end although there is work: its host
// may have fewer, or others have none.
func (r *Runner) mustYield(h *host, n int) bool {
	return h.live > h.limit || len(r.dests.hungry) > 0 && n >= maxSessionJobs
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

// send makes the transactions of one job and answers for each as it ends. It
// returns the session if it may be used again.
func (r *Runner) send(work context.Context, j *job, s *remote.Session) *remote.Session {
	for len(j.targets) > 0 {
		part := j.targets[:min(len(j.targets), domainRcptMax)]
		if j.a.dead.Load() || j.a.stop.Err() != nil {
			j.answer(part, answer{skipped: true})
			continue
		}
		var err error
		if s, err = r.connected(work, j, s); err != nil {
			if errors.Is(err, errPutBack) {
				return nil
			}
			j.answer(part, r.unreachable(work, j, err))
			continue
		}
		results, err := s.Send(work, j.message(part))
		if errors.Is(err, remote.ErrStale) {
			s.Close()
			s = nil
			continue
		}
		r.learn(j.h, results)
		j.answerEach(work, part, results)
		if err != nil || !s.Usable() {
			s.Close()
			s = nil
		}
	}
	r.mu.Lock()
	r.leave(&j.h.gate)
	r.mu.Unlock()
	return s
}

// errPutBack: the job is in the queue again, for the host's other sessions.
var errPutBack = errors.New("left to another session")

// downError is a host that was found down a moment ago.
type downError struct{ words Outcome }

func (e *downError) Error() string { return "host is down" }

// connected returns s, or a new session.
func (r *Runner) connected(work context.Context, j *job, s *remote.Session) (*remote.Session, error) {
	if s != nil {
		return s, nil
	}
	h := j.h
	r.mu.Lock()
	down, words := time.Now().Before(h.downUntil), h.downWords
	r.mu.Unlock()
	if down {
		return nil, &downError{words}
	}
	s, err := remote.DialAny(work, j.via, j.a.s.Remote)
	if err == nil {
		return s, nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	h.limit = max(1, min(h.limit, h.live)-1)
	h.ceiling, h.ceilingUntil = h.limit, time.Now().Add(ceilingAge)
	if h.live > 1 && work.Err() == nil { // it takes mail, but not from so many at once
		h.queue = append([]*job{j}, h.queue...)
		return nil, errPutBack
	}
	return nil, err
}

// unreachable is the answer when no session could be had. The host is left
// alone for a while, and what waits for it gets the same words.
func (r *Runner) unreachable(work context.Context, j *job, err error) answer {
	if work.Err() != nil {
		return answer{skipped: true}
	}
	if d := (*downError)(nil); errors.As(err, &d) {
		return answer{outcome: d.words, remembered: true}
	}
	o := outcomeOf(remote.ResultOf(err))
	o.Action = Deferred
	r.mu.Lock()
	defer r.mu.Unlock()
	j.h.limit, j.h.places = 1, 1
	r.markDown(&j.h.gate, hostDown, o)
	return answer{outcome: o}
}

// learn gives a host more room after each message that it answered for, and
// less when a session broke.
func (r *Runner) learn(h *host, results []remote.Result) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, res := range results {
		if res.Reply.IsZero() && res.Err != nil {
			h.limit = max(1, h.limit/2)
			return
		}
	}
	most := hostPlaces
	if time.Now().Before(h.ceilingUntil) {
		most = h.ceiling
	}
	h.limit = min(h.limit*2, most)
	h.places = max(2*h.limit, h.places)
	r.admit(&h.gate)
}

// message is one transaction.
func (j *job) message(part []*target) remote.Message {
	m := remote.Message{
		ReversePath: j.a.s.qualified(j.reverse),
		Params:      j.a.m.Envelope().Params,
		Size:        j.a.m.Size(),
		Open:        func() io.Reader { return j.a.m.Data() },
	}
	for _, t := range part {
		m.Recipients = append(m.Recipients, smtp.Recipient{Path: t.path, Params: t.params})
	}
	return m
}

// qualified gives a bare local name our host name.
func (s *settings) qualified(p smtp.Path) smtp.Path {
	if !p.IsNull() && p.Domain == "" {
		p.Domain = s.Hostname
	}
	return p
}

// answer gives all of part the same answer.
func (j *job) answer(part []*target, x answer) {
	answers := make([]answer, len(part))
	for i, t := range part {
		answers[i] = x
		answers[i].t = t
	}
	j.targets = j.targets[len(part):]
	j.a.answers <- answers
}

// answerEach gives each target its result.
func (j *job) answerEach(work context.Context, part []*target, results []remote.Result) {
	answers := make([]answer, len(part))
	for i, t := range part {
		o := outcomeOf(results[i])
		answers[i] = answer{t: t, outcome: o, skipped: o.Action == Deferred && o.Reply.IsZero() && work.Err() != nil}
	}
	j.targets = j.targets[len(part):]
	j.a.answers <- answers
}
