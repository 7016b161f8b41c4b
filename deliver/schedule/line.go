package schedule

import "slices"

// anyOpen reports whether one of these gates would have an answer for an item.
func (s *Schedule) anyOpen(it *item, names []Gate) bool {
	return slices.ContainsFunc(names, func(name Gate) bool { return s.firstFull(it, name) == nil })
}

// firstFull returns the gate on the passage of a Gate at which an item would
// be refused without an answer. nil: there is none.
func (s *Schedule) firstFull(it *item, name Gate) *gate {
	for _, g := range s.passage(name) {
		switch {
		case g.isDown():
			return nil
		case g.full(it) && it.reserved != g:
			return g
		}
	}
	return nil
}

// stand puts an item into the lines of these gates, all of which are full. It
// stands in each line once; on a passage of several gates in that of the one that
// refused it, if that is full still. Another one may be full for no more than a
// place that it left when it was refused, and those in its line would call each
// other in turn without end.
func (s *Schedule) stand(it *item, names []Gate, refused []refusal) {
	it.only = Gate{}
	if len(names) == 1 {
		it.only = names[0]
	}
	for _, name := range names {
		g := s.firstFull(it, name)
		for _, r := range refused {
			if r.name == name && r.by.full(it) && it.reserved != r.by && !r.by.isDown() {
				g = r.by
			}
		}
		if !slices.Contains(it.lines, g) {
			it.lines = append(it.lines, g)
			g.line.push(it)
		}
	}
}

// Scarce reports whether messages wait for a place at any next hop at all.
func (s *Schedule) Scarce() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.gate(All(Host)).line.n > 0
}

// admit calls as many of a gate's line as there are places, by turns and no more
// of a submitter than has a share; of a gate that is down, all.
func (s *Schedule) admit(g *gate) {
	if g.isDown() {
		s.call(g, g.line.n, anyItem, true)
		return
	}
	s.call(g, g.places-g.inside-g.reserved, func(it *item) bool { return !g.shareFull(it) }, false)
}

// anyItem lets everybody be called.
func anyItem(*item) bool { return true }

// CallAll calls everybody in the line of a gate: what they wait for is known.
func (s *Schedule) CallAll(name Gate) {
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.gate(name)
	s.call(g, g.line.n, anyItem, true)
}

// call reserves a place for each of the next n of the line: one that has
// nothing else to do is due, one in work is told. One that waits elsewhere too,
// and was called from there, is passed over. answered: what they wait for is known,
// also where they could not pass another gate.
func (s *Schedule) call(g *gate, n int, may func(*item) bool, answered bool) {
	for n > 0 {
		it := g.line.pop(may)
		if it == nil {
			return
		}
		it.lines = slices.DeleteFunc(it.lines, func(x *gate) bool { return x == g })
		switch {
		case it.reserved != nil, !answered && s.movesOn(it, g):
			continue
		case it.state == inLine:
			s.inLine--
			it.state = fresh
			s.called = append(s.called, it)
			s.change()
		case it.state == active && it.work != nil && it.work.listening:
			select {
			case it.work.called <- struct{}{}:
			default:
			}
		default:
			continue
		}
		n -= g.reserve(it)
	}
}

// movesOn puts an item that waits for one Gate alone into the line of the gate on
// its passage that is full although g is not, and reports whether there is one. If
// it were called it would be read and refused, and the next one after it: thousands
// may wait for the names of one address.
func (s *Schedule) movesOn(it *item, g *gate) bool {
	if it.only == (Gate{}) {
		return false
	}
	for _, x := range s.passage(it.only) {
		switch {
		case x.isDown():
			return false
		case x != g && x.full(it):
			it.lines = append(it.lines, x)
			x.line.push(it)
			return true
		}
	}
	return false
}

// giveUp gives back a reserved place that was not used: the message went
// elsewhere.
func (s *Schedule) giveUp(it *item) {
	if g := it.reserved; g != nil {
		g.unreserve(it)
		s.admit(g)
	}
}
