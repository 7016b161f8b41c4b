package judging

import (
	"errors"
	"time"

	"postoffice/applets/filters"
	"postoffice/internal/smtp"
	"postoffice/spool"
	"postoffice/spool/envelope"
)

// waits is what becomes of a message that can't be judged now: it waits on, or goes back when
// it is too old. The error is turn's.
func (w *Waiting) waits(m *spool.Message, it *item, why error) error {
	env, over, err := m.Envelope(), false, error(nil)
	if !w.begins() {
		over, err = w.o.GiveUp(m, lastWord(why))
	}
	if !over {
		w.note(m, it, errors.Join(why, err))
		return why
	}
	w.forget(it)
	w.o.Over(it.id, env)
	return errOver
}

// begins reports whether Run has just begun: a machine that was off for days starts its
// filters beside us, and what became too old meanwhile was shown to none.
func (w *Waiting) begins() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return !w.began.IsZero() && w.o.Now().Sub(w.began).Abs() < startWait
}

// lastWord is what a sender hears of why a message could not be judged: a filter's words,
// where it had any. What else it is is this machine's, and in the log.
func lastWord(why error) smtp.Reply {
	var later *filters.Later
	if errors.As(why, &later) {
		return later.Reply
	}
	return smtp.Reply{Code: 451, Status: "4.7.1", Text: "what judges mail here could not be asked about it: ask postmaster"} // a filter, or the program of option av, is away or broken
}

// note has mailq tell why a message waits.
func (w *Waiting) note(m *spool.Message, it *item, why error) {
	n := envelope.Note{Time: w.o.Now(), Event: spool.WaitsEvent, Err: smtp.Printable(why.Error(), maxFinding), Next: w.o.Now().Add(pauseAfter(it.tried))}
	_ = m.Note(n) // a hint
	if it.tried == 0 {
		w.o.Waits(it.id, m.Envelope())
	}
}

// pauseAfter is how long a message waits that was tried so often before.
func pauseAfter(tried int) time.Duration {
	if tried > 5 {
		return maxPause
	}
	return min(firstPause<<tried, maxPause)
}
