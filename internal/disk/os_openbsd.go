package disk

import "golang.org/x/sys/unix"

// spaceAt is the room of the file system that a descriptor is on.
func spaceAt(fd int) (Space, error) {
	var st unix.Statfs_t
	err := retry(func() error { return unix.Fstatfs(fd, &st) })
	free := max(st.F_bavail, 0) // less where what is kept for root is in use
	return space(uint64(st.F_bsize), uint64(free), st.F_blocks, st.F_files, uint64(max(st.F_favail, 0))), err
}

func readlinkat(dir int, name string, buf []byte) (int, error) {
	return unix.Readlinkat(dir, name, buf)
}
