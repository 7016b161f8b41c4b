package wire

import (
	"bytes"
	"errors"
	"io"
	"net"
	"time"

	"golang.org/x/sys/unix"
)

const (
	MaxLine   = 2048    // octets of a command line with its line end
	lineStart = 16      // octets of one that is too long that are returned
	maxSkip   = 1 << 20 // octets of a longer one that are read before the session ends
)

// What ends the reading of a line or a message, beside the connection's own errors.
var (
	// ErrTooLong is a line of more octets than it may have; it has been read to its
	// end.
	ErrTooLong = errors.New("command line too long")
	// ErrEndless is one that has no end.
	ErrEndless = errors.New("command line without an end")
	// ErrTimeout is a client that was too slow.
	ErrTimeout = errors.New("client too slow")
	// ErrStopped is what Stop ended.
	ErrStopped = errors.New("shutting down")
)

// ReadLine returns the next line without its end, which must come within wait, and with
// its end have at most longest octets, 16 KiB or less; it is valid until the next call.
// LF alone ends a line too, unless strict. begin, if not nil, sees the start of the line before its end has come, and may end the session.
// Of a line that is ErrTooLong the start is returned.
func (w *Conn) ReadLine(strict bool, wait time.Duration, longest int, begin func([]byte) error) ([]byte, error) {
	w.idle = time.Now()
	w.lineEnd = w.idle.Add(wait)
	seen := 0
	for {
		b := w.peek()
		if begin != nil && len(b) > 0 {
			if err := begin(b); err != nil {
				return nil, err
			}
			begin = nil
		}
		if i := endOfLine(b, seen, strict); i >= 0 && i < longest {
			w.in.Discard(i + 1) // cannot fail: they are there
			return bytes.TrimSuffix(b[:i], []byte("\r")), nil
		}
		if len(b) >= longest {
			return w.skipLine(strict)
		}
		seen = len(b)
		if err := w.More(); err != nil {
			return nil, err
		}
	}
}

// endOfLine returns the index of the LF that ends the line in b, of which the
// first seen octets hold none, or -1.
func endOfLine(b []byte, seen int, strict bool) int {
	for {
		i := bytes.IndexByte(b[seen:], '\n')
		if i < 0 {
			return -1
		}
		i += seen
		if !strict || i > 0 && b[i-1] == '\r' {
			return i
		}
		seen = i + 1
	}
}

// skipLine drops a line up to and with its end, and returns its start.
func (w *Conn) skipLine(strict bool) (start []byte, err error) {
	start = bytes.Clone(w.peek()[:lineStart])
	for skipped := 0; skipped < maxSkip; {
		b := w.peek()
		if i := endOfLine(b, 0, strict); i >= 0 {
			w.in.Discard(i + 1)
			return start, ErrTooLong
		}
		w.in.Discard(len(b) - 1) // the last may be half of the end
		skipped += len(b) - 1
		if err := w.More(); err != nil {
			return nil, err
		}
	}
	return nil, ErrEndless
}

// nothingYet is a read that would have to wait. It is a net.Error that passes, as that of
// a deadline: TLS reads on where it was.
type nothingYet struct{}

func (nothingYet) Error() string   { return "nothing to read yet" }
func (nothingYet) Timeout() bool   { return true }
func (nothingYet) Temporary() bool { return true }

var errNothingYet net.Error = nothingYet{}

// readNow reads from fd, which does not block, into p.
func readNow(fd int, p []byte) (int, error) {
	for {
		n, err := unix.Read(fd, p)
		switch {
		case err == unix.EINTR:
			continue
		case err == unix.EAGAIN:
			return 0, errNothingYet
		case err != nil:
			return 0, err
		case n == 0:
			return 0, io.EOF
		}
		return n, nil
	}
}

// Quiet waits until by, or until something comes. Nothing is held until then.
func (w *Conn) Quiet(by time.Time) (came bool, err error) {
	w.idle, w.lineEnd = time.Now(), by
	switch err := w.Some(); err {
	case nil:
		return true, nil
	case ErrTimeout:
		return false, nil
	default:
		return false, err
	}
}

// Rest writes what is ready, and holds no buffer from then on where nothing has come.
func (w *Conn) Rest() {
	if w.Flush(); w.Waiting() == 0 {
		w.release()
	}
}

// idleWait is how long the client may be silent while few places are left.
func (w *Conn) idleWait() time.Duration {
	if w.Paced {
		return StrangerWait
	}
	return IdleWait
}
