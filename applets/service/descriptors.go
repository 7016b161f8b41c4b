package service

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// WithDescriptors calls f with the numbers of files added to fds. Unlike
// File.Fd it leaves their mode alone.
func WithDescriptors(files []*os.File, fds []int, f func([]int) error) error {
	if len(files) == 0 {
		return f(fds)
	}
	rc, err := files[0].SyscallConn()
	if err != nil {
		return err
	}
	var inner error
	if err := rc.Control(func(fd uintptr) { inner = WithDescriptors(files[1:], append(fds, int(fd)), f) }); err != nil {
		return err
	}
	return inner
}

// kindOf is the type of an open descriptor, 0 if it is not open.
func kindOf(fd int) uint32 {
	var st unix.Stat_t
	if unix.Fstat(fd, &st) != nil {
		return 0
	}
	return uint32(st.Mode) & unix.S_IFMT
}

// Detach makes standard input, output and error /dev/null: whoever reads what
// we print, a terminal or a pipe, waits for us no longer.
func Detach() error {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer null.Close()
	return WithDescriptors([]*os.File{null}, nil, func(fds []int) error {
		for fd := range 3 {
			if err := Duplicate(fds[0], fd); err != nil {
				return fmt.Errorf("let go of descriptor %d: %w", fd, err)
			}
		}
		return nil
	})
}
