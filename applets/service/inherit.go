package service

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// maxInherited bounds LISTEN_FDS.
const maxInherited = 64

// Inherited takes over the sockets of socket activation (sd_listen_fds(3)) and
// removes its variables. Call it before anything opens a file; it marks the
// sockets close-on-exec. The name of a unix socket is its file's, that of
// another one its address.
func Inherited() ([]Listener, error) {
	n, err := activated()
	names := strings.Split(os.Getenv("LISTEN_FDNAMES"), ":")
	for _, v := range []string{"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PIDFDID"} {
		os.Unsetenv(v)
	}
	if err != nil {
		return nil, err
	}
	var list []Listener
	for fd := 3; fd < 3+n; fd++ {
		unix.CloseOnExec(fd)
		l, err := inherited(fd)
		if err != nil {
			CloseListeners(list)
			return nil, fmt.Errorf("descriptor %d of LISTEN_FDS: %w", fd, err)
		}
		name := ""
		if i := fd - 3; i < len(names) {
			name = names[i]
		}
		l.Service = serviceOf(name, l.Address)
		list = append(list, l)
	}
	return list, nil
}

// serviceOf is what an inherited socket of TCP is for: what its name says, else its port.
func serviceOf(name, address string) string {
	_, port, _ := net.SplitHostPort(address)
	switch {
	case name == MSP || name == MSPS:
		return name
	case port == "587":
		return MSP
	case port == "465":
		return MSPS
	}
	return ""
}

// activated returns how many sockets of socket activation are for this process.
func activated() (int, error) {
	pid, count := os.Getenv("LISTEN_PID"), os.Getenv("LISTEN_FDS")
	if count == "" || pid != strconv.Itoa(os.Getpid()) && pid != handedDown {
		return 0, nil
	}
	n, err := strconv.Atoi(count)
	if err != nil || n < 0 || n > maxInherited {
		return 0, fmt.Errorf("LISTEN_FDS=%q: want a number up to %d", count, maxInherited)
	}
	return n, nil
}

func inherited(fd int) (Listener, error) {
	if on, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN); err != nil {
		return Listener{}, err
	} else if on == 0 {
		return Listener{}, fmt.Errorf("not a listening socket")
	}
	f := os.NewFile(uintptr(fd), "LISTEN_FDS")
	n, err := net.FileListener(f) // to read its address
	if err != nil {
		f.Close()
		return Listener{}, err
	}
	defer n.Close()
	l := Listener{Name: n.Addr().String(), Address: n.Addr().String(), File: f}
	if n.Addr().Network() == "unix" {
		l.Name = filepath.Base(strings.TrimPrefix(l.Address, "@"))
	}
	return l, nil
}
