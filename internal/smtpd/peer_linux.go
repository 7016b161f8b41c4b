package smtpd

import (
	"errors"
	"net"

	"golang.org/x/sys/unix"
)

// peer returns the user id of the process that connected c.
func peer(c *net.UnixConn) (uid int, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, err
	}
	var cred *unix.Ucred
	var credErr error
	err = raw.Control(func(fd uintptr) {
		cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	})
	if err := errors.Join(err, credErr); err != nil {
		return 0, err
	}
	if cred.Uid == ^uint32(0) {
		return 0, errNoPeer
	}
	return int(cred.Uid), nil
}
