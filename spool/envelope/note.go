package envelope

import (
	"errors"
	"fmt"
	"io"
	"iter"
	"strconv"
	"strings"
)

// maxNoteText bounds a reply's or an error's text in a note, in octets; what is
// longer is cut.
const maxNoteText = 4 << 10

const noteStart = "note "

// AppendNote adds a note's line: checksum, time, event, recipients, and what
// else is known. The checksum starts from the message's own. ErrInvalid: it can't
// be written.
func (f *File) AppendNote(b []byte, n Note) ([]byte, error) {
	return appendNote(b, f.first.check, n)
}

// appendNote is AppendNote for the message with that checksum.
func appendNote(b []byte, check uint32, n Note) ([]byte, error) {
	if err := validNote(n); err != nil {
		return b, err
	}
	body := appendTime(make([]byte, 0, 256), n.Time)
	body = appendKeys(append(body, ' '), n.Keys)
	if n.Event != "" {
		body = appendWord(append(body, " event="...), n.Event)
	}
	if n.Attempt > 0 {
		body = strconv.AppendInt(append(body, " attempt="...), int64(n.Attempt), 10)
	}
	if n.Relay != "" {
		body = appendWord(append(body, " relay="...), clip(n.Relay))
	}
	if n.TLS != "" {
		body = appendWord(append(body, " tls="...), clip(n.TLS))
	}
	if n.Reply.Code > 0 {
		body = strconv.AppendInt(append(body, " code="...), int64(n.Reply.Code), 10)
	}
	if n.Reply.Status != "" {
		body = appendWord(append(body, " status="...), clip(n.Reply.Status))
	}
	if n.Reply.Text != "" {
		body = appendWord(append(body, " text="...), clip(n.Reply.Text))
	}
	if n.Err != "" {
		body = appendWord(append(body, " err="...), clip(n.Err))
	}
	if !n.Next.IsZero() {
		body = appendTime(append(body, " next="...), n.Next)
	}
	body = append(body, '\n')
	if len(body) > maxLine-64 {
		return b, fmt.Errorf("%w: note of %d octets", ErrInvalid, len(body))
	}
	b = appendDigits(append(b, noteStart...), uint64(sum(check, body)), 16, sumDigits)
	return append(append(b, ' '), body...), nil
}

func clip(s string) string { return s[:min(len(s), maxNoteText)] }

func validNote(n Note) error {
	for _, k := range n.Keys {
		if k.Block < 0 || k.Index < 0 {
			return fmt.Errorf("%w: note of recipient %v", ErrInvalid, k)
		}
	}
	if !validTime(n.Time) || !validTime(n.Next) || n.Attempt < 0 || n.Reply.Code < 0 {
		return fmt.Errorf("%w: note of %v", ErrInvalid, n.Time)
	}
	return nil
}

// appendKeys adds keys as ranges, "0.0-41,1.3", or "*" for the whole message.
func appendKeys(b []byte, keys []Key) []byte {
	if len(keys) == 0 {
		return append(b, '*')
	}
	for i := 0; i < len(keys); {
		j := i + 1
		for j < len(keys) && keys[j] == (Key{Block: keys[i].Block, Index: keys[i].Index + j - i}) {
			j++
		}
		if i > 0 {
			b = append(b, ',')
		}
		b = appendKey(b, keys[i])
		if j > i+1 {
			b = strconv.AppendInt(append(b, '-'), int64(keys[j-1].Index), 10)
		}
		i = j
	}
	return b
}

func (p *scanner) keys() []Key {
	if p.more("*") {
		return nil
	}
	var keys []Key
	for {
		k := p.key()
		to := k.Index
		if p.more("-") {
			to = p.number(" ,")
		}
		if !p.ok || to < k.Index || to-k.Index >= MaxRecipients-len(keys) {
			p.ok = false
			return nil
		}
		for ; k.Index <= to; k.Index++ {
			keys = append(keys, k)
		}
		if !p.more(",") {
			return keys
		}
	}
}

// parseNote reads a note's line with its LF. ok is false for anything that
// appendNote did not write for this message.
func parseNote(check uint32, line []byte) (n Note, ok bool) {
	if n, ok = scanNote(check, line, (*scanner).keys); !ok {
		return n, false
	}
	again, err := appendNote(nil, check, n)
	return n, err == nil && string(again) == string(line)
}

// scanNote is parseNote for a line that has been read before; keys reads whom it
// is about.
func scanNote(check uint32, line []byte, keys func(*scanner) []Key) (n Note, ok bool) {
	p := scanner{s: string(line), ok: true}
	p.lit(noteStart)
	if crc := p.digits(16, sumDigits); !p.ok || len(p.s) < 1 || uint32(crc) != sum(check, line[len(line)-len(p.s)+1:]) {
		return n, false
	}
	p.lit(" ")
	n.Time = p.time(" ")
	p.lit(" ")
	n.Keys = keys(&p)
	if p.more(" event=") {
		n.Event = p.word()
	}
	if p.more(" attempt=") {
		n.Attempt = p.number(" \n")
	}
	if p.more(" relay=") {
		n.Relay = p.word()
	}
	if p.more(" tls=") {
		n.TLS = p.word()
	}
	if p.more(" code=") {
		n.Reply.Code = p.number(" \n")
	}
	if p.more(" status=") {
		n.Reply.Status = p.word()
	}
	if p.more(" text=") {
		n.Reply.Text = p.word()
	}
	if p.more(" err=") {
		n.Err = p.word()
	}
	if p.more(" next=") {
		n.Next = p.time(" \n")
	}
	return n, p.ok && p.s == "\n"
}

// Notes yields the whole notes of the file, which r reads up to an offset, in
// order. What else stands behind the data is passed over; a read error ends it.
func (f *File) Notes(r io.ReaderAt, end int64) iter.Seq2[Note, error] {
	return func(yield func(Note, error) bool) {
		for n, err := range f.PlacedNotes(r, end) {
			if !yield(n.Note, err) {
				return
			}
		}
	}
}

// PlacedNote is a note and where it stands, for NoteAt.
type PlacedNote struct {
	Note
	At int64
}

// PlacedNotes is Notes with the place of each.
func (f *File) PlacedNotes(r io.ReaderAt, end int64) iter.Seq2[PlacedNote, error] {
	return func(yield func(PlacedNote, error) bool) {
		l := newLineReader(r, f.Tail(), end)
		defer l.free()
		for {
			at := l.at
			line, err := l.next()
			switch {
			case errors.Is(err, io.EOF):
				return
			case errors.Is(err, errLong):
				if err := l.skip(); err != nil && !errors.Is(err, io.EOF) {
					yield(PlacedNote{}, err)
					return
				}
			case err != nil:
				yield(PlacedNote{}, err)
				return
			case strings.HasPrefix(string(line[:min(len(line), len(noteStart))]), noteStart):
				if n, ok := parseNote(f.first.check, line); ok && !yield(PlacedNote{n, at}, nil) {
					return
				}
			}
		}
	}
}
