//go:build netbsd || openbsd

package peer

import (
	"encoding/binary"
	"runtime"

	"golang.org/x/sys/unix"
)

// ask has three numbers of four octets: NetBSD's LOCAL_PEEREID gives process, user and
// group, OpenBSD's SO_PEERCRED user, group and process. Package unix has no type for
// them; this one is large enough, and octets.
func ask(fd int) (Peer, error) {
	level, option, pid := unix.SOL_SOCKET, 0x1022, 2
	if runtime.GOOS == "netbsd" {
		level, option, pid = 0, 3, 0
	}
	answer, err := unix.GetsockoptIPv6Mreq(fd, level, option)
	if err != nil {
		return Peer{}, err
	}
	number := func(n int) uint32 { return binary.NativeEndian.Uint32(answer.Multiaddr[4*(n%3):]) }
	p := Peer{PID: int(number(pid)), UID: int(number(pid + 1)), GID: int(number(pid + 2))}
	if number(pid+1) == ^uint32(0) {
		return Peer{}, errUnknown
	}
	return p, nil
}
