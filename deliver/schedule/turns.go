package schedule

// A line has the messages that wait for the same thing, in turns: one of each
// submitter, and those of one submitter in the order in which they came.
type line struct {
	n    int
	of   map[string]*queue // by submitter
	ring []*queue          // the same, in the order of their turns
}

// A queue is what one submitter has in a line.
type queue struct {
	submitter string
	items     []*item
}

// push adds a message at the end of its submitter's queue.
func (l *line) push(it *item) {
	q := l.of[it.submitter]
	if q == nil {
		if l.of == nil {
			l.of = map[string]*queue{}
		}
		q = &queue{submitter: it.submitter}
		l.of[it.submitter] = q
		l.ring = append(l.ring, q)
	}
	q.items = append(q.items, it)
	l.n++
}

// pop takes the next message off the line: the first one of the submitter whose
// turn it is, of those for whose message may returns true. nil: there is none.
func (l *line) pop(may func(*item) bool) *item {
	for range l.ring {
		q := l.ring[0]
		l.ring[0] = nil
		l.ring = l.ring[1:]
		if !may(q.items[0]) {
			l.ring = append(l.ring, q)
			continue
		}
		var it *item
		it, q.items = shift(q.items)
		l.n--
		if len(q.items) == 0 {
			delete(l.of, q.submitter)
		} else {
			l.ring = append(l.ring, q)
		}
		return it
	}
	return nil
}
