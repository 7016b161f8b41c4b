//go:build !linux

package creds

import (
	"errors"
	"fmt"
	"os"

	"postoffice/internal/account"
)

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

// Become needs Linux, unless there is nothing to become.
func Become(i Identity) error {
	if i.UID != os.Geteuid() {
		return errLinux
	}
	return nil
}

// Reduce does nothing.
func Reduce(bool, bool) error { return nil }

// MayCut reports that there are no bounding sets.
func MayCut() bool { return false }

// CheckSwitch does nothing.
func CheckSwitch(int) error { return nil }

// Bear does nothing.
func Bear(Identity) error { return nil }
