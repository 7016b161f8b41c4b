package message

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"iter"
)

// Fields reads the header at the front of r field by field, at most limit
// octets of each. A field that is longer comes as soon as so much of it is
// read. The error, the last thing that comes, is the source's, never io.EOF.
//
// Behind the last field r stands at the empty line, at a line that is none of
// a header, or at the end. r's buffer must have 128 octets or more.
func Fields(r *bufio.Reader, limit int) iter.Seq2[Field, error] {
	return (&fieldReader{r: r, limit: limit}).all
}

type fieldReader struct {
	r     *bufio.Reader
	limit int
	text  []byte // of the open field
	open  bool   // a field is
	mid   bool   // within a line
}

// all gives the fields, and skips what is left of each.
func (fr *fieldReader) all(yield func(Field, error) bool) {
	for {
		f, err := fr.next()
		if err != nil && errors.Is(err, io.EOF) || !yield(f, err) || err != nil {
			return
		}
	}
}

// next returns the next field; io.EOF is the header's end.
func (fr *fieldReader) next() (Field, error) {
	if err := fr.skip(); err != nil {
		return Field{}, err
	}
	if f, ok := fr.buffered(); ok {
		return f, nil
	}
	start, err := fr.r.Peek(maxName)
	if len(start) == 0 || err != nil && !errors.Is(err, io.EOF) {
		return Field{}, err
	}
	kind, name := classify(start)
	if kind != newField {
		return Field{}, io.EOF
	}
	f := Field{name: len(name)}
	fr.open, fr.mid, fr.text = true, true, fr.text[:0]
	for fr.open && !f.Cut {
		piece, err := fr.piece()
		if err != nil {
			return Field{}, err
		}
		room := fr.limit - len(fr.text)
		f.Cut = len(piece) > room
		fr.text = append(fr.text, piece[:min(len(piece), room)]...)
	}
	f.Text = fr.text
	return f, nil
}

// buffered returns the next field if it is short enough and lies in r's buffer,
// with the octet behind it: most do.
func (fr *fieldReader) buffered() (f Field, ok bool) {
	b, _ := fr.r.Peek(fr.r.Buffered()) // cannot fail
	if len(b) == 0 {
		return f, false
	}
	kind, name := classify(b)
	if kind != newField {
		return f, false
	}
	end := len(name)
	for {
		i := bytes.IndexByte(b[end:], '\n') + 1
		end += i
		if i == 0 || end == len(b) || end > fr.limit {
			return f, false
		}
		if b[end] != ' ' && b[end] != '\t' {
			break
		}
	}
	fr.r.Discard(end) // cannot fail
	return Field{Text: b[:end], name: len(name)}, true
}

// skip passes over what is left of the open field.
func (fr *fieldReader) skip() error {
	for fr.open {
		if _, err := fr.piece(); err != nil {
			return err
		}
	}
	return nil
}

// piece returns the next piece of the open field, and closes it at its end.
func (fr *fieldReader) piece() ([]byte, error) {
	if !fr.mid {
		next, err := fr.r.Peek(1)
		if len(next) == 0 || next[0] != ' ' && next[0] != '\t' {
			fr.open = false
			return nil, noEOF(err)
		}
	}
	piece, err := fr.r.ReadSlice('\n')
	fr.mid = errors.Is(err, bufio.ErrBufferFull)
	if errors.Is(err, io.EOF) {
		fr.open = false
	} else if err != nil && !fr.mid {
		return nil, err
	}
	return piece, nil
}

func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}
