package message

import (
	"bufio"
	"strings"
)

// An Edit copies a message from its writer to another and changes its header
// on the way. It holds no message: the body passes, and of the header at most
// the start of a line and the field that is being rewritten are in memory.
//
// Operations are given before the first Write and apply one after the other,
// each to the header as those before it leave it: after a Delete of the first
// To field, Change("To", 1, …) means the one that was the second. Names match
// in whatever case. A value is what stands behind the colon, the blank there
// included; a line end in it is made a folded line.
type Edit struct {
	out      *bufio.Writer
	ops      []op
	rewrites []rewriting
	separate bool
	alone    bool   // the header's end is the message's
	wanted   uint64 // bits of the names that operations look at

	err  error // the first of out or an operation; nothing is written from then on
	body bool  // the header is over
	any  bool  // a field was seen
	mid  bool  // within a line whose meaning is known
	made bool  // a field was put at the header's end
	do   action
	line []byte // start of a line that isn't known yet
	open opened
}

// opened is what is kept of the field that is open.
type opened struct {
	name  int    // octets of its name
	keep  int    // so many octets of it are kept, at most
	text  []byte // those
	cut   bool   // and there was more
	watch bool   // operations want to see it
	by    *rewriting
}

// action is what happens to the text of the open field.
type action uint8

const (
	pass action = iota
	drop
	hold // it is rewritten at its end
)

// op is an operation, and how far it has come in the message.
type op struct {
	do    opKind
	name  string
	n     int                 // the occurrence, the index, or how much is shown
	value string              // of Add, Insert and Change
	late  func() string       // the value of Default
	see   func(f Field) error // of Watch
	seen  int                 // fields that came by: with that name, or for Insert all
	wants bool                // Watch is to see the open field
}

type opKind uint8

const (
	watch opKind = iota
	dropAll
	add
	byDefault
	insert
	change
	remove
)

type rewriting struct {
	name   string
	limit  int
	f      func(w *bufio.Writer, field []byte) error
	strict bool // a longer one is removed
}

// NewEdit returns an Edit that does nothing yet.
func NewEdit(w *bufio.Writer) *Edit { return &Edit{out: w} }

// Reset makes e ready for another message, with the same operations.
func (e *Edit) Reset(w *bufio.Writer) {
	for i := range e.ops {
		e.ops[i].seen, e.ops[i].wants = 0, false
	}
	text := e.open.text[:0]
	if cap(text) > keepField {
		text = nil
	}
	*e = Edit{out: w, ops: e.ops, rewrites: e.rewrites, separate: e.separate, alone: e.alone, wanted: e.wanted, line: e.line[:0], open: opened{text: text}}
}

// keepField is how much room for a field an Edit keeps between two messages.
const keepField = 4 << 10

// Add puts a field at the header's end.
func (e *Edit) Add(name, value string) { e.want(op{do: add, name: name, value: value}) }

// Default adds a field if there is none of its name. value is called then.
func (e *Edit) Default(name string, value func() string) {
	e.want(op{do: byDefault, name: name, late: value})
}

// Insert puts a field in front of the one with this index, 0 being the first
// of the message; at the header's end if there are not so many.
func (e *Edit) Insert(index int, name, value string) {
	e.want(op{do: insert, name: name, n: index, value: value})
	e.wanted = ^uint64(0) // it counts all
}

// Change gives the n-th field of this name, counted from 1, another value. If
// there are not so many, it adds the field.
func (e *Edit) Change(name string, n int, value string) {
	e.want(op{do: change, name: name, n: n, value: value})
}

// Delete removes the n-th field of this name, counted from 1, if there are so
// many.
func (e *Edit) Delete(name string, n int) { e.want(op{do: remove, name: name, n: n}) }

// Drop removes all fields of this name.
func (e *Edit) Drop(name string) { e.want(op{do: dropAll, name: name}) }

// Watch shows each field of this name, up to limit octets of it, when it has
// passed. An error from see ends the message.
func (e *Edit) Watch(name string, limit int, see func(f Field) error) {
	e.want(op{do: watch, name: name, n: limit, see: see})
}

// Rewrite has f write each field of this name that the message came with and
// that is still as it was after all operations. One longer than limit octets
// passes as it is.
func (e *Edit) Rewrite(name string, limit int, f func(w *bufio.Writer, field []byte) error) {
	e.rewrites = append(e.rewrites, rewriting{name: name, limit: limit, f: f})
	e.wanted |= bit(name)
}

// Sift removes each field of this name of which f writes nothing, and each that is longer
// than limit octets, which nobody has looked at.
func (e *Edit) Sift(name string, limit int, f func(w *bufio.Writer, field []byte) error) {
	e.rewrites = append(e.rewrites, rewriting{name: name, limit: limit, f: f, strict: true})
	e.wanted |= bit(name)
}

// Separate has an empty line stand between the header and a body that begins
// without one, although that line was not there. Where a field was added
// there, it is put in any case.
func (e *Edit) Separate() { e.separate = true }

// HeaderOnly has e drop the body and write the header with an empty line behind it, so
// that another body can follow.
func (e *Edit) HeaderOnly() { e.alone = true }

func (e *Edit) want(o op) {
	e.ops = append(e.ops, o)
	e.wanted |= bit(o.name)
}

// bit is one of 64 bits for a name, the same in whatever case: most fields of
// a header are seen by it to be nobody's business.
func bit[T string | []byte](name T) uint64 {
	if len(name) == 0 {
		return 0
	}
	return 1 << ((len(name) + 5*int(name[0]|0x20)) % 64)
}

// through takes a field through the operations from k on: one of the message's,
// which is open, or one that an operation has made. It says whether it is
// still there at the end.
func (e *Edit) through(k int, name []byte, made string) bool {
	for ; k < len(e.ops); k++ {
		o := &e.ops[k]
		if o.do == insert {
			if o.seen++; o.seen == o.n+1 {
				e.make(k)
			}
			continue
		}
		if !same(o.name, name) {
			continue
		}
		o.seen++
		switch {
		case o.do == watch && made == "":
			o.wants, e.open.watch = true, true
			e.open.keep = max(e.open.keep, o.n)
		case o.do == watch:
			e.show(o, Field{Text: []byte(made), name: len(name)})
		case o.do == dropAll, o.do == remove && o.seen == o.n:
			return false
		case o.do == change && o.seen == o.n:
			e.make(k)
			return false
		}
	}
	if made != "" {
		e.putMade(made)
	}
	return true
}

// make writes the field of operation k, if none of those behind it is against
// that.
func (e *Edit) make(k int) {
	o := &e.ops[k]
	value := o.value
	if o.do == byDefault {
		value = o.late()
	}
	e.through(k+1, []byte(o.name), o.name+":"+foldLines(value)+"\n")
}

// due says whether the header's end is the time of o.
func (o *op) due() bool {
	switch o.do {
	case add:
		return true
	case byDefault:
		return o.seen == 0
	case insert:
		return o.seen <= o.n
	case change:
		return o.seen < o.n
	}
	return false
}

// show gives a field to a Watch.
func (e *Edit) show(o *op, f Field) {
	f.Cut = f.Cut || len(f.Text) > o.n
	f.Text = f.Text[:min(len(f.Text), o.n)]
	if e.err == nil {
		e.err = o.see(f)
	}
}

// foldLines makes of each line end in a value a folded line, and drops those
// at its end. A CR is no more than a part of a line end.
func foldLines(value string) string {
	if !strings.ContainsAny(value, "\r\n") {
		return value
	}
	var b strings.Builder
	value = strings.TrimRight(strings.ReplaceAll(value, "\r", ""), "\n")
	for i, line := range strings.Split(value, "\n") {
		if i > 0 {
			b.WriteByte('\n')
			if line == "" || line[0] != ' ' && line[0] != '\t' {
				b.WriteByte('\t')
			}
		}
		b.WriteString(line)
	}
	return b.String()
}
