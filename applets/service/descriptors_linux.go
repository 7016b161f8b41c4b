package service

import (
	"errors"
	"math"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// CloseOnExecAll marks every descriptor from 3 up close-on-exec, so that what
// we inherited reaches no child (A77). It closes none: the Go runtime may use
// them.
func CloseOnExecAll() error {
	err := unix.CloseRange(3, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC)
	if err == nil || !errors.Is(err, unix.ENOSYS) && !errors.Is(err, unix.EINVAL) {
		return err
	}
	entries, err := os.ReadDir("/proc/self/fd") // before Linux 5.11
	if err != nil {
		return err
	}
	for _, e := range entries {
		if fd, err := strconv.Atoi(e.Name()); err == nil && fd >= 3 {
			unix.CloseOnExec(fd)
		}
	}
	return nil
}

// Socketpair is socketpair(2), close-on-exec.
func Socketpair(kind int) ([2]int, error) {
	return unix.Socketpair(unix.AF_UNIX, kind|unix.SOCK_CLOEXEC, 0)
}

// socket is socket(2), close-on-exec.
func socket(family, kind int) (int, error) { return unix.Socket(family, kind|unix.SOCK_CLOEXEC, 0) }

// Duplicate makes a descriptor another name of one that is open, which programs that are
// started inherit.
func Duplicate(from, to int) error { return unix.Dup3(from, to, 0) }
