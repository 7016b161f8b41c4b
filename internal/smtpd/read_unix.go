//go:build unix

package smtpd

import (
	"errors"
	"io"

	"golang.org/x/sys/unix"
)

// errNothingYet is a read that would have to wait.
var errNothingYet = errors.New("nothing to read yet")

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
