package privsep

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"postoffice/deliver/local"
	"postoffice/deliver/local/stalled"
)

// A message's octets go through a pipe of their own, so that a slow one holds
// up no other: pieces behind their length in four octets, then a length of
// zero, which says that this was all. An end without it is a message that
// broke off.

const (
	lengthSize = 4
	maxChunk   = 64<<10 - 2*lengthSize // with its length and the last frame it fills a pipe
)

type chunkBuffer [lengthSize + maxChunk + lengthSize]byte

var chunks = sync.Pool{New: func() any { return new(chunkBuffer) }}

// sendStream copies r to w as a stream. A local.BodyError is r's, and the last frame
// was not written; any other error is w's.
func sendStream(w io.Writer, r io.Reader) error {
	buf := chunks.Get().(*chunkBuffer)
	defer chunks.Put(buf)
	for {
		n, err := local.ReadBody(r, buf[lengthSize:lengthSize+maxChunk])
		if err != nil && err != io.EOF {
			return local.BodyError{Err: err}
		}
		out := buf[:0]
		if n > 0 {
			binary.BigEndian.PutUint32(buf[:], uint32(n))
			out = buf[:lengthSize+n]
		}
		if err == io.EOF {
			out = binary.BigEndian.AppendUint32(out, 0)
		}
		if _, werr := w.Write(out); werr != nil || err == io.EOF {
			return werr
		}
	}
}

// streamReader gives the octets of a stream back. io.EOF comes only behind the
// last frame; a stream that breaks off is io.ErrUnexpectedEOF, and one that
// can't be ours errFrame.
type streamReader struct {
	r    *bufio.Reader
	left int // of the piece
	err  error
}

var streamBuffers = sync.Pool{New: func() any { return bufio.NewReaderSize(nil, 16<<10) }}

func newStreamReader(r io.Reader) *streamReader {
	b := streamBuffers.Get().(*bufio.Reader)
	b.Reset(r)
	return &streamReader{r: b}
}

// release gives the buffer back: no more reading.
func (s *streamReader) release() {
	s.r.Reset(nil)
	streamBuffers.Put(s.r)
	s.r, s.err = nil, io.ErrClosedPipe
}

func (s *streamReader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if s.err == nil && s.left == 0 {
		s.err = s.next()
	}
	if s.err != nil {
		return 0, s.err
	}
	n, err := s.r.Read(p[:min(len(p), s.left)])
	s.left -= n
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	s.err = err
	return n, err
}

func (s *streamReader) next() error {
	var length [lengthSize]byte
	if _, err := io.ReadFull(s.r, length[:]); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return err
	}
	n := binary.BigEndian.Uint32(length[:])
	switch {
	case n == 0:
		return io.EOF
	case n > maxChunk:
		return fmt.Errorf("%w: a piece of %d octets, limit %d", errFrame, n, maxChunk)
	}
	s.left = int(n)
	return nil
}

type listed struct {
	lines []local.Line
	err   error
}

// listPipe is the end of a list's pipe that is read. What comes is held in memory, so
// that a long list has one of a few places from where it is no short one. A process
// that keeps such a place and sends nothing loses it where they are all taken.
type listPipe struct {
	r       *os.File
	long    chan struct{} // a place for each
	void    chan struct{} // closed when nothing of it counts
	written chan struct{} // closed when all was written: what isn't there never comes

	n    int
	held bool
}

func newListPipe(r *os.File, long chan struct{}) *listPipe {
	return &listPipe{r: r, long: long, void: make(chan struct{}), written: make(chan struct{})}
}

// lines reads the stream of a list, of which nothing is trusted.
func (p *listPipe) lines() listed {
	s := newStreamReader(p)
	defer s.release()
	lines, err := local.DecodeLines(s)
	if p.held {
		<-p.long
	}
	if err != nil {
		p.r.Close() // whoever still writes learns it
		return listed{nil, fmt.Errorf("read what a user's process sent: %w", err)}
	}
	return listed{lines, nil}
}

// errSilent ends a list of which nothing comes.
var errSilent = errors.New("nothing came for a second")

func (p *listPipe) Read(b []byte) (int, error) {
	if p.n >= maxShort && !p.held {
		select {
		case p.long <- struct{}{}:
			p.held = true
		case <-p.void:
			return 0, os.ErrDeadlineExceeded
		}
	}
	for {
		if err := p.r.SetReadDeadline(time.Now().Add(stalled.StepWait)); err != nil {
			return 0, err
		}
		over := p.over()
		n, err := p.r.Read(b)
		p.n += n
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return n, err
		}
		if over || p.held && len(p.long) == cap(p.long) {
			return 0, errSilent
		}
	}
}

// over says that nothing more is waited for.
func (p *listPipe) over() bool {
	select {
	case <-p.void:
	case <-p.written:
	default:
		return false
	}
	return true
}
