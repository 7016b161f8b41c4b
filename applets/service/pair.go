package service

import (
	"fmt"
	"net"
	"os"
	"syscall"
)

// ConnPair returns a unix stream connection with one end for us and one, as a
// file, for another process.
func ConnPair() (*net.UnixConn, *os.File, error) {
	fds, err := Socketpair(syscall.SOCK_STREAM)
	if err != nil {
		return nil, nil, fmt.Errorf("socketpair: %w", err)
	}
	ours, theirs := os.NewFile(uintptr(fds[0]), "session"), os.NewFile(uintptr(fds[1]), "session")
	conn, err := net.FileConn(ours)
	ours.Close()
	if err != nil {
		theirs.Close()
		return nil, nil, err
	}
	return conn.(*net.UnixConn), theirs, nil
}
