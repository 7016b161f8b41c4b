package applets

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"postoffice/internal/privsep"
	"postoffice/internal/sysexits"
)

// guard makes the process independent of what it inherits: it refuses rights
// that its caller doesn't have, a set-id bit or file capabilities, since no
// part of this program is written to be trusted with them, and keeps foreign
// descriptors from every child.
func guard() error {
	if raised() {
		return exitWith(sysexits.NoPerm, errors.New("this program doesn't run with raised rights"),
			"take set-id bits and capabilities off its file: chmod ug-s, setcap -r")
	}
	if err := privsep.CloseOnExecAll(); err != nil {
		return exitWith(sysexits.OSErr, fmt.Errorf("keep inherited descriptors from children: %w", err))
	}
	return nil
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
