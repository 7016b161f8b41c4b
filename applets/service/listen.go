package service

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"postoffice/internal/maillog"
)

// Listener is a listening socket that is handed from process to process.
type Listener struct {
	Name    string   // "submission", "control", or the address: tells them apart
	Service string   // MSP or MSPS; "": SMTP, or what Name says
	Network string   // "tcp4", "tcp6", "unix", or "" for one that was inherited and can't be bound again
	Address string   // host:port or path
	File    *os.File // the socket

	inode os.FileInfo // what a unix socket's name led to when it was bound
}

// Submission and Control are the names of the two unix sockets in the run
// directory, and their file names there.
const (
	Submission = "submission"
	Control    = "control"
)

// The services that have ports beside that of SMTP, as options and systemd's
// FileDescriptorName= call them.
const (
	MSP  = "msp"  // submission (RFC 6409)
	MSPS = "msps" // submission with TLS first (RFC 8314)
)

// Listen binds host:port addresses for a service. An empty host is every address of the
// machine, IPv4 and IPv6 bound apart (only IPv4 where the machine has no IPv6).
// A host name is bound on each of its addresses. Either all are bound or none.
// A port that is taken is tried again for 5 seconds: the server of a master
// that was killed may not have ended yet.
func Listen(ctx context.Context, service string, addresses []string, log *slog.Logger) ([]Listener, error) {
	var bound []Listener
	for _, address := range addresses {
		wanted, err := endpoints(ctx, address)
		if err != nil {
			CloseListeners(bound)
			return nil, fmt.Errorf("listen on %s: %w", address, err)
		}
		for _, l := range wanted {
			err := l.bindSoon(ctx)
			if l.optional && noFamily(err) {
				log.LogAttrs(ctx, slog.LevelInfo, "address family left out", slog.String("listen", l.Address), maillog.Err(err))
				continue
			}
			if err != nil {
				CloseListeners(bound)
				return nil, fmt.Errorf("listen on %s: %w", l.Address, err)
			}
			l.Service = service
			bound = append(bound, l.Listener)
		}
	}
	return bound, nil
}

// Try says why an address can't be listened on now: an error for each of its sockets, in
// the words of Listen. It binds without listening, so that no client comes meanwhile.
func Try(ctx context.Context, address string) []error {
	wanted, err := endpoints(ctx, address)
	if err != nil {
		return []error{fmt.Errorf("listen on %s: %w", address, err)}
	}
	var all []error
	for _, l := range wanted {
		if err := l.try(); err != nil && !(l.optional && noFamily(err)) {
			all = append(all, fmt.Errorf("listen on %s: %w", l.Address, err))
		}
	}
	return all
}

// try is bind that lets go at once.
func (l *Listener) try() error {
	a, err := net.ResolveTCPAddr(l.Network, l.Address)
	if err != nil {
		return err
	}
	ip, _ := netip.AddrFromSlice(a.IP)
	family, to := unix.AF_INET6, unix.Sockaddr(&unix.SockaddrInet6{Port: a.Port, Addr: ip.As16()})
	if l.Network == "tcp4" {
		family, to = unix.AF_INET, &unix.SockaddrInet4{Port: a.Port, Addr: ip.Unmap().As4()}
	}
	if a.Zone != "" {
		return nil // Listen knows its number
	}
	fd, err := socket(family, unix.SOCK_STREAM)
	if err == nil {
		defer unix.Close(fd)
		err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	}
	if err == nil && family == unix.AF_INET6 {
		err = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1)
	}
	if err == nil {
		err = unix.Bind(fd, to)
	}
	if err != nil {
		return &net.OpError{Op: "listen", Net: l.Network, Addr: a, Err: os.NewSyscallError("bind", err)}
	}
	return nil
}

// CloseListeners closes sockets that nobody serves.
func CloseListeners(l []Listener) {
	for _, l := range l {
		l.File.Close()
	}
}

// endpoint is one socket to be bound.
type endpoint struct {
	Listener
	optional bool // if the machine lacks the family
}

func endpoints(ctx context.Context, address string) ([]endpoint, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	if host == "" {
		return []endpoint{newEndpoint("tcp4", "0.0.0.0", port, false), newEndpoint("tcp6", "::", port, true)}, nil
	}
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, err
	}
	var list []endpoint
	for _, ip := range ips {
		network := "tcp6"
		if ip = ip.Unmap(); ip.Is4() {
			network = "tcp4"
		}
		// A machine without IPv6 lacks nothing where its own address of that is named.
		list = append(list, newEndpoint(network, ip.String(), port, network == "tcp6" && (len(ips) > 1 || ip.IsLoopback())))
	}
	return list, nil
}

func newEndpoint(network, host, port string, optional bool) endpoint {
	a := net.JoinHostPort(host, port)
	return endpoint{Listener{Name: a, Network: network, Address: a}, optional}
}

const (
	portTries = 50
	portPause = 100 * time.Millisecond
)

// bindSoon is bind, but waits a little for a port that is taken.
func (l *Listener) bindSoon(ctx context.Context) error {
	err := l.bind(ctx)
	for i := 0; errors.Is(err, syscall.EADDRINUSE) && i < portTries; i++ {
		select {
		case <-ctx.Done():
			return err
		case <-time.After(portPause):
		}
		err = l.bind(ctx)
	}
	return err
}

// noFamily reports whether the machine has no such kind of address.
func noFamily(err error) bool {
	return errors.Is(err, syscall.EAFNOSUPPORT) || errors.Is(err, syscall.EADDRNOTAVAIL) || errors.Is(err, syscall.EPROTONOSUPPORT)
}

// bind makes the socket. Networks "tcp4" and "tcp6" are apart: package net
// sets IPV6_V6ONLY for the latter, and SO_REUSEADDR for both.
func (l *Listener) bind(ctx context.Context) error {
	if l.Network == "unix" {
		n, err := ListenUnix(l.Name, l.Address)
		if err == nil {
			l.File, l.inode = n.File, n.inode
		}
		return err
	}
	var c net.ListenConfig
	c.SetMultipathTCP(false) // A78
	n, err := c.Listen(ctx, l.Network, l.Address)
	if err != nil {
		return err
	}
	defer n.Close()
	l.File, err = n.(*net.TCPListener).File()
	return err
}

// Listen makes a net.Listener of the socket, which it takes over: File is
// closed, the master's copy is not touched.
func (l Listener) Listen() (net.Listener, error) {
	defer l.File.Close()
	n, err := net.FileListener(l.File)
	if err != nil {
		return nil, fmt.Errorf("listener %s: %w", l.Name, err)
	}
	return n, nil
}

// ListenUnix makes a listening socket at path, usable by everybody. What was
// there is replaced in one step: the caller holds the lock of the directory.
func ListenUnix(name, path string) (Listener, error) {
	dir, base := filepath.Split(path)
	tmp := filepath.Join(dir, "."+base+"."+strconv.Itoa(os.Getpid()))
	if err := os.Remove(tmp); err != nil && !errors.Is(err, os.ErrNotExist) {
		return Listener{}, err
	}
	n, err := net.ListenUnix("unix", &net.UnixAddr{Name: tmp, Net: "unix"})
	if err != nil {
		return Listener{}, err
	}
	n.SetUnlinkOnClose(false)
	defer n.Close()
	err = os.Chmod(tmp, 0o666)
	var inode os.FileInfo
	if err == nil {
		inode, err = os.Lstat(tmp)
	}
	if err == nil {
		err = os.Rename(tmp, path)
	}
	if err != nil {
		return Listener{}, errors.Join(err, os.Remove(tmp))
	}
	f, err := n.File()
	return Listener{Name: name, Network: "unix", Address: path, File: f, inode: inode}, err
}
