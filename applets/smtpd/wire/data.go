package wire

import (
	"bufio"
	"time"
)

const (
	dataWait    = 4 * time.Hour // for a message as a whole
	dataRate    = 1000          // octets of a message a minute, at least
	crowdedRate = 1000          // octets of one a second behind the first idleWait, while few places are left

	heldStep = 1 << 20          // of a message of more octets each further so many come in heldWait
	heldWait = 10 * time.Minute // at most: what it holds is held for long enough
	lostWait = 10 * time.Second // the same for a message that there was no room for: it must only end
)

// StartData begins the time of a message, EndData ends it.
func (w *Conn) StartData() {
	w.dataStart, w.dataRead, w.heldSince, w.lost = time.Now(), int64(w.Waiting()), time.Time{}, false
}

// EndData is the other end of StartData.
func (w *Conn) EndData() { w.dataStart = time.Time{} }

// dataUntil is when the next octets of a message must come: each minute but
// the first brings 1,000 of them, no pause is longer than the timeout, and the
// whole has its limit. What was fast at first gets no credit for that once it
// holds a MiB: each further one comes in ten minutes.
func (w *Conn) dataUntil(idle time.Time) time.Time {
	rate := w.dataStart.Add(2*time.Minute + time.Duration(w.dataRead/dataRate)*time.Minute)
	until := w.dataStart.Add(dataWait)
	if rate.Before(until) {
		until = rate
	}
	if pause := idle.Add(w.Timeout); pause.Before(until) {
		until = pause
	}
	wait := heldWait
	if w.lost {
		wait = lostWait
	}
	if held := w.heldSince.Add(wait); !w.heldSince.IsZero() && held.Before(until) {
		until = held
	}
	return until
}

// behind reports whether a message has come more slowly than it must where others wait.
func (w *Conn) behind() bool {
	late := time.Since(w.dataStart) - w.idleWait()
	return late > 0 && w.dataRead < int64(late/time.Second)*crowdedRate
}

// countData counts octets of a message.
func (w *Conn) countData(n int) {
	before := w.dataRead / heldStep
	w.dataRead += int64(n)
	w.received.Add(int64(n))
	if w.dataRead/heldStep > before {
		w.heldSince = time.Now()
	}
}

// LoseData says that there is no room for the message: what still comes of it must
// come fast.
func (w *Conn) LoseData() { w.lost, w.heldSince = true, time.Now() }

// Lost reports whether LoseData was called of the message.
func (w *Conn) Lost() bool { return w.lost }

// Reader is what a message is read from.
func (w *Conn) Reader() *bufio.Reader {
	w.borrow() // of a chunk without octets nothing was waited for
	return w.in
}
