package index

import (
	"encoding/binary"
	"iter"
	"sort"
)

const (
	pageSize  = 4 << 10
	sealSize  = 8
	entrySize = 8
	perPage   = (pageSize - sealSize) / entrySize // entries of a page

	maxGuesses = 4 // pages that are looked at by where the hash should be, before the rest is halved
)

// A Table is sorted entries, each with a hash in its upper 32 bits. It never changes.
type Table struct {
	n    int
	all  []byte // the entries, where they are in memory
	file *file  // has them else
}

// Append appends an entry to those that New is given.
func Append(entries []byte, entry uint64) []byte {
	return binary.LittleEndian.AppendUint64(entries, entry)
}

// New returns the Table of sorted entries in memory, which it keeps.
func New(entries []byte) *Table { return &Table{n: len(entries) / entrySize, all: entries} }

// Len is the number of entries.
func (t *Table) Len() int { return t.n }

// InFile reports whether they are in a file, so that the Table is to be closed.
func (t *Table) InFile() bool { return t.file != nil }

// Close closes the file, behind the searches that are under way. Later ones have ErrClosed.
func (t *Table) Close() {
	if t.file != nil {
		t.file.close()
	}
}

// Find yields what the entries of a hash have in their lower 32 bits, in their order. Behind
// an error there is nothing more.
func (t *Table) Find(hash uint32) iter.Seq2[uint32, error] {
	return func(yield func(uint32, error) bool) {
		if t.file != nil {
			if !t.file.enter() {
				yield(0, ErrClosed)
				return
			}
			defer t.file.leave()
		}
		p := page{t: t, number: -1}
		i, err := t.first(&p, hash)
		for ; err == nil && i < t.n; i++ {
			if err = p.load(i / perPage); err != nil {
				break
			}
			if p.hash(i%perPage) != hash || !yield(p.lower(i%perPage), nil) {
				return
			}
		}
		if err != nil {
			yield(0, err)
		}
	}
}

// first is the number of the first entry with that hash, or one that has another where
// there is none. Hashes are spread evenly, so that the first page that is looked at is
// mostly the right one or beside it.
func (t *Table) first(p *page, hash uint32) (int, error) {
	from, to := 0, (t.n+perPage-1)/perPage // it begins in one of these pages, or behind them
	low, high := uint64(0), uint64(1)<<32  // no hash in them is below, or above
	for looks := 0; from < to; looks++ {
		guess := from + (to-from)/2
		if looks < maxGuesses && low < high {
			guess = from + int(min(uint64(to-from)*(uint64(hash)-low)/(high-low), uint64(to-from-1)))
		}
		if err := p.load(guess); err != nil {
			return 0, err
		}
		last := p.len() - 1
		switch {
		case p.hash(0) >= hash:
			to, high = guess, uint64(p.hash(0))
		case p.hash(last) < hash:
			from, low = guess+1, uint64(p.hash(last))
		default:
			return guess*perPage + sort.Search(last, func(i int) bool { return p.hash(i) >= hash }), nil
		}
	}
	return from * perPage, nil
}

// A page is the one of a table that was looked at last.
type page struct {
	t       *Table
	number  int // -1: none
	entries []byte
	buf     []byte // of a file's
}

// load looks at a page.
func (p *page) load(number int) (err error) {
	if p.number == number {
		return nil
	}
	from := number * perPage
	to := min(from+perPage, p.t.n)
	if p.t.file == nil {
		p.entries = p.t.all[from*entrySize : to*entrySize]
	} else if p.entries, err = p.t.file.read(&p.buf, number+1); err == nil { // behind the header
		p.entries = p.entries[:(to-from)*entrySize]
	}
	p.number = number
	return err
}

func (p *page) len() int { return len(p.entries) / entrySize }

func (p *page) hash(i int) uint32 {
	return binary.LittleEndian.Uint32(p.entries[i*entrySize+4:])
}

func (p *page) lower(i int) uint32 { return binary.LittleEndian.Uint32(p.entries[i*entrySize:]) }
