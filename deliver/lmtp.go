package deliver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"postoffice/deliver/local"
	"postoffice/deliver/remote"
	"postoffice/internal/smtp"
)

const (
	storePlaces = 20          // sessions with the LMTP server
	storeRelay  = "lmtp"      // its name in log and reports
	passLinger  = linger / 50 // how long a session waits for more in a pass
)

// A storeJob is one message for one mailbox of the LMTP server.
type storeJob struct {
	m      remote.Message
	socket string
	o      remote.Options
	result chan remote.Result // buffered
}

// toStore gives the message to the LMTP server. Nobody else looks for the
// user's .forward there, so that it is asked for first.
func (a *attempt) toStore(t *target) answer {
	if !t.final {
		has, err := a.s.Local.Forwards(a.work, t.name, t.extension)
		switch {
		case a.work.Err() != nil:
			return answer{skipped: true}
		case err != nil:
			return answer{outcome: deferral("4.2.0", "it is not known now whether this user's mail is forwarded", err)}
		case has:
			return answer{forwarded: true}
		}
	}
	m, done := a.storeMessage(t)
	res := a.r.storeAnswer(&storeJob{m: m, socket: a.s.storeSocket(), o: a.s.Remote, result: make(chan remote.Result, 1)})
	done()
	x := answer{outcome: storeOutcome(res, a.s.storeSocket())}
	x.skipped = x.outcome.Action == Deferred && a.work.Err() != nil
	return x
}

// storeMessage is the message for one mailbox; done is to be called when it has
// been sent. Reports to the sender are ours: the store is asked for none.
func (a *attempt) storeMessage(t *target) (m remote.Message, done func()) {
	m = remote.Message{
		ReversePath: a.s.qualified(t.reverse),
		Recipients:  []smtp.Recipient{{Path: a.s.storeAddress(t)}},
		Size:        a.m.Size(),
		Trace:       a.tracer(),
	}
	for _, p := range a.env.Params {
		if p.Name == "BODY" || p.Name == "SMTPUTF8" {
			m.Params = append(m.Params, p)
		}
	}
	var opened []func()
	m.Open = func() io.Reader {
		body, done := a.finished(local.FormatOptions{Form: local.FormLMTP})
		opened = append(opened, done)
		return body
	}
	return m, func() {
		for _, done := range opened {
			done()
		}
	}
}

// storeAddress is how the LMTP server knows a mailbox, with its detail.
func (s *settings) storeAddress(t *target) smtp.Path {
	p := smtp.Path{Local: t.name, Domain: s.Hostname}
	if t.extension != "" && s.Delimiter != "" {
		p.Local += s.Delimiter + t.extension
	}
	return p
}

// storeOutcome translates what came of it. A store that can't be reached, or
// breaks off, says nothing about the message (A41).
func storeOutcome(res remote.Result, socket string) Outcome {
	o := outcomeOf(res)
	o.Relay = storeRelay
	if o.Reply.IsZero() && o.Action == Deferred {
		o = deferral("4.3.0", "the mail store does not answer now",
			fmt.Errorf("LMTP server at %s (is it running, and its socket open to the server's user?): %w", socket, o.Err))
	}
	return o
}

// storeAnswer hands a job to a session that lingers, or to a new one, and waits
// for its result: the store's gate bounds how many there are.
func (r *Runner) storeAnswer(j *storeJob) remote.Result {
	select {
	case r.storeJobs <- j:
	default:
		r.mu.Lock()
		stop, work, wait := r.stop, r.work, linger
		if r.once {
			wait = passLinger
		}
		r.mu.Unlock()
		r.tasks.Go(func() { r.storeSession(stop, work, wait, j) })
	}
	return <-j.result
}

// storeSession takes job after job until none comes for a moment, or the session
// is of no further use.
func (r *Runner) storeSession(stop, work context.Context, wait time.Duration, j *storeJob) {
	var s *remote.Session
	for j != nil {
		if s = r.storeSend(work, j, s); s == nil {
			return
		}
		timer := time.NewTimer(wait)
		select {
		case j = <-r.storeJobs:
		case <-timer.C:
			j = nil
		case <-stop.Done():
			j = nil
		}
		timer.Stop()
	}
	s.Close()
}

// storeSend sends one message and returns the session if it may be used again.
// A store that can't be reached, or hangs, is left alone for a while; one that
// breaks off may have done so because of this message.
func (r *Runner) storeSend(work context.Context, j *storeJob, s *remote.Session) *remote.Session {
	for {
		if s == nil {
			o, err := j.o, error(nil)
			o.Trace = j.m.Trace
			if s, err = remote.DialLMTP(work, j.socket, o); err != nil {
				r.storeDown(work, j, remote.ResultOf(err))
				return nil
			}
		}
		results, err := s.Send(work, j.m)
		switch {
		case errors.Is(err, remote.ErrStale):
			s.Close()
			s = nil
			continue
		case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, remote.ErrLimit):
			r.storeDown(work, j, results[0])
		default:
			j.result <- results[0]
		}
		if err != nil || !s.Usable() {
			s.Close()
			return nil
		}
		return s
	}
}

// storeDown answers a job; what waits for the store gets the same words.
func (r *Runner) storeDown(work context.Context, j *storeJob, res remote.Result) {
	if work.Err() == nil {
		r.mu.Lock()
		r.markDown(&r.dests.store, boxDown, storeOutcome(res, j.socket))
		r.mu.Unlock()
	}
	j.result <- res
}
