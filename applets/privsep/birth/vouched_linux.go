package birth

import (
	"errors"
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// maxControl is room for credentials and descriptors, one too many at least.
const maxControl = 80

// vouch has the kernel say of each message that comes who sent it.
func vouch(c *net.UnixConn) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	cerr := raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PASSCRED, 1) })
	if cerr != nil {
		return cerr
	}
	if err != nil {
		return fmt.Errorf("SO_PASSCRED: %w", err)
	}
	return nil
}

// vouched reads who sent a message, and its descriptors.
func vouched(oob []byte, _ sender) (sender, []*os.File, error) {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return sender{}, nil, err
	}
	from, known := sender{}, false
	var files []*os.File
	for _, m := range messages {
		if cred, err := unix.ParseUnixCredentials(&m); err == nil {
			from, known = sender{int(cred.Pid), int(cred.Uid), int(cred.Gid)}, true
		} else if fds, err := unix.ParseUnixRights(&m); err == nil {
			for _, fd := range fds {
				files = append(files, os.NewFile(uintptr(fd), "received"))
			}
		}
	}
	if !known {
		return from, files, errors.New("a message of nobody's")
	}
	return from, files, nil
}
