package remote

import (
	"context"
	"errors"
	"slices"

	"postoffice/deliver/outcome"
	"postoffice/internal/smtp"
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
	Outcomes []outcome.Outcome // one for each, of one that was not tried a deferral with ErrUntried; nil: nothing was tried, and nothing is known
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
	done  int               // recipients that are answered for
	sofar []outcome.Outcome // of the next part, where one session was not enough; errSpent: another is to try
}

// ErrUntried stands for a recipient of a part that was begun, for whom nothing was tried.
var ErrUntried = errors.New("not tried before the end")

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

// message is the next part, or what is left of it, as a message of its own.
func (t *task) message() Message {
	m := t.Message
	m.Recipients, m.Transcript = t.open(), t.transcript()
	return m
}

// open returns the recipients of the next part that nothing is known of.
func (t *task) open() []smtp.Recipient {
	from, to := t.part()
	all := t.Message.Recipients[from:to]
	if t.sofar == nil {
		return all
	}
	var left []smtp.Recipient
	for i, o := range t.sofar {
		if errors.Is(o.Err, errSpent) {
			left = append(left, all[i])
		}
	}
	return left
}

// note keeps what came of a session, and reports whether none of the part is left for
// another.
func (t *task) note(results []outcome.Outcome) (whole bool) {
	spent := func(o outcome.Outcome) bool { return errors.Is(o.Err, errSpent) }
	if whole = !slices.ContainsFunc(results, spent); !whole {
		t.sofar = t.merged(results)
	}
	return whole
}

// merged puts results, or that there are none, in the places that are open.
func (t *task) merged(results []outcome.Outcome) []outcome.Outcome {
	if t.sofar == nil {
		return results
	}
	all := slices.Clone(t.sofar)
	for i := range all {
		if !errors.Is(all[i].Err, errSpent) {
			continue
		}
		all[i] = outcome.Outcome{Err: ErrUntried}
		if len(results) > 0 {
			all[i], results = results[0], results[1:]
		}
	}
	return all
}

// answer answers for the next part.
func (t *task) answer(x Answer) {
	x.From, x.To = t.part()
	x.Outcomes = t.merged(x.Outcomes)
	t.done, t.sofar = x.To, nil
	t.Answer(x)
}

// answerDown gives the next part the outcome of a hop that is down.
func (t *task) answerDown(down outcome.Outcome, remembered bool) {
	t.answer(Answer{Outcomes: t.repeat(down), Down: &down, Remembered: remembered})
}

// answerAll gives the next part one outcome.
func (t *task) answerAll(o outcome.Outcome) { t.answer(Answer{Outcomes: t.repeat(o)}) }

// repeat returns o for each of the next part that is open.
func (t *task) repeat(o outcome.Outcome) []outcome.Outcome {
	return slices.Repeat([]outcome.Outcome{o}, len(t.open()))
}
