package local

import "io"

// BodyError is a failure to read a message that is to be delivered: it concerns
// no other message and no mailbox.
type BodyError struct{ Err error }

func (e BodyError) Error() string { return "read the message: " + e.Err.Error() }

// Unwrap returns the cause.
func (e BodyError) Unwrap() error { return e.Err }

// ReadBody reads until p is full or the message ends: io.EOF, with what came
// before it. io.ErrNoProgress says that the reader gives nothing. (io.ReadFull
// can't tell a short message from one whose reader gave io.ErrUnexpectedEOF.)
func ReadBody(body io.Reader, p []byte) (n int, err error) {
	for idle := 0; n < len(p) && err == nil && idle < 100; idle++ {
		var read int
		if read, err = body.Read(p[n:]); read > 0 {
			n, idle = n+read, 0
		}
	}
	if n < len(p) && err == nil {
		err = io.ErrNoProgress
	}
	return n, err
}
