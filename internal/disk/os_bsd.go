//go:build freebsd || darwin

package disk

import "golang.org/x/sys/unix"

// spaceAt is the room of the file system that a descriptor is on.
func spaceAt(fd int) (Space, error) {
	var st unix.Statfs_t
	err := retry(func() error { return unix.Fstatfs(fd, &st) })
	free := max(int64(st.Bavail), 0) // less where what is kept for root is in use
	return space(uint64(st.Bsize), uint64(free), uint64(st.Blocks), uint64(st.Files), uint64(max(int64(st.Ffree), 0))), err
}

func readlinkat(dir int, name string, buf []byte) (int, error) {
	return unix.Readlinkat(dir, name, buf)
}
