package client

import (
	"bufio"
	"bytes"
	"errors"
	"io"

	"postoffice/internal/message"
)

// maxCR is how many CRs in front of an LF are a part of the line end: programs
// that convert lines which have CR LF already make two or three.
const maxCR = 8

// input reads a message from a program of this machine and gives it in the form
// of the spool: lines that end in LF, no CR. CRs in front of an LF belong to
// the line end, a CR anywhere else is a space. Unless dots are content, a line
// "." ends the message. The From_ lines of mailboxes that stand in front of it
// are left out. A missing last line end is added.
type input struct {
	r       *bufio.Reader
	dots    bool // -i: a line "." is content
	begun   bool
	midLine bool   // the last piece ended within a line
	crs     int    // that the last piece ended in; the next octet tells what they mean
	buf     []byte // what was read and not given yet, from at on
	at      int
	err     error
}

func newInput(r io.Reader, dots bool) *input {
	return &input{r: bufio.NewReaderSize(r, 32<<10), dots: dots}
}

// Read implements io.Reader.
func (in *input) Read(p []byte) (int, error) {
	for in.at == len(in.buf) {
		if in.err != nil {
			return 0, in.err
		}
		in.buf, in.at = in.buf[:0], 0
		in.fill()
	}
	n := copy(p, in.buf[in.at:])
	in.at += n
	return n, nil
}

// fill takes the next line, or as much of it as the reader holds.
func (in *input) fill() {
	if !in.begun {
		in.begun = true
		in.skipFromLines()
	}
	line, whole := in.piece()
	first := !in.midLine
	if first && whole && !in.dots && isDot(line) {
		in.err = io.EOF
		return
	}
	if len(line) > 0 {
		in.midLine = !whole
		in.take(line, whole)
	}
	if in.err != nil {
		in.end()
	}
}

// piece returns the next line, or as much of it as the reader holds, and
// whether it has an end.
func (in *input) piece() (line []byte, whole bool) {
	line, err := in.r.ReadSlice('\n')
	if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
		in.err = err
	}
	return line, err == nil
}

// take appends a piece of a line with its CRs replaced.
func (in *input) take(line []byte, whole bool) {
	if whole {
		line = line[:len(line)-1]
	}
	text := bytes.TrimRight(line, "\r")
	if len(text) > 0 {
		in.spaces(in.crs)
		at := len(in.buf)
		in.buf = append(in.buf, text...)
		for i := bytes.IndexByte(in.buf[at:], '\r'); i >= 0; i = bytes.IndexByte(in.buf[at:], '\r') {
			in.buf[at+i] = ' '
		}
	}
	in.crs += len(line) - len(text)
	in.spaces(in.crs - maxCR)
	if whole {
		in.crs = 0
		in.buf = append(in.buf, '\n')
	}
}

// spaces makes spaces of n CRs that were held back, if n is positive.
func (in *input) spaces(n int) {
	for ; n > 0; n-- {
		in.buf = append(in.buf, ' ')
		in.crs--
	}
}

// end completes a last line that has no line end.
func (in *input) end() {
	if in.midLine {
		in.spaces(in.crs)
		in.buf = append(in.buf, '\n')
		in.midLine = false
	}
}

// isDot says whether a whole line is a dot.
func isDot(line []byte) bool {
	crs, ok := bytes.CutPrefix(line[:len(line)-1], []byte("."))
	return ok && len(crs) <= maxCR && len(bytes.TrimRight(crs, "\r")) == 0
}

var (
	fromMark   = []byte("From ")
	quotedMark = []byte(">")
)

// skipFromLines leaves out the lines in front of the message that a mailbox has
// there: "From ", and the same behind ">" where one of the former came first,
// or where a header follows. Else ">From " is what somebody wrote.
func (in *input) skipFromLines() {
	for from := false; in.err == nil; {
		if b, _ := in.r.Peek(1); len(b) == 0 || b[0] != fromMark[0] && b[0] != quotedMark[0] {
			return
		}
		line := in.ahead(0)
		from = bytes.HasPrefix(line, fromMark) || isQuotedFrom(line) && (from || in.headerFollows())
		if !from {
			return
		}
		for whole := false; !whole && in.err == nil; {
			_, whole = in.piece()
		}
	}
}

// headerFollows says whether a header stands behind the From_ lines that come now,
// quoted or not, as far as the reader holds them.
func (in *input) headerFollows() bool {
	at := 0
	for line := in.ahead(at); isQuotedFrom(line) || bytes.HasPrefix(line, fromMark); line = in.ahead(at) {
		at += len(line)
	}
	return message.StartsField(in.ahead(at))
}

// ahead returns the line at octet i of what comes, or as much of it as the
// reader can hold, and leaves it there.
func (in *input) ahead(i int) []byte {
	for {
		b, _ := in.r.Peek(in.r.Buffered())
		b = b[min(i, len(b)):]
		if n := bytes.IndexByte(b, '\n'); n >= 0 {
			return b[:n+1]
		}
		if _, err := in.r.Peek(in.r.Buffered() + 1); err != nil {
			return b
		}
	}
}

// isQuotedFrom says whether a line is a From_ line behind ">".
func isQuotedFrom(line []byte) bool {
	rest := bytes.TrimLeft(line, ">")
	return len(rest) < len(line) && bytes.HasPrefix(rest, fromMark)
}
