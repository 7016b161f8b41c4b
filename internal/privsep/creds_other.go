//go:build !linux

package privsep

import (
	"errors"
	"fmt"
	"os"

	"postoffice/deliver/local"
)

var errLinux = fmt.Errorf("ids of single threads need Linux: %w", errors.ErrUnsupported)

// As runs f as it is for our own account; switching ids needs Linux.
func As(a local.Account, _ int, f func() error) error {
	if a.UID != os.Geteuid() {
		return fmt.Errorf("become user %s: %w", a.Name, errLinux)
	}
	return f()
}

func onThread(f func() (clean bool)) { f() }

func noNewPrivs() error { return nil }

func hide() error { return nil }

// CloseOnExecAll needs close_range(2) or /proc: elsewhere nothing is marked.
func CloseOnExecAll() error { return errLinux }
