package peer

import "golang.org/x/sys/unix"

// ask is getsockopt(LOCAL_PEERCRED). Package unix has no type for struct xucred, which
// begins with a version, the user, how many groups there are in two octets, and
// behind two more the groups; this one is large enough for the first of these.
func ask(fd int) (Peer, error) {
	const peerCred = 1
	cred, err := unix.GetsockoptICMPv6Filter(fd, 0, peerCred)
	if err != nil {
		return Peer{}, err
	}
	uid, groups, gid := cred.Filt[1], cred.Filt[2]&0xffff, cred.Filt[3]
	if uid == ^uint32(0) || groups == 0 {
		return Peer{}, errUnknown
	}
	return Peer{UID: int(uid), GID: int(gid)}, nil
}
