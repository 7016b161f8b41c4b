package peer

import (
	"errors"
	"net"
)

// Peer is who connected, or listens, at the other end.
type Peer struct {
	PID      int // 0: the system doesn't tell
	UID, GID int
}

// errUnknown: there is nobody, as at the end of a socket pair of old systems, or
// the system has no such thing.
var errUnknown = errors.New("the system doesn't say who is at the other end")

// Of returns the peer of a connection. An error means that it isn't known, and
// so must get no rights.
func Of(conn *net.UnixConn) (Peer, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return Peer{}, err
	}
	var p Peer
	var failed error
	err = raw.Control(func(fd uintptr) { p, failed = ask(int(fd)) })
	if err := errors.Join(err, failed); err != nil {
		return Peer{}, err
	}
	return p, nil
}
