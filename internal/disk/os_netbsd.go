package disk

import "golang.org/x/sys/unix"

// spaceAt is the room of the file system that a descriptor is on.
func spaceAt(fd int) (Space, error) {
	var st unix.Statvfs_t
	err := retry(func() error { return unix.Fstatvfs(fd, &st) })
	return space(uint64(st.Frsize), uint64(st.Bavail), uint64(st.Blocks), uint64(st.Files), uint64(st.Favail)), err
}

func readlinkat(dir int, name string, buf []byte) (int, error) {
	return unix.Readlinkat(dir, name, buf)
}
