package vhost

import (
	"bytes"
	"errors"
	"io"
)

// errLong is what is wrong with a line that doesn't fit into a lineReader's buffer, of
// which no good line has the length. It has been passed over.
var errLong = errors.New("it is too long: want user:hash, and a line feed")

// mark is the byte order mark that some editors put at the start of a file, where it
// means nothing.
var mark = []byte("\ufeff")

// lineReader reads lines and tells where each begins.
type lineReader struct {
	r          io.Reader
	whole      bool // r begins where the file does
	buf        []byte
	begin, end int   // what of buf was read and not yet given
	at         int64 // of begin in the file
	n          int   // lines given
	cut        bool  // the last one has no line end
	err        error // of r
}

// next returns a line without its end, good until the next call; io.EOF behind the
// last. After errLong it goes on behind that line.
func (l *lineReader) next() (line []byte, at int64, err error) {
	for {
		if i := bytes.IndexByte(l.buf[l.begin:l.end], '\n'); i >= 0 {
			return l.give(i, i+1)
		}
		if l.begin > 0 {
			copy(l.buf, l.buf[l.begin:l.end])
			l.begin, l.end = 0, l.end-l.begin
		}
		if l.end == len(l.buf) {
			return l.skip()
		}
		if l.err != nil {
			break
		}
		var k int
		k, l.err = l.r.Read(l.buf[l.end:])
		l.end += k
	}
	if l.err != io.EOF {
		return nil, l.at, l.err
	}
	if l.begin == l.end {
		return nil, l.at, io.EOF
	}
	l.cut = true
	return l.give(l.end-l.begin, l.end-l.begin)
}

func (l *lineReader) give(n, skip int) ([]byte, int64, error) {
	line, at := l.buf[l.begin:l.begin+n], l.at
	l.begin += skip
	l.at += int64(skip)
	if l.n++; l.n == 1 && l.whole && bytes.HasPrefix(line, mark) {
		line, at = line[len(mark):], at+int64(len(mark))
	}
	return bytes.TrimSuffix(line, []byte("\r")), at, nil
}

// skip passes over a line that fills the buffer.
func (l *lineReader) skip() (line []byte, at int64, err error) {
	at = l.at
	l.n++
	for l.err == nil {
		l.at += int64(l.end)
		l.end, l.err = l.r.Read(l.buf)
		if i := bytes.IndexByte(l.buf[:l.end], '\n'); i >= 0 {
			l.begin = i + 1
			l.at += int64(i + 1)
			return nil, at, errLong
		}
	}
	l.at += int64(l.end)
	l.end = 0
	if l.err != io.EOF {
		return nil, at, l.err
	}
	l.cut = true
	return nil, at, errLong
}
