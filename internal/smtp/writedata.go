package smtp

import (
	"bytes"
	"io"
	"unicode/utf8"
)

// maxTextLine is the longest line of a message without its CR LF and without
// a dot that was added (RFC 5321 section 4.5.3.1.6).
const maxTextLine = 998

// A SourceError is an error of the message's own reader, as opposed to one of
// the connection that it was to be written to.
type SourceError struct{ Err error }

func (e *SourceError) Error() string { return "read the message: " + e.Err.Error() }

func (e *SourceError) Unwrap() error { return e.Err }

// WriteData writes a message in the form of the spool as DATA wants it: every
// line ended by CR LF, one more dot before a line that begins with one, then
// the line ".". A last line without LF gets its CR LF; should src hold a CR, it
// is dropped before LF and a space elsewhere.
//
// A line over 998 octets is folded, in header and body alike: CR LF before a
// blank, so that unfolding (RFC 5322 section 2.2.3) gives the same octets; only
// where 998 octets have no blank in them, CR LF and a space of our own. So a
// fold begins with a blank: it can't be a dot line, a "From " line, a boundary
// or a header field.
//
// An error of src is a *SourceError; after any error the end was not written.
func WriteData(dst io.Writer, src io.Reader) error { return writeData(dst, src, true) }

// WriteDataExact is WriteData without folding, for a peer on this machine that
// takes lines of any length.
func WriteDataExact(dst io.Writer, src io.Reader) error { return writeData(dst, src, false) }

func writeData(dst io.Writer, src io.Reader, fold bool) error {
	in := blocks.Get().(*[blockSize]byte)
	defer blocks.Put(in)
	out := blocks.Get().(*[blockSize]byte)
	defer blocks.Put(out)
	d := dataWriter{dst: dst, out: out[:0], fold: fold, lineStart: true}
	kept := 0 // octets at the start of in that wait for more of their line
	for {
		n, err := readSome(src, in[kept:])
		kept = copy(in[:], d.lines(normalize(in[:kept+n], kept)))
		switch {
		case d.err != nil:
			return d.err
		case err == io.EOF:
			return d.end(in[:kept])
		case err != nil:
			return &SourceError{err}
		}
	}
}

// readSome reads once, but not nothing.
func readSome(src io.Reader, b []byte) (int, error) {
	for range 100 {
		if n, err := src.Read(b); n > 0 || err != nil {
			return n, err
		}
	}
	return 0, io.ErrNoProgress
}

// normalize drops each CR before an LF and makes others spaces, in b itself
// from the octet before b[from] on. A CR at the very end stays, since what it
// is will be known when more has been read.
func normalize(b []byte, from int) []byte {
	if from > 0 && b[from-1] == '\r' {
		from--
	}
	i := bytes.IndexByte(b[from:], '\r')
	if i < 0 {
		return b
	}
	to := from + i
	for i := to; i < len(b); i++ {
		c := b[i]
		if c == '\r' && i+1 < len(b) {
			if b[i+1] == '\n' {
				continue
			}
			c = ' '
		}
		b[to] = c
		to++
	}
	return b[:to]
}

type dataWriter struct {
	dst       io.Writer
	out       []byte // not yet written; its capacity is a block
	err       error  // the first of dst
	fold      bool
	lineStart bool // nothing of the line is out yet
	width     int  // 1 behind a fold with a space of our own, else 0
}

// lines takes all whole lines of b, and what can already be sent of a line
// without end. It returns what must wait: with folding at most one line's
// worth, without at most a CR.
func (d *dataWriter) lines(b []byte) (rest []byte) {
	for {
		i := bytes.IndexByte(b, '\n')
		if i < 0 {
			return d.part(b)
		}
		d.line(b[:i])
		b = b[i+1:]
	}
}

// line sends the end of a line.
func (d *dataWriter) line(text []byte) {
	if d.fold {
		for len(text)+d.width > maxTextLine {
			text = d.cut(text)
		}
	}
	d.text(text)
	d.put(crlf)
	d.lineStart = true
	d.width = 0
}

// part sends what it may of a line whose end has not been read.
func (d *dataWriter) part(b []byte) (rest []byte) {
	text := bytes.TrimSuffix(b, []byte{'\r'})
	if !d.fold {
		d.text(text)
		return b[len(text):]
	}
	sent := 0
	for len(text[sent:])+d.width > maxTextLine+1 { // foldAt looks one further
		sent = len(text) - len(d.cut(text[sent:]))
	}
	return b[sent:]
}

// cut sends the first part of text, which is too long, and the fold.
func (d *dataWriter) cut(text []byte) (rest []byte) {
	n := foldAt(text, maxTextLine-d.width)
	d.text(text[:n])
	d.put(crlf)
	d.width = 0
	if !isBlank(text[n]) {
		d.put(" ")
		d.width = 1
	}
	return text[n:]
}

// foldAt says how much of text, which is longer than room, goes on one line.
// It looks for the last blank that has text on both sides, so that no line of
// blanks alone comes about, and else ends a line where no UTF-8 sequence is cut.
func foldAt(text []byte, room int) int {
	first := 0
	for first < room && isBlank(text[first]) {
		first++
	}
	for n := room; n > first; n-- {
		if isBlank(text[n]) && n+1 < len(text) && !isBlank(text[n+1]) {
			return n
		}
	}
	for n := room; n > room-utf8.UTFMax; n-- {
		if utf8.RuneStart(text[n]) {
			return n
		}
	}
	return room
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' }

// text adds octets of a line, with the further dot if it needs one.
func (d *dataWriter) text(b []byte) {
	if len(b) == 0 {
		return
	}
	if d.lineStart && b[0] == '.' {
		d.put(".")
	}
	d.lineStart = false
	for len(b) > cap(d.out)-len(d.out) {
		n := cap(d.out) - len(d.out)
		d.out = append(d.out, b[:n]...)
		b = b[n:]
		d.flush()
	}
	d.out = append(d.out, b...)
}

// put adds a few octets of the protocol.
func (d *dataWriter) put(s string) {
	if len(s) > cap(d.out)-len(d.out) {
		d.flush()
	}
	d.out = append(d.out, s...)
}

// end sends the rest of a last line that has no LF, and the end of the data.
func (d *dataWriter) end(rest []byte) error {
	if n := len(rest) - 1; n >= 0 && rest[n] == '\r' {
		rest[n] = ' '
	}
	if len(rest) > 0 || !d.lineStart {
		d.line(rest)
	}
	d.put(".\r\n")
	d.flush()
	return d.err
}

func (d *dataWriter) flush() {
	if d.err == nil && len(d.out) > 0 {
		var n int
		if n, d.err = d.dst.Write(d.out); d.err == nil && n < len(d.out) {
			d.err = io.ErrShortWrite
		}
	}
	d.out = d.out[:0]
}
