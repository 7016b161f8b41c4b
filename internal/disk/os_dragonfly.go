package disk

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// spaceAt is the room of the file system that a descriptor is on.
func spaceAt(fd int) (Space, error) {
	var st unix.Statfs_t
	err := retry(func() error { return unix.Fstatfs(fd, &st) })
	free := max(int64(st.Bavail), 0) // less where what is kept for root is in use
	return space(uint64(st.Bsize), uint64(free), uint64(st.Blocks), uint64(st.Files), uint64(max(int64(st.Ffree), 0))), err
}

// readlinkat is readlinkat(2), which package unix lacks here.
func readlinkat(dir int, name string, buf []byte) (int, error) {
	path, err := unix.BytePtrFromString(name)
	if err != nil {
		return -1, err
	}
	n, _, e := unix.Syscall6(unix.SYS_READLINKAT, uintptr(dir), uintptr(unsafe.Pointer(path)), uintptr(unsafe.Pointer(&buf[0])), uintptr(len(buf)), 0, 0)
	if e != 0 {
		return -1, e
	}
	return int(n), nil
}
