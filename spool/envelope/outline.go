package envelope

import (
	"errors"
	"io"
	"iter"
	"slices"
	"strings"
)

// Outline is Parse for who only looks: the text of recipients stays in the file,
// so that each takes 24 octets. Envelope and Recipient know none of it;
// Recipients reads it again.
func Outline(r io.ReaderAt, size int64, verify bool) (*File, error) {
	f, err := (&File{names: map[string]string{}}).parse(r, size, verify)
	if err == nil {
		f.rcpts = slices.Clip(slices.Clone(f.rcpts)) // it may be kept for long
	}
	return f, err
}

// once returns s, the same for equal ones, and without the line that it stood in.
func (f *File) once(s string) string {
	same, ok := f.names[s]
	if !ok {
		same = strings.Clone(s)
		f.names[same] = same
	}
	return same
}

// Head is the envelope without its recipients.
func (f *File) Head() Envelope { return f.env }

// errChanged says that other octets than slots have changed since the file was
// read.
var errChanged = errors.New("the message file has changed while it was read")

// farEnd is behind the end of every file.
const farEnd = 1 << 62

// Recipients yields those of an outline that count, in the order of the file, with
// the states that they had when it was read. An error is the last.
func (f *File) Recipients(r io.ReaderAt) iter.Seq2[Recipient, error] {
	return func(yield func(Recipient, error) bool) {
		in := again{r: r}
		defer in.free()
		for i := range f.rcpts {
			rc, counts := f.Recipient(i)
			if !counts {
				continue
			}
			t, err := in.target(f.rcpts[i])
			rc.Target = t
			if !yield(rc, err) || err != nil {
				return
			}
		}
	}
}

// again reads single lines of a file, best in their order.
type again struct {
	r io.ReaderAt
	l *lineReader // nil: nothing was read yet
}

func (in *again) free() {
	if in.l != nil {
		in.l.free()
	}
}

func (in *again) line(at int64) ([]byte, error) {
	if in.l == nil || in.l.at != at {
		in.free()
		in.l = newLineReader(in.r, at, farEnd)
	}
	line, err := in.l.next()
	if err == io.EOF {
		err = errChanged
	}
	return line, err
}

// target reads the text of a recipient.
func (in *again) target(s slot) (Target, error) {
	line, err := in.line(s.at - int64(slotAt(s.kind)))
	if err != nil {
		return Target{}, err
	}
	t, _, ok := parseTarget(line[:len(line)-1])
	if !ok || t.Kind != s.kind {
		return Target{}, errChanged
	}
	return t, nil
}

// A NoteReader reads notes again, whose places are known.
type NoteReader struct {
	f    *File
	in   again
	last PlacedNote
}

// NoteReader reads those of r. Free gives its memory back.
func (f *File) NoteReader(r io.ReaderAt) *NoteReader { return &NoteReader{f: f, in: again{r: r}} }

// Free ends the reading.
func (n *NoteReader) Free() { n.in.free() }

// At returns the note that PlacedNotes found there, without its keys. Of one that
// was read just before the text is the same.
func (n *NoteReader) At(at int64) (Note, error) {
	if n.last.At == at {
		return n.last.Note, nil
	}
	line, err := n.in.line(at)
	if err != nil {
		return Note{}, err
	}
	note, ok := scanNote(n.f.first.check, line, func(p *scanner) []Key {
		p.token(" ")
		return nil
	})
	if !ok {
		return Note{}, errChanged
	}
	n.last = PlacedNote{note, at}
	return note, nil
}
