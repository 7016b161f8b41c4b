//go:build freebsd || darwin

package peer

import "golang.org/x/sys/unix"

func ask(fd int) (Peer, error) {
	cred, err := unix.GetsockoptXucred(fd, 0, unix.LOCAL_PEERCRED)
	if err != nil {
		return Peer{}, err
	}
	if cred.Uid == ^uint32(0) || cred.Ngroups == 0 {
		return Peer{}, errUnknown
	}
	return Peer{UID: int(cred.Uid), GID: int(cred.Groups[0])}, nil
}
