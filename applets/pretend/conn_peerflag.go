//go:build peerflag && linux

package pretend

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// Conn returns both ends of a connection whose peer, as the server's end sees it, is
// an address of IPv4. It needs root, and sends nothing: the connection is on the
// loopback interface of a network namespace that nothing else is in.
func Conn(address string) (theirs *os.File, ours *net.TCPConn, err error) {
	addr, err := netip.ParseAddr(address)
	if err != nil || !addr.Is4() {
		return nil, nil, fmt.Errorf("-R %s: want an address of IPv4", address)
	}
	done := make(chan struct{})
	go func() { // its thread, which has the namespace, ends with it
		defer close(done)
		runtime.LockOSThread()
		theirs, ours, err = connect(addr)
	}()
	<-done
	return theirs, ours, err
}

func connect(addr netip.Addr) (*os.File, *net.TCPConn, error) {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return nil, nil, fmt.Errorf("make a network namespace: %w", err)
	}
	if err := loopback(addr); err != nil {
		return nil, nil, fmt.Errorf("give its loopback interface %s: %w", addr, err)
	}
	var lc net.ListenConfig
	lc.SetMultipathTCP(false) // A78
	l, err := lc.Listen(context.Background(), "tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, nil, err
	}
	defer l.Close()
	ours, err := net.DialTCP("tcp4", &net.TCPAddr{IP: addr.AsSlice()}, l.Addr().(*net.TCPAddr))
	if err != nil {
		return nil, nil, err
	}
	conn, err := l.(*net.TCPListener).AcceptTCP()
	if err != nil {
		ours.Close()
		return nil, nil, err
	}
	defer conn.Close()
	theirs, err := conn.File()
	if err != nil {
		ours.Close()
		return nil, nil, err
	}
	return theirs, ours, nil
}

// loopback brings the loopback interface up, with one more address.
func loopback(addr netip.Addr) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	up, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	up.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, up); err != nil || addr.IsLoopback() {
		return err
	}
	alias, err := unix.NewIfreq("lo:1")
	if err != nil {
		return err
	}
	if err := alias.SetInet4Addr(addr.AsSlice()); err != nil {
		return err
	}
	return unix.IoctlIfreq(fd, unix.SIOCSIFADDR, alias)
}
