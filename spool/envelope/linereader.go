package envelope

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"sync"
)

// lineReader reads a message file from front to back, a line or a run of octets at
// a time, in one pooled buffer of maxLine octets.
type lineReader struct {
	br *bufio.Reader
	at int64 // offset of what comes next
}

var readers = sync.Pool{New: func() any { return bufio.NewReaderSize(nil, maxLine) }}

// newLineReader reads r from offset at to offset end. Free gives the buffer back.
func newLineReader(r io.ReaderAt, at, end int64) *lineReader {
	br := readers.Get().(*bufio.Reader)
	br.Reset(io.NewSectionReader(r, at, end-at))
	return &lineReader{br: br, at: at}
}

func (l *lineReader) free() {
	l.br.Reset(nil)
	readers.Put(l.br)
	l.br = nil
}

// errLong is a line of more than maxLine octets; its start has been taken.
var errLong = errors.New("line too long")

// next returns the next line with its LF, valid until the next call. io.EOF
// comes with what is left behind the last LF.
func (l *lineReader) next() ([]byte, error) {
	line, err := l.br.ReadSlice('\n')
	l.at += int64(len(line))
	if errors.Is(err, bufio.ErrBufferFull) {
		err = errLong
	}
	return line, err
}

// skip goes behind the next LF.
func (l *lineReader) skip() error {
	for {
		if _, err := l.next(); !errors.Is(err, errLong) {
			return err
		}
	}
}

// sum takes n octets and returns their checksum, and whether a CR is among
// them. io.EOF: there are fewer.
func (l *lineReader) sum(n int64) (crc uint32, cr bool, err error) {
	for n > 0 {
		if l.br.Buffered() == 0 {
			if _, err := l.br.Peek(1); err != nil {
				return crc, cr, err
			}
		}
		p, err := l.br.Peek(int(min(n, int64(l.br.Buffered()))))
		if err != nil {
			return crc, cr, err
		}
		crc = sum(crc, p)
		cr = cr || bytes.IndexByte(p, '\r') >= 0
		n -= int64(len(p))
		l.at += int64(len(p))
		if _, err := l.br.Discard(len(p)); err != nil {
			return crc, cr, err
		}
	}
	return crc, cr, nil
}
