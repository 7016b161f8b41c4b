package mailbox

import (
	"errors"
	"io"
	"sync"

	"postoffice/deliver/local"
	"postoffice/internal/disk"
)

// buffers hold what is read from a message and not yet written.
var buffers = sync.Pool{New: func() any { return new([64 << 10]byte) }}

// reserve has the disk keep room for a message of at most size octets behind
// end: one that has none says so before anything is written, which some (Btrfs
// at its quota) then have no room to cut off. A size of -1 is not known.
func reserve(f disk.File, end, size int64) error {
	if size < 0 {
		return nil
	}
	if err := f.Allocate(end, size); disk.Full(err) {
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
		read, err := local.ReadBody(body, buf[n:])
		n += read
		empty = empty && read == 0
		if err != nil && err != io.EOF {
			return local.BodyError{Err: err}
		}
		if empty {
			return local.BodyError{Err: errors.New("message without any octet")}
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
