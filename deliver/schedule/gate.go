package schedule

import (
	"time"

	"postoffice/deliver/outcome"
)

// A Kind is what a gate stands before.
type Kind uint8

const (
	Mailbox    Kind = iota // of a user
	Stored                 // a mailbox that the LMTP server keeps
	Virtual                // the same of a virtual domain's user, which may be another server's
	Program                // the programs and files of one user, or of one alias
	Mailer                 // the command of option mailer for one user
	List                   // the .forward and personal alias files of one user, or the list of one alias
	Host                   // a next hop
	Domain                 // the answer of DNS about one domain
	InWork                 // being in work at all; it has the gate All(InWork) alone
	Network                // the addresses of one network, as next hops
	Recipients             // the memory for the recipients of messages in work; it has the gate All(Recipients) alone
)

// kinds says how many messages are let through. The gates of whole kinds keep
// the kinds apart: InWork has more places than Host, Domain, Mailbox, List,
// Program, Mailer, Stored and Virtual in all, and than messages that wait in work may be (see
// Work.Hold), so that whatever one of them waits for, the others go on (rule A39).
var kinds = [...]struct {
	first  int           // at one gate to begin with
	most   int           // at one gate once it has shown that it takes mail
	all    int           // at all gates of the kind together; 0: no limit
	slow   int           // beside these, of those that take long: see LeaveBehind
	shared bool          // one submitter has at most a quarter of all
	down   time.Duration // how long one that is down is left alone
}{
	InWork:  {all: MaxActive, shared: true},
	Mailbox: {first: 16, most: 64, all: 256, down: 30 * time.Second}, // 64: one batch of deliver/local
	Stored:  {first: 16, most: 64, down: 30 * time.Second, all: 20},
	Virtual: {first: 16, most: 64, down: 30 * time.Second, all: 20},
	Program: {first: 4, most: 4, all: 32, slow: 96},
	Mailer:  {first: 4, most: 4, all: 64, slow: 64, down: 30 * time.Second},
	List:    {first: 4, most: 4, all: 128, down: 30 * time.Second},
	Host:    {first: 1, most: 40, all: 1000, shared: true, down: 2 * time.Minute},
	Network: {first: 10, most: 40},
	Domain:  {first: 2, most: 2, all: 96, shared: true, down: time.Minute}, // each asks two questions at a time: see resolver.Options

	Recipients: {all: 30_000, shared: true},
}

// Places returns how many messages are let through at most, at one gate of the
// kind and at all of them together; 0: no limit.
func (k Kind) Places() (each, all int) { return kinds[k].most, kinds[k].all }

const sweepFrom = 4096 // gates; from there idle ones are forgotten

// A Gate lets a few messages to one destination at a time.
type Gate struct {
	Kind Kind
	Key  string // the user, with the alias if it is one's program, next hop or domain
	all  bool   // the gate of the whole kind
}

// All returns the gate before all destinations of a kind together, which Enter
// passes too, where the kind has one.
func All(k Kind) Gate { return Gate{Kind: k, all: true} }

// A gate is what is known of a Gate that was used lately. The Schedule's mutex
// guards it.
type gate struct {
	inside   int // messages that have entered
	reserved int // places kept for messages that were called
	places   int
	share    int            // of the places, for one submitter; 0: all
	of       map[string]int // places of each submitter, taken and reserved, if there are shares
	weighs   bool           // a message takes more than one place: see Work.Hold
	beside   *gate          // which is passed with this one; nil: none
	line     line
	behind   int // gates that this one stands beside
	slow     int // messages that LeaveBehind counts, at the gate of a whole kind

	downUntil time.Time
	downWords outcome.Outcome
}

// gate returns what is known of a Gate.
func (s *Schedule) gate(name Gate) *gate {
	if g := s.gates[name]; g != nil {
		return g
	}
	g := &gate{places: kinds[name.Kind].first}
	if k := kinds[name.Kind]; name.all {
		g.places, g.weighs = k.all, name.Kind == Recipients
		if k.shared {
			g.share, g.of = k.all/4, map[string]int{}
		}
	}
	s.gates[name] = g
	return g
}

// passage returns the gates that Enter has to pass.
func (s *Schedule) passage(name Gate) []*gate {
	g := s.gate(name)
	passed := []*gate{g}
	if g.beside != nil {
		passed = append(passed, g.beside)
	}
	if kinds[name.Kind].all > 0 && !name.all {
		passed = append(passed, s.gate(All(name.Kind)))
	}
	return passed
}

// Beside makes whoever enters a gate pass another one too, from when nobody has
// a place at it or waits for one, and until it has shown that it takes mail: others
// who don't may fill that one, and names for them are anybody's to make.
func (s *Schedule) Beside(name, other Gate) {
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.gate(name)
	if g.inside+g.reserved+g.line.n > 0 {
		return
	}
	if g.beside != nil {
		g.beside.behind--
		g.beside = nil
	}
	if g.places > kinds[name.Kind].first {
		return
	}
	g.beside = s.gate(other)
	g.beside.behind++
}

// sweep forgets idle gates where there are many, and when there are twice as
// many again.
func (s *Schedule) sweep() {
	if len(s.gates) < s.sweepAt {
		return
	}
	for name, g := range s.gates {
		if !g.idle() {
			continue
		}
		if g.beside != nil {
			g.beside.behind--
		}
		delete(s.gates, name)
	}
	s.sweepAt = max(sweepFrom, 2*len(s.gates))
}

// enter takes a place, a reserved one if there is one for it. down is the
// outcome of a gate that is down.
func (g *gate) enter(it *item) (ok bool, down *outcome.Outcome) {
	reserved := it.reserved == g
	if reserved {
		g.unreserve(it)
	}
	switch {
	case g.isDown():
		words := g.downWords
		return false, &words
	case !reserved && g.full(it):
		return false, nil
	}
	g.inside++
	g.count(it.submitter, +1)
	return true, nil
}

// reserve keeps places for an item that is called, and returns how many.
func (g *gate) reserve(it *item) int {
	it.reserved, it.kept = g, 1
	if g.weighs {
		it.kept = max(it.wants, 1)
	}
	g.reserved += it.kept
	g.count(it.submitter, it.kept)
	return it.kept
}

// unreserve gives them back.
func (g *gate) unreserve(it *item) {
	g.reserved -= it.kept
	g.count(it.submitter, -it.kept)
	it.reserved, it.kept = nil, 0
}

// count adds to the places of a submitter.
func (g *gate) count(submitter string, n int) {
	if g.share == 0 {
		return
	}
	if g.of[submitter] += n; g.of[submitter] == 0 {
		delete(g.of, submitter)
	}
}

func (g *gate) isDown() bool { return time.Now().Before(g.downUntil) }

// full reports whether there is no place for a message.
func (g *gate) full(it *item) bool { return g.inside+g.reserved >= g.places || g.shareFull(it) }

// shareFull reports whether the submitter of a message has as much of a gate as
// one may have. One who is not known yet has no share.
func (g *gate) shareFull(it *item) bool {
	return g.share > 0 && it.submitter != "" && g.of[it.submitter] >= g.share
}

func (g *gate) idle() bool {
	return g.inside+g.reserved+g.line.n+g.behind+g.slow == 0 && !g.isDown()
}

// Leave gives back the place of a message that has entered.
func (w *Work) Leave(name Gate) {
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	w.s.leave(w.it, w.s.passage(name))
}

// LeaveBehind gives back the place at all gates of the kind together of a message
// that has entered and takes long, so that others need not wait for it. It keeps the
// one at its own gate, and has to LeaveSlow in the end. False: too many do so.
func (w *Work) LeaveBehind(name Gate) bool {
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	all := w.s.gate(All(name.Kind))
	if all.slow >= kinds[name.Kind].slow {
		return false
	}
	all.slow++
	w.s.leave(w.it, []*gate{all})
	return true
}

// LeaveSlow gives back the place that LeaveBehind has left to a message.
func (w *Work) LeaveSlow(name Gate) {
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	w.s.gate(All(name.Kind)).slow--
	passed := w.s.passage(name)
	w.s.leave(w.it, passed[:len(passed)-1])
}

func (s *Schedule) leave(it *item, passed []*gate) {
	for _, g := range passed {
		g.inside--
		g.count(it.submitter, -1)
	}
	for _, g := range passed { // now that all have room, those that wait for several can be called
		s.admit(g)
	}
}

// Grow doubles a gate's places after a success, up to the most of its kind.
func (s *Schedule) Grow(name Gate) {
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.gate(name)
	g.places = max(g.places, min(g.places*2, kinds[name.Kind].most))
	s.admit(g)
}

// Widen gives a gate n places if it has less, up to the most of its kind.
func (s *Schedule) Widen(name Gate, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.gate(name)
	g.places = max(g.places, min(n, kinds[name.Kind].most))
	s.admit(g)
}

// Narrow leaves a gate one place, until it grows again.
func (s *Schedule) Narrow(name Gate) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gate(name).places = 1
}

// Down remembers for a while that what is behind a gate failed as a whole.
// words is the outcome for all who come meanwhile.
func (s *Schedule) Down(name Gate, words outcome.Outcome) {
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.gate(name)
	g.downUntil, g.downWords = time.Now().Add(kinds[name.Kind].down), words
	s.admit(g)
}

// ForgetDown lets every gate of these kinds be tried again.
func (s *Schedule) ForgetDown(of ...Kind) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, g := range s.gates {
		for _, k := range of {
			if name.Kind == k {
				g.downUntil = time.Time{}
			}
		}
	}
}
