package deliver

import (
	"context"
	"errors"
	"io"
	"time"

	"postoffice/deliver/remote"
	"postoffice/internal/smtp"
)

// send makes the transactions of one job and answers for each as it ends. It
// returns the session if it may be used again; errPutBack ends the session
// that could not be had.
func (r *Runner) send(work context.Context, j *job, s *remote.Session) (*remote.Session, error) {
	for len(j.targets) > 0 {
		part := j.targets[:min(len(j.targets), domainRcptMax)]
		if j.a.dead.Load() || j.a.stop.Err() != nil {
			j.answer(part, answer{skipped: true})
			continue
		}
		var err error
		if s, err = r.connected(work, j, s); err != nil {
			if errors.Is(err, errPutBack) {
				return nil, err
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
	return s, nil
}

// errPutBack: the job is in the queue again, for the host's other sessions.
var errPutBack = errors.New("left to another session")

// downError is a host that was found down a moment ago.
type downError struct{ words Outcome }

func (e *downError) Error() string { return "host is down" }

// connected returns s, or a new session. A host that has just served us and
// now says "busy", to the only session there is, is asked a few times more: it
// may not have noticed yet that the one before has ended.
func (r *Runner) connected(work context.Context, j *job, s *remote.Session) (*remote.Session, error) {
	for try := 0; s == nil; try++ {
		if words := r.isDown(j.h); words != nil {
			return nil, &downError{*words}
		}
		var err error
		o := j.a.s.Remote
		o.Trace = j.a.tracer()
		if s, err = remote.DialAny(work, j.via, o); err == nil {
			return s, nil
		}
		if r.putBack(work, j) {
			return nil, errPutBack
		}
		if try == busyTries || !r.justServed(j.h, err) || !pause(j.a.stop, busyPause) {
			return nil, err
		}
	}
	return s, nil
}

func (r *Runner) isDown(h *host) *Outcome {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !time.Now().Before(h.downUntil) {
		return nil
	}
	words := h.downWords
	return &words
}

// putBack leaves a job to the host's other sessions, if it has some: it takes
// mail, but not from so many at once.
func (r *Runner) putBack(work context.Context, j *job) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	h := j.h
	h.limit = max(1, min(h.limit, h.live)-1)
	if h.live < 2 || work.Err() != nil {
		return false
	}
	h.ceiling, h.ceilingUntil = h.limit, time.Now().Add(ceilingAge)
	h.queue = append([]*job{j}, h.queue...)
	return true
}

// justServed says that a host refused for the moment and took mail a moment
// ago.
func (r *Runner) justServed(h *host, err error) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return remote.ResultOf(err).Reply.Temporary() && time.Since(h.served) < servedAge
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
	h.served = time.Now()
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
		Params:      j.a.env.Params,
		Size:        j.a.m.Size(),
		Trace:       j.a.tracer(),
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
