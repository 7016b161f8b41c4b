package edits

import (
	"bufio"
	"bytes"
	"io"

	"postoffice/internal/message"
)

// piece is how many octets of a message are read at a time.
const piece = 16 << 10

// Reader reads a message of so many octets as the Edits leave it. It may be read as often
// as is wanted.
func (e *Edits) Reader(m io.ReaderAt, size int64) io.Reader {
	if e == nil || len(e.fields) == 0 && e.Body == nil {
		return io.NewSectionReader(m, 0, size)
	}
	r := &reader{from: io.NewSectionReader(m, 0, size)}
	r.w = bufio.NewWriter(&r.out)
	r.edit = message.NewEdit(r.w)
	for _, f := range e.fields {
		switch f.do {
		case add:
			r.edit.Add(f.name, f.value)
		case insert:
			r.edit.Insert(f.n, f.name, f.value)
		case replace:
			r.edit.Change(f.name, f.n, f.value)
		case remove:
			r.edit.Delete(f.name, f.n)
		}
	}
	if e.Body == nil {
		return r
	}
	r.edit.HeaderOnly()
	return io.MultiReader(r, io.NewSectionReader(e.Body, 0, e.Body.Size()))
}

// reader is a message that passes an Edit while it is read.
type reader struct {
	from io.Reader
	edit *message.Edit
	w    *bufio.Writer // to out
	out  bytes.Buffer  // what is ready
	in   []byte
	err  error // behind what is ready
}

func (r *reader) Read(p []byte) (int, error) {
	for r.out.Len() == 0 && r.err == nil {
		r.fill()
	}
	if r.out.Len() == 0 {
		return 0, r.err
	}
	return r.out.Read(p)
}

// fill takes the next piece through the Edit.
func (r *reader) fill() {
	if r.in == nil {
		r.in = make([]byte, piece)
	}
	n, err := r.from.Read(r.in)
	if _, werr := r.edit.Write(r.in[:n]); werr != nil {
		r.err = werr
		return
	}
	if err == io.EOF {
		if cerr := r.edit.Close(); cerr != nil {
			err = cerr
		}
	}
	r.err = err
	if ferr := r.w.Flush(); ferr != nil {
		r.err = ferr
	}
}
