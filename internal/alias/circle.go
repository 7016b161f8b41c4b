package alias

import "slices"

// A Finder finds aliases that lead back to themselves among all of a file's. It
// takes 12 octets of memory for each name that stands for another. Its zero
// value is ready.
type Finder struct {
	// Local reports whether a domain is this machine's; nil: none is, and names
	// without one are.
	Local func(domain string) bool

	edges [][]edge // in parts that are never copied
	n     int
}

// An edge says that one alias names another. Both are known by hashes, so that
// what is found has to be looked at once more.
type edge struct{ from, to, line uint32 }

const maxPart = 1 << 16 // edges

// A Circle is a way from an alias back to itself.
type Circle struct {
	Names []string // the first is the last, too
	Line  int      // of the first
	Alone bool     // the names in it stand for nobody else
}

// Add takes in an alias.
func (f *Finder) Add(e Entry) {
	for _, t := range e.Targets {
		if name, ok := f.name(t); ok && Key(name) != Key(e.Name) {
			f.add(edge{hashOf(e.Name), hashOf(name), uint32(e.Line)})
		}
	}
}

func (f *Finder) add(e edge) {
	last := len(f.edges) - 1
	if last < 0 || len(f.edges[last]) == cap(f.edges[last]) {
		f.edges = append(f.edges, make([]edge, 0, min(max(f.n, 64), maxPart)))
		last++
	}
	f.edges[last] = append(f.edges[last], e)
	f.n++
}

// hashOf is FNV-1a of a name's key.
func hashOf(name string) uint32 {
	h := uint32(2166136261)
	for _, c := range []byte(Key(name)) {
		h = (h ^ uint32(c)) * 16777619
	}
	return h
}

// name is the local name that a target is.
func (f *Finder) name(t Target) (string, bool) {
	local := t.Path.Domain == "" || f.Local != nil && f.Local(t.Path.Domain)
	return t.Path.Local, t.Kind == Address && local
}

// maxRounds bounds the search for suspects. Aliases are not nested as deep.
const maxRounds = 30

// Suspects returns the lines of aliases that may be in circles, or lead to some:
// what Find wants of the file. No other alias is in one.
func (f *Finder) Suspects() map[int]bool {
	for range maxRounds {
		n := f.n
		if f.prune(); f.n == n {
			break
		}
	}
	lines := map[int]bool{}
	for _, part := range f.edges {
		for _, e := range part {
			lines[int(e.line)] = true
		}
	}
	return lines
}

// prune keeps the edges behind whose end another one begins, by a table with a
// bit for what begins: it keeps a few more.
func (f *Finder) prune() {
	size := uint32(64) // words of 64 bits
	for int(size) < f.n/8 {
		size *= 2
	}
	starts := make([]uint64, size)
	at := func(h uint32) (word *uint64, bit uint64) { return &starts[h>>6&(size-1)], 1 << (h & 63) }
	for _, part := range f.edges {
		for _, e := range part {
			word, bit := at(e.from)
			*word |= bit
		}
	}
	f.n = 0
	for i, part := range f.edges {
		kept := part[:0]
		for _, e := range part {
			if word, bit := at(e.to); *word&bit != 0 {
				kept = append(kept, e)
			}
		}
		f.edges[i] = kept
		f.n += len(kept)
	}
}

// Find returns the circles among the suspects, in their order. Of those that
// have names in common one is returned.
func (f *Finder) Find(suspects []Entry) []Circle {
	k := knots{f: f, names: map[string]*name{}}
	for _, e := range suspects {
		if k.names[Key(e.Name)] == nil {
			k.names[Key(e.Name)] = &name{Entry: e}
		}
	}
	for _, e := range suspects {
		if n := k.names[Key(e.Name)]; n.at == 0 {
			k.visit(n)
		}
	}
	var all []Circle
	told := make([]bool, len(k.alone))
	for _, e := range suspects {
		n := k.names[Key(e.Name)]
		if n.Line != e.Line || told[n.knot-1] {
			continue
		}
		told[n.knot-1] = true
		if names := k.around(n); names != nil {
			all = append(all, Circle{Names: names, Line: e.Line, Alone: k.alone[n.knot-1]})
		}
	}
	return all
}

// knots are sets of aliases of which each leads to each other (Tarjan's strongly
// connected components).
type knots struct {
	f     *Finder
	names map[string]*name // by key
	met   int
	stack []*name
	alone []bool // of each knot: whether nobody is at its ends
}

// name is an alias with its place in the search.
type name struct {
	Entry
	at, low int // when it was met, from 1, and the first that it leads to
	knot    int // from 1; 0: not known yet
	from    *name
}

// next calls do with each alias that n names beside itself; other is whether it
// names anything else, itself included.
func (k *knots) next(n *name, do func(to *name)) (other bool) {
	for _, t := range n.Targets {
		local, ok := k.f.name(t)
		to := k.names[Key(local)]
		if !ok || to == nil || to == n {
			other = true
			continue
		}
		do(to)
	}
	return other
}

// A step is one on the way of a visit: an alias, and those behind it that are not
// looked at yet.
type step struct {
	n  *name
	to []*name
}

// visit finds the knots behind an alias. Its way lies in a slice: a circle may
// have as many names as the file.
func (k *knots) visit(first *name) {
	for way := []step{k.meet(first)}; len(way) > 0; {
		s := &way[len(way)-1]
		if len(s.to) > 0 {
			to := s.to[0]
			s.to = s.to[1:]
			if to.at == 0 {
				way = append(way, k.meet(to))
			} else if to.knot == 0 {
				s.n.low = min(s.n.low, to.low)
			}
			continue
		}
		k.tie(s.n)
		if way = way[:len(way)-1]; len(way) > 0 && s.n.knot == 0 {
			before := way[len(way)-1].n
			before.low = min(before.low, s.n.low)
		}
	}
}

// meet begins with an alias.
func (k *knots) meet(n *name) step {
	k.met++
	n.at, n.low = k.met, k.met
	k.stack = append(k.stack, n)
	s := step{n: n}
	k.next(n, func(to *name) { s.to = append(s.to, to) })
	return s
}

// tie makes a knot of n and what it leads to, if it was the first of them to be
// met.
func (k *knots) tie(n *name) {
	if n.low < n.at {
		return
	}
	first := len(k.stack) - 1
	for k.stack[first] != n {
		first--
	}
	knot := len(k.alone) + 1
	for _, m := range k.stack[first:] {
		m.knot = knot
	}
	alone := true
	for _, m := range k.stack[first:] {
		other := k.next(m, func(to *name) { alone = alone && (to.knot == knot || k.alone[to.knot-1]) })
		alone = alone && !other
	}
	k.stack = k.stack[:first]
	k.alone = append(k.alone, alone)
}

// around is the shortest way within its knot from n back to it; nil where it is
// alone there.
func (k *knots) around(n *name) []string {
	for queue := []*name{n}; len(queue) > 0 && n.from == nil; queue = queue[1:] {
		k.next(queue[0], func(to *name) {
			if to.from == nil && to.knot == n.knot {
				to.from = queue[0]
				queue = append(queue, to)
			}
		})
	}
	if n.from == nil {
		return nil
	}
	names := []string{n.Name}
	for at := n.from; at != n; at = at.from {
		names = append(names, at.Name)
	}
	names = append(names, n.Name)
	slices.Reverse(names)
	return names
}
