//go:build freebsd || darwin

package control

import (
	"net"

	"golang.org/x/sys/unix"
)

// PeerOf asks the kernel who connected, or listens, at the other end. The
// process number is not told.
func PeerOf(conn *net.UnixConn) (Peer, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return Peer{}, err
	}
	var cred *unix.Xucred
	var optErr error
	err = raw.Control(func(fd uintptr) {
		cred, optErr = unix.GetsockoptXucred(int(fd), 0, unix.LOCAL_PEERCRED)
	})
	if err == nil {
		err = optErr
	}
	if err != nil {
		return Peer{}, err
	}
	return Peer{UID: int(cred.Uid), GID: int(cred.Groups[0])}, nil
}
