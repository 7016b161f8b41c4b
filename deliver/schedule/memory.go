package schedule

// An attempt holds in memory what it knows of each recipient, a KiB or more. With
// at most maxFewRecipients a message needs no place for that: MaxActive of them have
// 20,000. Any other takes leastHeld places or more, so that no more than 400 are
// in work.
const (
	maxFewRecipients = 10 // of a message that needs no place for them at All(Recipients)
	leastHeld        = 75 // places there of any other message
)

// Hold says that n recipients of the message are in memory. ok is false if there
// is no room for more: this message has to wait, see PostponeTo and All(Recipients).
// It is let in as soon as one place is free, however many recipients it has: 30,000
// places and what one message has beyond them are all that is in memory.
func (w *Work) Hold(n int) (ok bool) {
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	g := w.s.memory
	reserved := w.it.reserved == g
	if reserved {
		n = max(n, w.it.wants)
		g.unreserve(w.it)
	}
	if w.held == 0 && n <= maxFewRecipients {
		return true
	}
	n = max(n, w.it.wants, leastHeld)
	switch {
	case n <= w.held:
	case !reserved && g.full(w.it):
		w.it.wants = n
		return false
	default:
		w.s.hold(w, n-w.held)
	}
	w.it.wants = 0
	return true
}

// hold adds to the places that a message has.
func (s *Schedule) hold(w *Work, n int) {
	w.held += n
	s.memory.inside += n
	s.memory.count(w.it.submitter, n)
	if n < 0 {
		s.admit(s.memory)
	}
}

// Holds reports whether the message takes room that others may wait for: it has
// more than a few recipients.
func (w *Work) Holds() bool {
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	return w.held > 0
}

// Yield reports whether the message takes room that others wait for.
func (w *Work) Yield() bool {
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	return w.held > 0 && w.s.memory.line.n > 0
}
