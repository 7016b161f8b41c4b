//go:build !linux

package service

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// maxScan bounds the descriptors that are looked at where no call marks all of them.
const maxScan = 1 << 16

// CloseOnExecAll marks descriptors from 3 up close-on-exec, so that what we inherited
// reaches no child (A77): all that the limit of open files allows now. What was opened
// under a higher limit keeps its number, and is not found.
func CloseOnExecAll() error {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return err
	}
	for fd := 3; fd < int(min(uint64(limit.Cur), maxScan)); fd++ {
		if kindOf(fd) != 0 {
			unix.CloseOnExec(fd)
		}
	}
	return nil
}

// Socketpair is socketpair(2), close-on-exec.
func Socketpair(kind int) (fds [2]int, err error) {
	syscall.ForkLock.RLock() // nothing is started before they are marked
	defer syscall.ForkLock.RUnlock()
	if fds, err = unix.Socketpair(unix.AF_UNIX, kind, 0); err == nil {
		unix.CloseOnExec(fds[0])
		unix.CloseOnExec(fds[1])
	}
	return fds, err
}

// socket is socket(2), close-on-exec.
func socket(family, kind int) (int, error) {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	fd, err := unix.Socket(family, kind, 0)
	if err == nil {
		unix.CloseOnExec(fd)
	}
	return fd, err
}

// Duplicate makes a descriptor another name of one that is open, which programs that are
// started inherit.
func Duplicate(from, to int) error { return unix.Dup2(from, to) }
