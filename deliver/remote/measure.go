package remote

import (
	"bytes"
	"fmt"
	"io"
	"sync"
)

// shape is what the envelope must say of a message.
type shape struct {
	wire  int64 // octets with each line end as CR LF
	eight bool  // there are octets over 127
}

var looks = sync.Pool{New: func() any { return new([32 << 10]byte) }}

// measure reads a message through. Its dots and folds are not counted: they
// are no part of the message (RFC 1870 section 3).
func measure(r io.Reader) (shape, error) {
	var s shape
	buf := looks.Get().(*[32 << 10]byte)
	defer looks.Put(buf)
	last := byte('\n')
	for {
		n, err := r.Read(buf[:])
		if n > 0 {
			b := buf[:n]
			s.wire += int64(n + bytes.Count(b, []byte{'\n'}))
			s.eight = s.eight || hasHigh(b)
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
