package peer

import (
	"net"
	"net/netip"
)

// OwnerOf returns the uid of the process that made the other end of a TCP connection,
// where that is a socket of this machine, in the network namespace of ours. An error
// means that it isn't known: it is elsewhere, it is closed, addresses were translated on
// the way, or the system doesn't tell. A socket that was handed on still is its maker's,
// so the uid says whom it counts for, and gives nobody rights.
func OwnerOf(conn net.Conn) (uid int, err error) {
	theirs, err := netip.ParseAddrPort(conn.RemoteAddr().String())
	if err != nil {
		return -1, errUnknown
	}
	ours, err := netip.ParseAddrPort(conn.LocalAddr().String())
	if err != nil {
		return -1, errUnknown
	}
	return ownerOf(theirs, ours)
}
