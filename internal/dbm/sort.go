package dbm

import (
	"bytes"
	"cmp"
	"container/heap"
	"encoding/binary"
	"slices"
)

// sorter takes records in any order and gives them back in the order of their
// keys, those with equal keys in the order in which they came. What is more
// than limit goes to files as sorted runs.
type sorter struct {
	limit int
	data  []byte // keys and values, one after the other
	index []place
	runs  []*run
	spill func(func(*runWriter) error) (*run, error) // makes a run of what is written
}

// place is where a record lies in the data. The first octets of the key stand
// beside it, since most comparisons need no more.
type place struct {
	prefix     uint64
	start      uint32
	key, value uint32 // lengths
}

// placeSize is what a place takes in memory, in octets.
const placeSize = 24

// add takes in a record.
func (s *sorter) add(key, value []byte) error {
	if size := len(s.data) + len(key) + len(value) + placeSize*(len(s.index)+1); size > s.limit && len(s.index) > 0 {
		if err := s.flush(); err != nil {
			return err
		}
	}
	s.index = append(s.index, place{prefixOf(key), uint32(len(s.data)), uint32(len(key)), uint32(len(value))})
	s.data = append(append(s.data, key...), value...)
	return nil
}

// prefixOf makes a number of the first octets of key that sorts as they do.
func prefixOf(key []byte) uint64 {
	var b [8]byte
	copy(b[:], key)
	return binary.BigEndian.Uint64(b[:])
}

func (s *sorter) record(p place) Record {
	key := s.data[p.start:][:p.key:p.key]
	return Record{key, s.data[p.start+p.key:][:p.value:p.value]}
}

// sort brings what is in memory into order.
func (s *sorter) sort() {
	slices.SortFunc(s.index, func(a, b place) int {
		if a.prefix != b.prefix {
			return cmp.Compare(a.prefix, b.prefix)
		}
		ka, kb := s.data[a.start:][:a.key], s.data[b.start:][:b.key]
		return cmp.Or(bytes.Compare(ka, kb), cmp.Compare(a.start, b.start))
	})
}

// flush writes what is in memory to a run.
func (s *sorter) flush() error {
	s.sort()
	r, err := s.spill(func(w *runWriter) error {
		for _, p := range s.index {
			if err := w.write(s.record(p)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	s.runs = append(s.runs, r)
	s.data, s.index = s.data[:0], s.index[:0]
	return nil
}

// merge calls emit with every record in order. Records are valid until the
// next one.
func (s *sorter) merge(emit func(Record) error) error {
	s.sort()
	var h cursors
	n := 0
	add := func(next func() (Record, bool, error)) error {
		c := &cursor{next: next, number: n}
		n++
		ok, err := c.advance()
		if ok {
			h = append(h, c)
		}
		return err
	}
	for _, r := range s.runs {
		if err := add(r.reader()); err != nil {
			return err
		}
	}
	i := 0
	err := add(func() (Record, bool, error) {
		if i == len(s.index) {
			return Record{}, false, nil
		}
		i++
		return s.record(s.index[i-1]), true, nil
	})
	if err != nil {
		return err
	}
	heap.Init(&h)
	for len(h) > 0 {
		if err := emit(h[0].record); err != nil {
			return err
		}
		if ok, err := h[0].advance(); err != nil {
			return err
		} else if ok {
			heap.Fix(&h, 0)
		} else {
			heap.Pop(&h)
		}
	}
	return nil
}

// cursor walks through one run; a run made earlier has a lower number.
type cursor struct {
	next   func() (Record, bool, error)
	record Record
	number int
}

func (c *cursor) advance() (ok bool, err error) {
	c.record, ok, err = c.next()
	return ok, err
}

// cursors is a heap with the least record on top.
type cursors []*cursor

func (h cursors) Len() int      { return len(h) }
func (h cursors) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *cursors) Push(x any)   { *h = append(*h, x.(*cursor)) }
func (h cursors) Less(i, j int) bool {
	return cmp.Or(bytes.Compare(h[i].record.Key, h[j].record.Key), cmp.Compare(h[i].number, h[j].number)) < 0
}

func (h *cursors) Pop() any {
	last := len(*h) - 1
	c := (*h)[last]
	*h = (*h)[:last]
	return c
}
