//go:build freebsd || darwin

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
	var cred *unix.Xucred
	var credErr error
	err = raw.Control(func(fd uintptr) {
		cred, credErr = unix.GetsockoptXucred(int(fd), 0, unix.LOCAL_PEERCRED)
	})
	if err := errors.Join(err, credErr); err != nil {
		return 0, err
	}
	if cred.Uid == ^uint32(0) {
		return 0, errNoPeer
	}
	return int(cred.Uid), nil
}
