package local

import (
	"errors"
	"fmt"
	"io"
	"sync"

	"postoffice/internal/disk"
)

// buffers hold what is read from a message and not yet written.
var buffers = sync.Pool{New: func() any { return new([64 << 10]byte) }}

// bodyError is a failure to read the message: it concerns no other one.
type bodyError struct{ error }

func (e bodyError) Unwrap() error { return e.error }

// reserve has the disk keep room for a message of at most size octets behind
// end: one that has none says so before anything is written, which some (Btrfs
// at its quota) then have no room to cut off. A size of -1 is not known.
func reserve(f disk.File, end, size int64) error {
	if size < 0 {
		return nil
	}
	if err := f.Allocate(end + size); disk.Full(err) {
		return err
	}
	return nil // it is only a help: what else it may say the write says too
}

// stream gives put what stands in front of a message, then the message. A
// message without any octet is none.
func stream(front string, body io.Reader, put func(p []byte) error) error {
	buf := buffers.Get().(*[64 << 10]byte)
	defer buffers.Put(buf)
	n, empty := copy(buf[:], front), true
	for {
		read, err := fill(body, buf[n:])
		n += read
		empty = empty && read == 0
		if err != nil && err != io.EOF {
			return bodyError{fmt.Errorf("read the message: %w", err)}
		}
		if empty {
			return bodyError{errors.New("message without any octet")}
		}
		if err := put(buf[:n]); err != nil {
			return err
		}
		if err == io.EOF {
			return nil
		}
		n = 0
	}
}

// fill reads until p is full or the message ends (io.EOF).
func fill(body io.Reader, p []byte) (n int, err error) {
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
