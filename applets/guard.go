package applets

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"

	"postoffice/internal/privsep"
	"postoffice/internal/sysexits"
)

// guard makes the process independent of what it inherits (A68, A77): it
// refuses rights that its caller doesn't have, a set-id bit or file
// capabilities, since no part of this program is written to be trusted with
// them; keeps foreign descriptors from every child; and takes the system's
// time zone, as TZ may name a file that never answers. The Go runtime has seen
// to descriptors 0 to 2 already.
func guard() error {
	if raised() {
		return exitWith(sysexits.NoPerm, errors.New("this program doesn't run with raised rights"),
			"take set-id bits and capabilities off its file (chmod ug-s, setcap -r), or let the program that calls it give its own up")
	}
	if err := privsep.CloseOnExecAll(); err != nil {
		return exitWith(sysexits.OSErr, fmt.Errorf("keep inherited descriptors from children: %w", err))
	}
	return os.Unsetenv("TZ")
}

// steadfast lets writes to a closed pipe or beyond the limit on a file's size
// fail with an error instead of ending the process in the middle of its work.
// Children still get the signals' defaults.
func steadfast() {
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE, syscall.SIGXFSZ)
}

// atSecure is the entry of the auxiliary vector, getauxval(3), with which the
// kernel says that the program has rights its caller lacks.
const atSecure = 23

func raised() bool {
	if os.Getuid() != os.Geteuid() || os.Getgid() != os.Getegid() {
		return true
	}
	vector, err := unix.Auxv()
	if err != nil {
		return false // no such thing on this system: the ids decide
	}
	for _, entry := range vector {
		if entry[0] == atSecure {
			return entry[1] != 0
		}
	}
	return false
}
