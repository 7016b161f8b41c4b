package envelope

import (
	"errors"
	"io"
	"slices"

	"postoffice/internal/smtp"
)

// File is a message file understood. It holds offsets of what is in the file,
// never the header and body. Recipients are known by their place (Key) or by
// their number in the file, from 0 to Len()-1.
type File struct {
	first  first
	env    Envelope // without its recipients
	blocks []block  // the envelope, then the whole expansion blocks in order
	rcpts  []slot   // of all blocks, in order
	data   int64    // offset of the data

	names map[string]string // of an outline: the names in its blocks, each once; else nil
}

// block is a run of recipients. Dead ones have been superseded, or their
// parent never said that it is expanded.
type block struct {
	number  int
	parent  int // index in rcpts; -1 in the envelope
	via     Via
	owner   string
	reverse *smtp.Path // nil: the parent's
	first   int        // index in rcpts
	n       int
	live    bool
}

// slot is a recipient and where its state stands.
type slot struct {
	target *Target // nil in an outline
	at     int64   // offset of the octet
	block  int32   // index in blocks
	kind   Kind
	State  State
}

// Envelope is the envelope with its recipients.
func (f *File) Envelope() Envelope {
	env := f.env
	env.Recipients = make([]smtp.Recipient, f.blocks[0].n)
	for i := range env.Recipients {
		env.Recipients[i] = smtp.Recipient{Path: f.rcpts[i].target.Path, Params: f.rcpts[i].target.Params}
	}
	return env
}

// Data says where the header and body stand, and their octets.
func (f *File) Data() (at, size int64) { return f.data, f.first.data }

// Tail is the offset behind the data, where blocks and notes begin.
func (f *File) Tail() int64 { return f.data + f.first.data }

// Len is the number of recipients, also of those that don't count.
func (f *File) Len() int { return len(f.rcpts) }

// Find is the number of the recipient at k; ok says whether there is one that
// counts.
func (f *File) Find(k Key) (i int, ok bool) {
	i = f.find(k)
	return i, f.counts(i)
}

// Recipient is recipient number i; ok says whether it counts: it is one of the
// envelope's, or of an expansion that was recorded and not superseded.
func (f *File) Recipient(i int) (r Recipient, ok bool) {
	s := &f.rcpts[i]
	b := &f.blocks[s.block]
	var t Target
	if s.target != nil {
		t = *s.target
	}
	return Recipient{
		Target: t, State: s.State, Key: f.key(i),
		Parent: f.key(b.parent), Via: b.via, Owner: b.owner, ReversePath: f.reversePath(int(s.block)),
	}, b.live
}

// Slot is the state of recipient number i and the offset of its octet.
func (f *File) Slot(i int) (at int64, state State) { return f.rcpts[i].at, f.rcpts[i].State }

// Set says that the octet of recipient number i is state now.
func (f *File) Set(i int, state State) { f.rcpts[i].State = state }

// Pending reports whether anybody is left to be worked on.
func (f *File) Pending() bool {
	for i, s := range f.rcpts {
		if s.State == Pending && f.counts(i) {
			return true
		}
	}
	return false
}

// LastBlock is the number of the last block, and of how many recipients it is:
// their keys are 0 to n-1 in it.
func (f *File) LastBlock() (number, n int) {
	b := f.blocks[len(f.blocks)-1]
	return b.number, b.n
}

// Extend reads the block that was written between two offsets. An error leaves f
// in a state of which nothing may be told.
func (f *File) Extend(r io.ReaderAt, at, end int64) error {
	l := newLineReader(r, at, end)
	defer l.free()
	blocks := len(f.blocks)
	if err := f.tail(l); err != nil {
		return err
	}
	if len(f.blocks) != blocks+1 {
		return errors.New("it can't be read back")
	}
	return nil
}

// Supersede has the last block count, if its parent does and is Expanded,
// instead of all others of the same parent. first says that there is no other.
func (f *File) Supersede(first bool) error {
	b := &f.blocks[len(f.blocks)-1]
	if !first || slices.ContainsFunc(f.rcpts[b.first:], func(s slot) bool { return s.State == Expanded }) {
		return f.settle()
	}
	b.live = f.counts(b.parent) // nothing else changes
	return nil
}

// settle finds out which blocks count: the last of each parent, if the parent
// is of a block that counts and says that it is expanded.
func (f *File) settle() error {
	last := make(map[int]int) // parent → index of its last block
	for i, b := range f.blocks[1:] {
		last[b.parent] = i + 1
	}
	for i := range f.blocks {
		b := &f.blocks[i]
		if i > 0 {
			p := f.rcpts[b.parent]
			b.live = last[b.parent] == i && f.blocks[p.block].live && p.State == Expanded
		}
		if !b.live {
			continue
		}
		for j := b.first; j < b.first+b.n; j++ {
			if _, ok := last[j]; !ok && f.rcpts[j].State == Expanded {
				return damage("recipient %v is expanded, but its expansion is missing", f.key(j))
			}
		}
	}
	return nil
}

// key is the place of rcpts[i].
func (f *File) key(i int) Key {
	if i < 0 {
		return NoKey
	}
	b := f.blocks[f.rcpts[i].block]
	return Key{Block: b.number, Index: i - b.first}
}

// find is the index in rcpts of the recipient at k, or -1.
func (f *File) find(k Key) int {
	i, ok := slices.BinarySearchFunc(f.blocks, k.Block, func(b block, n int) int { return b.number - n })
	if !ok || k.Index < 0 || k.Index >= f.blocks[i].n {
		return -1
	}
	return f.blocks[i].first + k.Index
}

// reversePath is where failures of the recipients of blocks[i] are reported.
func (f *File) reversePath(i int) smtp.Path {
	for ; i > 0; i = int(f.rcpts[f.blocks[i].parent].block) {
		if p := f.blocks[i].reverse; p != nil {
			return *p
		}
	}
	return f.env.ReversePath
}

// counts reports whether rcpts[i] is of a block that counts.
func (f *File) counts(i int) bool {
	return i >= 0 && i < len(f.rcpts) && f.blocks[f.rcpts[i].block].live
}
