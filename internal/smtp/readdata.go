package smtp

import (
	"bufio"
	"bytes"
	"errors"
	"io"
)

// DataOptions bounds what ReadData takes.
type DataOptions struct {
	Limit int64 // of DataInfo.Size, in octets; 0: none
	// Beyond is how many more are read to find the end of a message that is too big;
	// 0: all of them.
	Beyond int64
}

// ErrNoEnd says that a message went on beyond its limit, and beyond DataOptions.Beyond:
// where it ends isn't known, so that nothing more can be read.
var ErrNoEnd = errors.New("a message that is too big didn't end")

// DataInfo is what ReadData saw. What of it leads to a refusal is the
// caller's decision.
type DataInfo struct {
	Octets      int64 // in the form of the spool, whether written or not
	Size        int64 // as RFC 1870 section 5 counts: every line end is two
	BareNewline bool  // a CR without LF or an LF without CR
	NUL         bool
	TooBig      bool  // Size passed the limit; the rest was not written
	WriteErr    error // the destination's first error; the rest was not written
}

// ReadData reads a message as it follows the 354 up to and with its end, CR LF
// "." CR LF, and writes the form of the spool: each CR LF or bare LF one LF, a
// bare CR a space, one dot taken from a line that begins with one behind a
// true CR LF, NUL and all else as they are.
//
// It always reads to the true end, whatever the destination says. The error is
// the source's alone: io.ErrUnexpectedEOF, ErrNoEnd, or what a read returned, and
// then src is of no further use.
func ReadData(dst io.Writer, src *bufio.Reader, o DataOptions) (DataInfo, error) {
	block := blocks.Get().(*[blockSize]byte)
	defer blocks.Put(block)
	d := dataReader{dst: dst, limit: o.Limit, out: block[:0]}
	for {
		if _, err := src.Peek(1); err != nil {
			return d.info, unexpected(err)
		}
		chunk, _ := src.Peek(src.Buffered())
		n, ended := d.take(chunk)
		src.Discard(n) // cannot fail: n octets are buffered
		if ended {
			d.flush()
			return d.info, nil
		}
		if o.Beyond > 0 && d.info.TooBig && d.info.Size-o.Limit > o.Beyond {
			return d.info, ErrNoEnd
		}
	}
}

// A ChunkReader reads a message that comes in chunks of counted octets (RFC 3030).
// It writes what ReadData would write of the same octets, but no dot is taken away
// or ends anything. Between two chunks it holds at most one octet, a CR.
type ChunkReader struct{ d dataReader }

// NewChunkReader returns a ChunkReader that writes to dst.
func NewChunkReader(dst io.Writer, o DataOptions) *ChunkReader {
	return &ChunkReader{dataReader{dst: dst, limit: o.Limit, counted: true}}
}

// Read reads a chunk of n octets, all of them whatever the destination says, and
// writes it. It returns what was seen of the message up to there. The error is the
// source's alone, as ReadData's.
func (c *ChunkReader) Read(src *bufio.Reader, n int64) (DataInfo, error) {
	block := blocks.Get().(*[blockSize]byte)
	defer blocks.Put(block)
	c.d.out = block[:0]
	defer func() { c.d.out = nil }()
	for n > 0 {
		if _, err := src.Peek(1); err != nil {
			return c.d.info, unexpected(err)
		}
		piece, _ := src.Peek(int(min(n, int64(src.Buffered()))))
		c.d.take(piece)
		src.Discard(len(piece)) // cannot fail: they are buffered
		n -= int64(len(piece))
	}
	c.d.flush()
	return c.d.info, nil
}

// End is the end of the message, behind its last chunk. A CR that is its last
// octet stands alone, and a last line without an end gets one.
func (c *ChunkReader) End() DataInfo {
	var last [2]byte
	d := &c.d
	d.out = last[:0]
	if d.state == afterCR {
		d.state = inLine
		d.info.BareNewline = true
		d.put(' ')
		d.flush()
	}
	if d.open {
		d.put('\n')
		d.flush()
	}
	return d.info
}

// DropChunk reads the n octets of a chunk that is refused, and forgets them.
func DropChunk(src *bufio.Reader, n int64) error {
	_, err := io.CopyN(io.Discard, src, n)
	return unexpected(err)
}

// unexpected is the end of the input in the middle of something.
func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// Where a dataReader stands. A CR, and a dot behind a true CR LF, are held
// back until the next octet tells what they are.
type dataState byte

const (
	lineStart  dataState = iota // behind a true CR LF, or the 354
	inLine                      // anywhere else, also behind a bare LF
	afterCR                     // behind a CR that is held back
	afterDot                    // behind CR LF "."
	afterDotCR                  // behind CR LF "." CR
)

type dataReader struct {
	dst     io.Writer
	limit   int64
	counted bool   // its octets are counted: a dot is one like the others
	out     []byte // not yet written; its capacity is a block
	open    bool   // what was flushed last ends in the middle of a line
	state   dataState
	info    DataInfo
}

// take reads b up to its end or the message's and returns how much that was.
func (d *dataReader) take(b []byte) (n int, ended bool) {
	rest := b
	for len(rest) > 0 {
		c := rest[0]
		switch d.state {
		case lineStart:
			if c == '.' && !d.counted {
				d.state = afterDot
				rest = rest[1:]
				continue
			}
			d.state = inLine
			fallthrough
		case inLine:
			rest = d.line(rest)
		case afterCR:
			rest = d.behindCR(rest)
		case afterDot:
			switch c {
			case '\r':
				d.state = afterDotCR
				rest = rest[1:]
			default: // the dot goes; a bare LF here is an empty line
				d.state = inLine
			}
		case afterDotCR:
			if c == '\n' {
				return len(b) - len(rest) + 1, true
			}
			rest = d.behindCR(rest)
		}
	}
	return len(b), false
}

// line copies b up to and with its first LF, or all of it.
func (d *dataReader) line(b []byte) (rest []byte) {
	i := bytes.IndexByte(b, '\n')
	if i < 0 {
		if n := len(b) - 1; b[n] == '\r' {
			b = b[:n]
			d.state = afterCR
		}
		d.copy(b)
		return nil
	}
	if i > 0 && b[i-1] == '\r' {
		d.state = lineStart
		d.copy(b[:i-1])
	} else {
		d.info.BareNewline = true
		d.copy(b[:i])
	}
	d.put('\n')
	return b[i+1:]
}

// behindCR settles a CR that was held back: it was half of a line end, which
// is taken off b, or it is a space.
func (d *dataReader) behindCR(b []byte) (rest []byte) {
	switch b[0] {
	case '\n':
		d.state = lineStart
		d.put('\n')
		return b[1:]
	case '\r':
		d.state = afterCR
		b = b[1:]
	default:
		d.state = inLine
	}
	d.info.BareNewline = true
	d.put(' ')
	return b
}

func (d *dataReader) put(c byte) {
	if len(d.out) == cap(d.out) {
		d.flush()
	}
	d.out = append(d.out, c)
}

// copy adds text without LF; a CR in it is a bare one.
func (d *dataReader) copy(text []byte) {
	for len(text) > 0 {
		if len(d.out) == cap(d.out) {
			d.flush()
		}
		n := min(len(text), cap(d.out)-len(d.out))
		d.out = append(d.out, text[:n]...)
		if blankCR(d.out[len(d.out)-n:]) {
			d.info.BareNewline = true
		}
		text = text[n:]
	}
}

// blankCR makes every CR in b a space and reports whether there was one.
func blankCR(b []byte) (found bool) {
	for {
		i := bytes.IndexByte(b, '\r')
		if i < 0 {
			return found
		}
		b[i] = ' '
		b = b[i+1:]
		found = true
	}
}

// flush counts what is ready and writes it, if nothing stands against that.
func (d *dataReader) flush() {
	b := d.out
	d.out = b[:0]
	if len(b) == 0 {
		return
	}
	d.open = b[len(b)-1] != '\n'
	d.info.NUL = d.info.NUL || bytes.IndexByte(b, 0) >= 0
	d.info.Octets += int64(len(b))
	d.info.Size += int64(len(b) + bytes.Count(b, []byte{'\n'}))
	if d.limit > 0 && d.info.Size > d.limit {
		d.info.TooBig = true
	}
	if d.info.TooBig || d.info.WriteErr != nil {
		return
	}
	n, err := d.dst.Write(b)
	if err == nil && n < len(b) {
		err = io.ErrShortWrite
	}
	d.info.WriteErr = err
}
