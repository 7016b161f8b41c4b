package peer

import (
	"encoding/binary"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

// The question is a struct inet_diag_req_v2 behind a struct nlmsghdr, the answer a struct
// inet_diag_msg behind one: include/uapi/linux/{netlink,inet_diag}.h, sock_diag(7).
const (
	diagByFamily = 20 // SOCK_DIAG_BY_FAMILY, the type of both
	established  = 1  // TCP_ESTABLISHED

	netlinkHeader = 16
	diagQuestion  = netlinkHeader + 56
	diagAnswer    = netlinkHeader + 72 // attributes follow it

	// In the answer, and where the ends are in the question.
	familyAt = netlinkHeader
	stateAt  = netlinkHeader + 1
	endsAt   = netlinkHeader + 4
	uidAt    = netlinkHeader + 64
	inodeAt  = netlinkHeader + 68
	askedAt  = netlinkHeader + 8
)

// ownerOf asks the kernel for the one socket that has these ends. It answers at once,
// and never with another process's: while our end is open no second socket can be
// connected with the same addresses and ports. One that is closed is nobody's any more
// (inode 0), and then the answer's uid is root's.
func ownerOf(theirs, ours netip.AddrPort) (int, error) {
	if theirs.Addr().Zone() != "" {
		return -1, errUnknown // the question would need the interface too
	}
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	defer unix.Close(fd)
	question := diagRequest(theirs, ours)
	if err := unix.Sendto(fd, question[:], 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return -1, os.NewSyscallError("sendto", err)
	}
	var b [1024]byte
	n, from, err := unix.Recvfrom(fd, b[:], unix.MSG_DONTWAIT) // it is there when sendto returns
	if err != nil {
		return -1, os.NewSyscallError("recvfrom", err)
	}
	if kernel, ok := from.(*unix.SockaddrNetlink); !ok || kernel.Pid != 0 {
		return -1, errUnknown // another process may write to this socket
	}
	return diagOwner(b[:n], theirs, ours)
}

// diagRequest asks for the socket of whoever is at theirs, as that one sees it.
func diagRequest(theirs, ours netip.AddrPort) (b [diagQuestion]byte) {
	from, to := theirs.Addr().Unmap(), ours.Addr().Unmap()
	order := binary.NativeEndian
	order.PutUint32(b[0:], diagQuestion)
	order.PutUint16(b[4:], diagByFamily)
	order.PutUint16(b[6:], unix.NLM_F_REQUEST)
	order.PutUint32(b[8:], 1) // the sequence number: the only question

	q := b[netlinkHeader:]
	q[0], q[1] = unix.AF_INET, unix.IPPROTO_TCP
	if from.Is6() {
		q[0] = unix.AF_INET6
	}
	order.PutUint32(q[4:], 1<<established)
	ends := b[askedAt:]
	binary.BigEndian.PutUint16(ends[0:], theirs.Port())
	binary.BigEndian.PutUint16(ends[2:], ours.Port())
	copy(ends[4:], from.AsSlice())
	copy(ends[20:], to.AsSlice())
	order.PutUint64(ends[40:], ^uint64(0)) // INET_DIAG_NOCOOKIE: any socket with these ends
	return b
}

// diagOwner reads the answer. The kernel looks for listening sockets too where it finds
// none that is connected: so state and ends are compared.
func diagOwner(b []byte, theirs, ours netip.AddrPort) (int, error) {
	order := binary.NativeEndian
	if len(b) < diagAnswer || order.Uint16(b[4:]) != diagByFamily || b[stateAt] != established || order.Uint32(b[inodeAt:]) == 0 {
		return -1, errUnknown
	}
	family, ends := b[familyAt], b[endsAt:]
	if !isEnd(family, ends[0:2], ends[4:20], theirs) || !isEnd(family, ends[2:4], ends[20:36], ours) {
		return -1, errUnknown
	}
	return int(order.Uint32(b[uidAt:])), nil
}

// isEnd compares an end in an answer. A socket of IPv6 may have an address of IPv4.
func isEnd(family byte, port, addr []byte, want netip.AddrPort) bool {
	a := netip.AddrFrom16([16]byte(addr)).Unmap()
	if family == unix.AF_INET {
		a = netip.AddrFrom4([4]byte(addr[:4]))
	}
	return binary.BigEndian.Uint16(port) == want.Port() && a == want.Addr().Unmap()
}
