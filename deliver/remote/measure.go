package remote

import (
	"bytes"
	"fmt"
	"io"
	"sync"
)

// shape is what the envelope must say of a message.
type shape struct {
	wire   int64 // octets with each line end as CR LF
	eight  bool  // there are octets over 127
	header bool  // and some of them in the header
}

var looks = sync.Pool{New: func() any { return new([32 << 10]byte) }}

// measure reads a message through. Its dots and folds are not counted: they
// are no part of the message (RFC 1870 section 3).
func measure(r io.Reader) (shape, error) {
	var s shape
	buf := looks.Get().(*[32 << 10]byte)
	defer looks.Put(buf)
	last, inHeader := byte('\n'), true
	for {
		n, err := r.Read(buf[:])
		if n > 0 {
			b := buf[:n]
			s.wire += int64(n + bytes.Count(b, []byte{'\n'}))
			s.eight = s.eight || hasHigh(b)
			if inHeader {
				var front []byte
				front, inHeader = headerPart(last, b)
				s.header = s.header || hasHigh(front)
			}
			last = b[n-1]
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return s, fmt.Errorf("read the message: %w", err)
		}
	}
	if last != '\n' {
		s.wire += 2
	}
	return s, nil
}

// headerPart returns what of b, which stands behind last, belongs to the header, and
// whether that goes on.
func headerPart(last byte, b []byte) (part []byte, more bool) {
	if last == '\n' && b[0] == '\n' {
		return nil, false
	}
	if i := bytes.Index(b, []byte("\n\n")); i >= 0 {
		return b[:i], false
	}
	return b, true
}

// hasHigh looks at eight octets at a time.
func hasHigh(b []byte) bool {
	for len(b) >= 8 {
		if (b[0]|b[1]|b[2]|b[3]|b[4]|b[5]|b[6]|b[7])&0x80 != 0 {
			return true
		}
		b = b[8:]
	}
	for _, c := range b {
		if c&0x80 != 0 {
			return true
		}
	}
	return false
}
