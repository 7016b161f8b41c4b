package crashfs

import (
	"fmt"
	"hash/maphash"
	"io/fs"
	"math/rand/v2"
	"slices"
	"strconv"
)

// cut says which part of what is pending a power cut leaves.
type cut struct {
	name string
	move func(*move) bool
	data func(id int, n *node) []byte
	meta func(*node) meta
}

// apply builds the disk that the cut leaves. Nodes on which it has no effect
// are shared.
func (s *state) apply(c cut) state {
	out := s.snapshot()
	out.settle(c.move)
	out.moves = nil
	links := make([]int, len(out.nodes))
	links[0] = 1
	for _, n := range out.nodes {
		for _, id := range n.synced {
			links[id]++
		}
	}
	for id, n := range out.nodes {
		if n.kind != fs.ModeDir && !n.pending() && n.links == links[id] && n.failures == 0 {
			continue
		}
		m := c.meta(n)
		fresh := &node{kind: n.kind, meta: m, durable: m, links: links[id], synced: n.synced, names: n.synced}
		if n.kind != fs.ModeDir {
			fresh.data = slices.Clip(c.data(id, n))
			fresh.base = fresh.data
		}
		out.nodes[id] = fresh
	}
	return out
}

func noMove(*move) bool              { return false }
func anyMove(*move) bool             { return true }
func baseOnly(_ int, n *node) []byte { return n.base }
func allOf(_ int, n *node) []byte    { return replay(n.base, n.changes) }
func durableMeta(n *node) meta       { return n.durable }
func latestMeta(n *node) meta        { return n.meta }
func sizeOnly(_ int, n *node) []byte { return replay(n.base, lengthsOf(n)) }

// lengthsOf is the changes with zeros for what lengthens the file, as where a
// length reached the disk before the data, and without what overwrites.
func lengthsOf(n *node) (out []change) {
	size := int64(len(n.base))
	for _, c := range n.changes {
		if c.cut {
			size = c.off
		} else if c.end() <= size {
			continue
		} else {
			c.off, c.data = size, make([]byte, c.end()-size)
			size = c.end()
		}
		out = append(out, c)
	}
	return out
}

// fixed are the cuts tried at every point: nothing of what is pending, all,
// names without data, data without names, lengths without data.
var fixed = []cut{
	{"nothing", noMove, baseOnly, durableMeta},
	{"everything", anyMove, allOf, latestMeta},
	{"names only", anyMove, baseOnly, durableMeta},
	{"data only", noMove, allOf, latestMeta},
	{"names and lengths", anyMove, sizeOnly, latestMeta},
}

// prefixes are the cuts that leave the first so many of the pending changes,
// in the order of the calls; where the last one is a write, also parts of it.
func (s *state) prefixes() []cut {
	var order []int
	length := map[int]int{}
	for _, m := range s.moves {
		order = append(order, m.seq)
	}
	for _, n := range s.nodes {
		for _, c := range n.changes {
			order = append(order, c.seq)
			length[c.seq] = len(c.data)
		}
	}
	slices.Sort(order)
	var cuts []cut
	for i, seq := range order {
		if i < len(order)-1 { // all of them is "everything"
			cuts = append(cuts, prefix(fmt.Sprintf("prefix %d of %d", i+1, len(order)), seq, -1))
		}
		n := length[seq]
		for _, keep := range []int{1, n / 2, n - 1} {
			if keep > 0 && keep < n {
				cuts = append(cuts, prefix(fmt.Sprintf("prefix %d of %d, the last torn after %d octets", i+1, len(order), keep), seq, keep))
			}
		}
	}
	return cuts
}

// prefix keeps what is pending up to seq, and of a write with that number the
// first octets, all if negative.
func prefix(name string, seq, octets int) cut {
	return cut{
		name: name,
		move: func(m *move) bool { return m.seq <= seq },
		data: func(_ int, n *node) []byte {
			var kept []change
			for _, c := range n.changes {
				if c.seq > seq {
					break
				}
				if c.seq == seq && octets >= 0 && !c.cut {
					c.data = c.data[:octets]
				}
				kept = append(kept, c)
			}
			return replay(n.base, kept)
		},
		meta: durableMeta,
	}
}

// random is any cut: of the names any subset, or any prefix directory by
// directory; of each file any mixture of lengths, written, unwritten and torn
// data. The same seed gives the same cut.
func (s *state) random(seed uint64) cut {
	r := rand.New(rand.NewPCG(seed, 0))
	c := cut{
		name: "random " + strconv.FormatUint(seed, 10),
		data: func(_ int, n *node) []byte { return tear(r, n) },
		meta: func(n *node) meta {
			if r.IntN(2) == 0 {
				return n.durable
			}
			return n.meta
		},
	}
	kept := map[int]bool{}
	if r.IntN(2) == 0 {
		for _, m := range s.moves {
			kept[m.seq] = r.IntN(2) == 0
		}
	} else {
		kept = s.directoryPrefixes(r)
	}
	c.move = func(m *move) bool { return kept[m.seq] }
	return c
}

// directoryPrefixes keeps a prefix of the moves of each directory. A rename
// between two is in both or in none: where one has lost it, the other loses
// it too, and what came after.
func (s *state) directoryPrefixes(r *rand.Rand) map[int]bool {
	end := map[int]int{} // by directory: first move lost
	for _, m := range s.moves {
		for _, a := range m.sets {
			if _, ok := end[a.dir]; !ok {
				end[a.dir] = s.moves[r.IntN(len(s.moves))].seq + r.IntN(2)
			}
		}
	}
	kept := map[int]bool{}
	for again := true; again; {
		again = false
		for _, m := range s.moves {
			kept[m.seq] = !slices.ContainsFunc(m.sets, func(a assignment) bool { return m.seq >= end[a.dir] })
			for _, a := range m.sets {
				if !kept[m.seq] && end[a.dir] > m.seq {
					end[a.dir], again = m.seq, true
				}
			}
		}
	}
	return kept
}

// tear picks what one file holds after the cut.
func tear(r *rand.Rand, n *node) []byte {
	if len(n.changes) == 0 {
		return n.base
	}
	switch r.IntN(4) {
	case 0:
		return replay(n.base, n.changes)
	case 1:
		return n.base
	}
	sizes, longest := lengths(n)
	last := r.IntN(len(sizes)) // the changes whose length the disk knows
	size := sizes[last]
	if last > 0 && size > sizes[last-1] && r.IntN(2) == 0 {
		size -= int64(r.IntN(int(size - sizes[last-1])))
	}
	buf := make([]byte, longest)
	fill(r, buf[copy(buf, n.base):])
	for i, c := range n.changes {
		switch {
		case c.cut:
			if i < last {
				fill(r, buf[c.off:])
			}
		case r.IntN(4) == 0: // not written
		case r.IntN(3) == 0: // written in part
			copy(buf[c.off:], c.data[:r.IntN(len(c.data)+1)])
		default:
			copy(buf[c.off:], c.data)
		}
	}
	return buf[:size:size]
}

// lengths are all that the file has had since its last sync, and the longest
// that any part of them can give.
func lengths(n *node) (all []int64, longest int64) {
	size := int64(len(n.base))
	all, longest = []int64{size}, size
	for _, c := range n.changes {
		if c.cut {
			size = c.off
		} else {
			size = max(size, c.end())
		}
		all, longest = append(all, size), max(longest, size, c.end())
	}
	return all, longest
}

// fill puts what a block holds that was allocated and never written: zeros, or
// whatever was there before, here text with line ends, so that a reader that
// only looks for lines is taken in.
func fill(r *rand.Rand, p []byte) {
	if r.IntN(2) == 0 {
		clear(p)
		return
	}
	const old = "abcdefghij KLMNOP 0123456789 :=@<>\n\n\x00\xff"
	for i := range p {
		p[i] = old[r.IntN(len(old))]
	}
}

// hash is equal for states that no process can tell apart.
func (s *state) hash(seed maphash.Seed) uint64 {
	var sum uint64
	var line []byte
	for id, n := range s.nodes {
		if n.links == 0 {
			continue
		}
		line = fmt.Appendf(line[:0], "%d %d %d %d %d %d ", id, n.kind, n.meta.mode, n.meta.uid, n.meta.gid, n.links)
		sum += maphash.Bytes(seed, append(line, n.data...))
		for name, file := range n.names {
			line = fmt.Appendf(line[:0], "%d/%s %d", id, name, file)
			sum += maphash.Bytes(seed, line)
		}
	}
	return sum
}
