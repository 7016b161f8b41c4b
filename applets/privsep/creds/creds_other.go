//go:build !linux

package creds

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"postoffice/internal/account"
)

// Threads says that single threads can have no ids: what is done as a user is done by a
// process of theirs.
const Threads = false

var errLinux = fmt.Errorf("ids of single threads need Linux: %w", errors.ErrUnsupported)

// As runs f as it is for our own account; switching ids needs Linux.
func As(a account.Account, _ int, f func() error) error {
	if a.UID != os.Geteuid() {
		return fmt.Errorf("become user %s: %w", a.Name, errLinux)
	}
	return f()
}

// OnThread runs f.
func OnThread(f func() (clean bool)) { f() }

// NoNewPrivs does nothing.
func NoNewPrivs() error { return nil }

// Hide does nothing.
func Hide() error { return nil }

// Identity is what a process becomes for good.
type Identity struct {
	UID, GID int
	Groups   []uint32
	Bare     bool
}

// Become gives this process, which is root and has the groups since Bear, the uid for
// good. From then on no other process of the user can trace it: the system remembers that
// it has changed its ids.
func Become(i Identity) error {
	if i.UID == os.Geteuid() {
		return nil
	}
	if err := syscall.Setuid(i.UID); err != nil { // real, effective and saved, for root
		return fmt.Errorf("setuid: %w", err)
	}
	if os.Getuid() != i.UID || os.Geteuid() != i.UID || os.Getgid() != i.GID || os.Getegid() != i.GID {
		return fmt.Errorf("ids are %d, %d, %d, %d after the switch to %d and %d", os.Getuid(), os.Geteuid(), os.Getgid(), os.Getegid(), i.UID, i.GID)
	}
	if i.UID != 0 && syscall.Setuid(0) == nil {
		return errors.New("root's rights came back after the switch")
	}
	return nil
}

// Reduce does nothing.
func Reduce(bool, bool) error { return nil }

// MayCut reports that there are no bounding sets.
func MayCut() bool { return false }

// CheckSwitch does nothing.
func CheckSwitch(int) error { return nil }

// Bear has a child that attr is for begin as root with the groups, so that it can become
// somebody. Who isn't root bears none but itself.
func Bear(i Identity, attr *syscall.SysProcAttr) error {
	if os.Geteuid() == 0 {
		attr.Credential = &syscall.Credential{Uid: 0, Gid: uint32(i.GID), Groups: i.Groups}
	}
	return nil
}
