package smtp

import (
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
)

// Fold returns s with its ASCII capital letters made small. Every other octet
// stays as it is: no look-alike of another alphabet ever matches a name (A15).
func Fold(s string) string {
	for i := range len(s) {
		if 'A' <= s[i] && s[i] <= 'Z' {
			b := []byte(s)
			for j := i; j < len(b); j++ {
				b[j] = lower(b[j])
			}
			return string(b)
		}
	}
	return s
}

// EqualFold reports whether a and b are equal by Fold.
func EqualFold(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range len(a) {
		if lower(a[i]) != lower(b[i]) {
			return false
		}
	}
	return true
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

// IsPrintable reports whether c is printable ASCII, the blank included.
func IsPrintable(c byte) bool { return ' ' <= c && c <= '~' }

// Printable returns s for people, in log, report or terminal: every octet
// outside printable ASCII as \xNN, cut with "..." at max octets (A25,
// A61).
func Printable(s string, max int) string {
	const hex = "0123456789abcdef"
	var b strings.Builder
	for i := range len(s) {
		if b.Len() >= max {
			b.WriteString("...")
			break
		}
		if c := s[i]; IsPrintable(c) {
			b.WriteByte(c)
		} else {
			b.WriteString(`\x`)
			b.WriteByte(hex[c>>4])
			b.WriteByte(hex[c&15])
		}
	}
	return b.String()
}

// Masked returns s for a place with an alphabet of its own: by stands for each
// octet that fits says no of.
func Masked(s string, by byte, fits func(c byte) bool) string {
	for i := range len(s) {
		if !fits(s[i]) {
			b := []byte(s)
			for j := i; j < len(b); j++ {
				if !fits(b[j]) {
					b[j] = by
				}
			}
			return string(b)
		}
	}
	return s
}

// InWords returns an error of a connection with a text for people: what was
// tried and what the system says of it, without the addresses, which stand
// beside it wherever it is shown. Errors of other kinds stay as they are, and
// so does what was put around one; errors.Is and As find what they found.
func InWords(err error) error {
	if err == nil {
		return nil
	}
	if op := (*net.OpError)(nil); errors.As(err, &op) {
		return reworded(err, op.Error(), opWords(op))
	}
	for _, end := range []error{io.ErrUnexpectedEOF, io.EOF} {
		if errors.Is(err, end) {
			return reworded(err, end.Error(), "connection lost, the other side closed it")
		}
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return reworded(err, os.ErrDeadlineExceeded.Error(), noAnswer)
	}
	return reworded(err, "tls: ", "")
}

const noAnswer = "no answer in time"

// opWords is an OpError in words.
func opWords(op *net.OpError) string {
	cause := causeWords(op)
	switch {
	case op.Op == "dial":
		return "could not connect, " + cause
	case op.Op == "remote error": // an alert of TLS
		return "the other side says " + cause
	case op.Timeout() || strings.HasPrefix(op.Net, "udp"):
		return cause
	}
	return "connection lost, " + cause
}

func causeWords(op *net.OpError) string {
	var errno syscall.Errno
	switch {
	case op.Timeout() && !errors.As(op.Err, &errno):
		return noAnswer
	case errors.As(op.Err, &errno):
		return errno.Error()
	case errors.Is(op.Err, net.ErrClosed):
		return "this side closed it"
	case errors.Is(op.Err, io.EOF), errors.Is(op.Err, io.ErrUnexpectedEOF):
		return "the other side closed it"
	}
	return strings.TrimPrefix(op.Err.Error(), "tls: ")
}

// reworded is err with one part of its text replaced.
func reworded(err error, from, to string) error {
	text := strings.Replace(err.Error(), from, to, 1)
	if text == err.Error() {
		return err
	}
	return &wordedError{text, err}
}

type wordedError struct {
	text string
	err  error
}

func (e *wordedError) Error() string { return e.text }
func (e *wordedError) Unwrap() error { return e.err }
