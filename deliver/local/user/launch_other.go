//go:build !linux

package user

import (
	"os/exec"

	"golang.org/x/sys/unix"
)

// launch starts cmd with a umask of 077 and no core files, as this process
// has from then on too.
func launch(cmd *exec.Cmd) error {
	unix.Umask(0o077)
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		return err
	}
	return cmd.Start()
}
