package applets

import (
	"bufio"
	"bytes"
	"errors"
	"io"
)

// input reads a message from a program of this machine and gives it in the form
// of the spool: lines that end in LF, no CR. CR LF is a line end, a CR anywhere
// else a space. Unless dots are content, a line "." ends the message; a first
// line "From " of a mailbox is left out. A missing last line end is added.
type input struct {
	r       *bufio.Reader
	dots    bool // -i: a line "." is content
	begun   bool
	midLine bool   // the last piece ended within a line
	heldCR  bool   // the last piece ended in a CR, whose meaning the next octet tells
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
	line, err := in.r.ReadSlice('\n')
	whole := err == nil
	if errors.Is(err, bufio.ErrBufferFull) {
		err = nil
	}
	in.err = err
	if len(line) == 0 {
		in.end()
		return
	}
	first := !in.midLine
	in.midLine = !whole
	if in.heldCR && line[0] != '\n' {
		in.buf = append(in.buf, ' ')
	}
	in.heldCR = false
	if first && !in.dots && isDot(line) {
		in.err, in.midLine = io.EOF, false
		return
	}
	if first && !in.begun && bytes.HasPrefix(line, []byte("From ")) {
		in.begun = true
		in.skipLine(whole)
		return
	}
	in.begun = true
	in.take(line, whole)
	if in.err != nil {
		in.end()
	}
}

// take appends a piece of a line with its CRs replaced.
func (in *input) take(line []byte, whole bool) {
	end := len(line)
	switch {
	case whole && end > 1 && line[end-2] == '\r':
		line = append(line[:end-2], '\n')
	case !whole && line[end-1] == '\r':
		line, in.heldCR = line[:end-1], true
	}
	at := len(in.buf)
	in.buf = append(in.buf, line...)
	for i := bytes.IndexByte(in.buf[at:], '\r'); i >= 0; i = bytes.IndexByte(in.buf[at:], '\r') {
		in.buf[at+i] = ' '
	}
}

// skipLine drops the rest of a line of which the first piece was dropped.
func (in *input) skipLine(whole bool) {
	for !whole && in.err == nil {
		_, err := in.r.ReadSlice('\n')
		whole = err == nil
		if !errors.Is(err, bufio.ErrBufferFull) {
			in.err = err
		}
	}
	in.midLine = false
}

// end completes a last line that has no line end.
func (in *input) end() {
	if in.err != nil && in.midLine {
		if in.heldCR {
			in.heldCR = false
			in.buf = append(in.buf, ' ')
		}
		in.buf = append(in.buf, '\n')
		in.midLine = false
	}
}

func isDot(line []byte) bool {
	return bytes.Equal(line, []byte(".\n")) || bytes.Equal(line, []byte(".\r\n"))
}
