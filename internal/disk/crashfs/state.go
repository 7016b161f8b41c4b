package crashfs

import (
	"io/fs"
	"maps"
	"slices"
	"time"
)

// meta is what a file's sync carries besides its data.
type meta struct {
	mode     fs.FileMode // permission, set-id and sticky bits
	uid, gid int
	modified time.Time
}

// change is one write to a file that no sync has covered yet.
type change struct {
	seq  int
	cut  bool // a truncation to off; else data written at off
	off  int64
	data []byte
}

func (c change) end() int64 { return c.off + int64(len(c.data)) }

// node is a file or a directory. Nodes in a state are immutable: who changes
// one puts a changed copy in its place, so that a state is copied by copying
// a slice of pointers.
//
// Octets of data may be shared between states as long as only one of them
// appends: data of a node without changes has no spare capacity, and a node
// with changes is clipped when a state is forked.
type node struct {
	kind     fs.FileMode // type bits
	meta     meta
	durable  meta
	data     []byte   // what processes see; a link's target
	base     []byte   // what is on the disk for certain
	changes  []change // what may be, in order
	torn     bool     // a sync failed: data is no longer base and changes
	names    map[string]int
	synced   map[string]int
	failures int // failed syncs, to be told once to each open handle
	reserved int64
	links    int
}

// pending reports whether a power cut may change the node by itself.
func (n *node) pending() bool { return len(n.changes) > 0 || n.torn || n.meta != n.durable }

// assignment is the part of a move in one directory: name becomes file, or is
// removed.
type assignment struct {
	dir  int
	name string
	file int // none: removed
}

const none = -1

// move is one change of names that no directory sync has covered yet: atomic,
// but maybe absent after a crash. home is the directory whose sync makes it
// durable: for a rename between two, the one that gets the file.
type move struct {
	seq  int
	home int
	sets []assignment
}

// state is all that is on a disk and may be on it: nodes (index 0 is the
// root) and moves in order. Copies share everything.
type state struct {
	nodes []*node
	moves []*move
}

func emptyState(now time.Time) state {
	m := meta{mode: 0o755, modified: now}
	root := &node{kind: fs.ModeDir, meta: m, durable: m, names: map[string]int{}, synced: map[string]int{}, links: 1}
	return state{nodes: []*node{root}}
}

// snapshot is the state as it is now; s may go on changing.
func (s *state) snapshot() state {
	return state{nodes: slices.Clone(s.nodes), moves: s.moves}
}

// fork is a snapshot that may itself be changed: the disk as the next process
// finds it when only the process has died.
func (s *state) fork() state {
	out := state{nodes: slices.Clone(s.nodes), moves: slices.Clip(s.moves)}
	for i, n := range out.nodes {
		if len(n.changes) > 0 {
			c := *n
			c.data, c.changes = slices.Clip(n.data), slices.Clip(n.changes)
			out.nodes[i] = &c
		}
	}
	return out
}

// edit puts a copy of the node in its place and returns it for changing.
func (s *state) edit(id int) *node {
	c := *s.nodes[id]
	s.nodes[id] = &c
	return &c
}

func (s *state) add(n *node) int {
	s.nodes = append(s.nodes, n)
	return len(s.nodes) - 1
}

// rename applies a change of names to what processes see and notes it as not
// yet durable.
func (s *state) rename(m *move) {
	for _, a := range m.sets {
		d := s.edit(a.dir)
		d.names = maps.Clone(d.names)
		if old, ok := d.names[a.name]; ok {
			s.edit(old).links--
		}
		assign(d.names, a)
		if a.file != none {
			s.edit(a.file).links++
		}
	}
	s.moves = append(s.moves, m)
}

func assign(names map[string]int, a assignment) {
	if a.file == none {
		delete(names, a.name)
	} else {
		names[a.name] = a.file
	}
}

// write notes octets written at off.
func (n *node) write(seq int, off int64, p []byte, now time.Time) {
	end := off + int64(len(p))
	if off == int64(len(n.data)) {
		n.data = append(n.data, p...)
	} else {
		n.data = slices.Clone(n.data)
		if grow := end - int64(len(n.data)); grow > 0 {
			n.data = append(n.data, make([]byte, grow)...)
		}
		copy(n.data[off:], p)
	}
	n.changes = append(n.changes, change{seq: seq, off: off, data: n.data[off:end:end]})
	n.meta.modified = now
}

// truncate notes a new length; what is beyond the old one reads as zeros.
func (n *node) truncate(seq int, size int64, now time.Time) {
	if size <= int64(len(n.data)) {
		n.data = n.data[:size:size]
	} else {
		n.data = append(slices.Clip(n.data), make([]byte, size-int64(len(n.data)))...)
	}
	n.changes = append(n.changes, change{seq: seq, cut: true, off: size})
	n.meta.modified = now
}

// syncFile makes a file's data durable, and its owner and mode too unless
// only data was asked for.
func (s *state) syncFile(id int, dataOnly bool) {
	n := s.edit(id)
	if n.torn {
		n.base = replay(n.base, n.changes)
	} else {
		n.data = slices.Clip(n.data)
		n.base = n.data
	}
	n.changes = nil
	if !dataOnly {
		n.durable = n.meta
	}
}

// replay is base with changes.
func replay(base []byte, changes []change) []byte {
	size := int64(len(base))
	for _, c := range changes {
		size = max(size, c.end())
	}
	out := make([]byte, size)
	have := int64(copy(out, base))
	for _, c := range changes {
		if c.cut {
			clear(out[min(c.off, size):])
			have = c.off
			continue
		}
		copy(out[c.off:], c.data)
		have = max(have, c.end())
	}
	if have > size {
		out = append(out, make([]byte, have-size)...)
	}
	return out[:have:have]
}

// syncDir makes the moves durable whose home the directory is: in every
// directory that they touch, and in place of all older ones of the same names.
func (s *state) syncDir(id int) {
	s.settle(func(m *move) bool { return m.home == id })
	n := s.edit(id)
	n.durable = n.meta
}

// settle makes the chosen moves durable.
func (s *state) settle(chosen func(*move) bool) {
	s.nodes = slices.Clone(s.nodes)
	type place struct {
		dir  int
		name string
	}
	done := map[place]bool{}
	var rest []*move
	cloned := map[int]bool{}
	for _, m := range slices.Backward(s.moves) {
		if !chosen(m) {
			if kept := slices.DeleteFunc(slices.Clone(m.sets), func(a assignment) bool { return done[place{a.dir, a.name}] }); len(kept) > 0 {
				rest = append(rest, &move{seq: m.seq, home: m.home, sets: kept})
			}
			continue
		}
		for _, a := range m.sets {
			p := place{a.dir, a.name}
			if done[p] {
				continue
			}
			done[p] = true
			if !cloned[a.dir] {
				cloned[a.dir] = true
				d := s.edit(a.dir)
				d.synced = maps.Clone(d.synced)
			}
			assign(s.nodes[a.dir].synced, a)
		}
	}
	slices.Reverse(rest)
	s.moves = rest
}

// syncAll makes everything durable.
func (s *state) syncAll() {
	s.settle(func(*move) bool { return true })
	for i, n := range s.nodes {
		if n.kind.IsRegular() && n.pending() {
			s.syncFile(i, false)
		} else if n.meta != n.durable {
			c := s.edit(i)
			c.durable = c.meta
		}
	}
}

// loseFile is a failed sync: the kernel drops what was pending, goes on
// showing it for a while, and tells each open handle once.
func (s *state) loseFile(id int) {
	n := s.edit(id)
	n.torn = n.torn || len(n.changes) > 0
	n.changes = nil
	n.data = slices.Clip(n.data)
	n.failures++
}

func (s *state) loseDir(id int) {
	s.moves = slices.DeleteFunc(slices.Clone(s.moves), func(m *move) bool { return m.home == id })
	s.edit(id).failures++
}
