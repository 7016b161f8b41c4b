package local

import (
	"bytes"
	"io"
)

// Escape says where ">" stands before lines of a message that look like a From_
// line, as option escape-from has it: there a reader of mailboxes would see
// another message begin.
type Escape byte

const (
	EscapeFiles Escape = iota // in files of messages: FormMbox, and the files of aliases and users
	EscapeAll                 // in all forms (R60)
	EscapeNone
)

// EscapeBehindFirst reads from r what stands there with ">" before the lines
// that look like a From_ line, but for the first line.
func EscapeBehindFirst(r io.Reader) io.Reader {
	e := &escapeReader{r: r}
	e.e = escaper{w: e, away: true}
	return e
}

// escapeReader reads through an escaper.
type escapeReader struct {
	r     io.Reader
	e     escaper
	block [8 << 10]byte
	out   bytes.Buffer
	err   error
}

func (q *escapeReader) Read(p []byte) (int, error) {
	for q.out.Len() == 0 {
		if q.err != nil {
			return 0, q.err
		}
		n, err := q.r.Read(q.block[:])
		q.e.Write(q.block[:n]) // no error: Write below has none
		if q.err = err; err == io.EOF {
			q.e.Close()
		}
	}
	return q.out.Read(p)
}

// Write and Close are the escaper's way out.
func (q *escapeReader) Write(p []byte) (int, error) { return q.out.Write(p) }
func (q *escapeReader) Close() error                { return nil }

// escaper copies a message and puts ">" before each line that begins with
// "From ", or with that behind a row of ">".
type escaper struct {
	w io.WriteCloser
	// away says that the line in hand is none of those. Else it is a row of ">"
	// up to now, and the first held octets of fromMark, which are not written.
	away bool
	held int
}

const fromMark = "From "

func (e *escaper) Write(p []byte) (n int, err error) {
	n = len(p)
	for len(p) > 0 && err == nil {
		if e.away {
			p, err = e.pass(p)
		} else {
			p, err = e.look(p)
		}
	}
	return n, err
}

// pass copies up to the next line that may be one of those, and returns the
// rest of p.
func (e *escaper) pass(p []byte) (rest []byte, err error) {
	end := 0
	for e.away && end < len(p) {
		i := bytes.IndexByte(p[end:], '\n')
		if i < 0 {
			end = len(p)
			break
		}
		end += i + 1
		e.away = end < len(p) && p[end] != '>' && p[end] != fromMark[0]
	}
	_, err = e.w.Write(p[:end])
	return p[end:], err
}

// look takes from p what tells of the line in hand, and returns the rest.
func (e *escaper) look(p []byte) (rest []byte, err error) {
	n := 0
	if e.held == 0 {
		for n < len(p) && p[n] == '>' {
			n++
		}
	}
	if n > 0 {
		_, err = e.w.Write(p[:n])
		return p[n:], err
	}
	for n < len(p) && e.held < len(fromMark) && p[n] == fromMark[e.held] {
		n++
		e.held++
	}
	switch {
	case e.held == len(fromMark):
		_, err = io.WriteString(e.w, ">"+fromMark)
	case n == len(p):
		return nil, nil
	default:
		_, err = io.WriteString(e.w, fromMark[:e.held])
	}
	e.held, e.away = 0, true
	return p[n:], err
}

// Close takes the end of the message.
func (e *escaper) Close() error {
	if _, err := io.WriteString(e.w, fromMark[:e.held]); err != nil {
		return err
	}
	return e.w.Close()
}
