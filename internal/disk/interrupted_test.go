//go:build unix

package disk

import (
	"bytes"
	"errors"
	"testing"

	"golang.org/x/sys/unix"
)

// TestInterruptedWriteAt is a write that a signal interrupts, as FUSE and NFS
// allow: it comes again at the same place, and what asks for the reason of a
// short one goes behind it.
func TestInterruptedWriteAt(t *testing.T) {
	disk := make([]byte, 16)
	var calls int
	call := func(p []byte, off int64) (int, error) {
		calls++
		switch calls {
		case 1, 3:
			return -1, unix.EINTR
		case 2:
			return copy(disk[off:], p[:2]), nil
		}
		if off != 6 || string(p) != "cd" {
			t.Errorf("after two of four octets: %q at %d, want the rest at 6", p, off)
		}
		return -1, unix.ENOSPC
	}
	n, err := (&osFile{}).write([]byte("abcd"), from(4, call))
	if n != 2 || !errors.Is(err, unix.ENOSPC) || calls != 4 {
		t.Errorf("%d octets, %v after %d calls, want 2 and ENOSPC after 4", n, err, calls)
	}
	if want := append(make([]byte, 4), "ab"...); !bytes.Equal(disk[:6], want) {
		t.Errorf("%q, want %q", disk[:6], want)
	}
}
