package birth

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"

	"postoffice/applets/privsep/creds"
	"postoffice/applets/service"
)

// doorFD is where a child finds its door.
const doorFD = 3

// What comes out of a door: one of these octets, and behind the second why.
const (
	ready = '+' // the link comes with it
	unfit = '-'
)

// maxWords bounds why a child can't be what it is to be, in octets.
const maxWords = 1024

// Become makes this process, which Start has started, what it is to be, and
// returns its link. An error means that it must end.
func Become() (*net.UnixConn, error) {
	kind, err := unix.GetsockoptInt(doorFD, unix.SOL_SOCKET, unix.SO_TYPE)
	if err != nil || kind != unix.SOCK_SEQPACKET {
		return nil, fmt.Errorf("not started by a master: descriptor %d is no door", doorFD)
	}
	unix.CloseOnExec(doorFD)
	defer unix.Close(doorFD)
	i, err := whoToBe()
	if err != nil {
		return nil, err
	}
	err = errors.Join(creds.Become(i), unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}))
	if err != nil {
		text := string(unfit) + err.Error()
		return nil, errors.Join(fmt.Errorf("become uid %d: %w", i.UID, err), say(text[:min(len(text), maxWords)], nil))
	}
	// Not ignored: programs would inherit that.
	signal.Notify(make(chan os.Signal, 1), append(service.Signals(), syscall.SIGPIPE, syscall.SIGXFSZ)...)
	ours, theirs, err := Pair()
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	err = service.WithDescriptors([]*os.File{theirs}, nil, func(fds []int) error { return say(string(ready), unix.UnixRights(fds...)) })
	if err != nil {
		ours.Close()
		return nil, fmt.Errorf("give our link away: %w", err)
	}
	return ours, nil
}

// whoToBe is what lies in the door since before this process was there. Until it
// has switched it does nothing for which the runtime would make threads: each is
// waited for.
func whoToBe() (creds.Identity, error) {
	b := make([]byte, identitySize+1)
	n, err := unix.Read(doorFD, b)
	if err != nil {
		return creds.Identity{}, fmt.Errorf("hear who to be: %w", err)
	}
	return decode(b[:n])
}

// say says one of the two things that come out of a door.
func say(text string, rights []byte) error { return unix.Sendmsg(doorFD, []byte(text), rights, nil, 0) }
