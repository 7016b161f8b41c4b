package birth

import (
	"errors"
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/unix"

	"postoffice/applets/service"
)

// Pair makes a link: a connected pair of SOCK_SEQPACKET sockets, an end for us
// and one, as a file, for somebody else.
func Pair() (ours *net.UnixConn, theirs *os.File, err error) {
	fds, err := service.Socketpair(unix.SOCK_SEQPACKET)
	if err != nil {
		if errors.Is(err, unix.EPROTONOSUPPORT) { // macOS
			err = fmt.Errorf("%w: this system lacks the sockets that a server of root's needs between its processes; start it as an ordinary user", err)
		}
		return nil, nil, fmt.Errorf("make a link: %w", err)
	}
	theirs = os.NewFile(uintptr(fds[1]), "link")
	ours, err = Conn(os.NewFile(uintptr(fds[0]), "link"))
	if err != nil {
		theirs.Close()
		return nil, nil, err
	}
	return ours, theirs, nil
}

// Conn makes an end of a link of a file, and closes that.
func Conn(f *os.File) (*net.UnixConn, error) {
	defer f.Close()
	c, err := net.FileConn(f)
	if err != nil {
		return nil, err
	}
	u, ok := c.(*net.UnixConn)
	if !ok || u.LocalAddr().Network() != "unixpacket" {
		c.Close()
		return nil, fmt.Errorf("descriptor %s is no link", f.Name())
	}
	return u, nil
}
