package remote

import (
	"context"

	"postoffice/deliver/outcome"
)

// A Job is one message for one next hop.
type Job struct {
	Hop     Hop
	Message Message // to all recipients there; it goes in parts of at most 100
	Options Options // of a session that is opened for it

	// Stop, when it has ended, keeps further parts from being begun.
	Stop context.Context
	// Transcript is asked for who sees the conversation, before a session is opened
	// for the Job and before each part. nil: nobody.
	Transcript func() Transcript
	// Answer is told of each part, one after the other and in order. It may
	// block: the session waits.
	Answer func(Answer)
}

// An Answer is what came of one part of a Job: of Message.Recipients[From:To].
type Answer struct {
	From, To int
	Outcomes []outcome.Outcome // one for each; nil: nothing was tried, and nothing is known
	Sessions int               // so many the hop may have by now; 0: that is not known

	// Down is the outcome for all that waits for the hop: no session could be
	// had, or a server of this machine hangs. nil: it is not down.
	Down *outcome.Outcome
	// Remembered: Down was found by another job, or by the part before. This
	// one was not tried.
	Remembered bool
}

// Answers returns how often Answer will be told.
func (j *Job) Answers() int { return (len(j.Message.Recipients) + maxRcpts - 1) / maxRcpts }

// A task is a Job that is being done.
type task struct {
	Job
	done int // recipients that are answered for
}

// part returns the recipients of the next part.
func (t *task) part() (from, to int) {
	return t.done, min(t.done+maxRcpts, len(t.Message.Recipients))
}

func (t *task) transcript() Transcript {
	if t.Transcript == nil {
		return nil
	}
	return t.Transcript()
}

// over reports whether every part is answered for.
func (t *task) over() bool { return t.done == len(t.Message.Recipients) }

// message is the next part as a message of its own.
func (t *task) message() Message {
	m := t.Message
	from, to := t.part()
	m.Recipients, m.Transcript = m.Recipients[from:to], t.transcript()
	return m
}

// answer answers for the next part.
func (t *task) answer(x Answer) {
	x.From, x.To = t.part()
	t.done = x.To
	t.Answer(x)
}

// answerDown gives the next part the outcome of a hop that is down.
func (t *task) answerDown(down outcome.Outcome, remembered bool) {
	from, to := t.part()
	x := Answer{Outcomes: make([]outcome.Outcome, to-from), Down: &down, Remembered: remembered}
	for i := range x.Outcomes {
		x.Outcomes[i] = down
	}
	t.answer(x)
}
