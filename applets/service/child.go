package service

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
)

// User is who a server runs as.
type User struct {
	Name     string
	UID, GID int
}

// programEnv tells a process that we start where this program is, on systems that have
// no name for the file that a process was started from.
const programEnv = "POSTOFFICE_PROGRAM"

// ownFile is the very file that runs, on Linux with proc(5), also after another has taken
// its name.
const ownFile = "/proc/self/exe"

// Program is this program's file, for processes that we start. Where the system has no
// name of its own for it, it is the path by which it was started, as the process says that
// started us: our argv[0] is a role.
func Program() string {
	if _, err := os.Readlink(ownFile); err == nil {
		return ownFile
	}
	if path := os.Getenv(programEnv); filepath.IsAbs(path) {
		return path
	}
	path, err := os.Executable()
	if err != nil {
		path, err = exec.LookPath(os.Args[0])
	}
	if err == nil {
		path, err = filepath.Abs(path)
	}
	if err != nil {
		return ownFile // which says what is missing
	}
	return path
}

// ChildEnv returns the environment of every process that we start: a PATH, and
// of ours the time zone alone; where it is needed, Program.
func ChildEnv() []string {
	env := []string{"PATH=/usr/bin:/bin"}
	if path := Program(); path != ownFile {
		env = append(env, programEnv+"="+path)
	}
	if zone, ok := os.LookupEnv("TZ"); ok {
		env = append(env, "TZ="+zone)
	}
	return env
}

// ExitError says that a process of ours ended and with which exit code.
type ExitError struct {
	Role string
	Code int    // sysexits(3); -1: a signal, or a code of another's
	Text string // how it ended
}

func (e *ExitError) Error() string { return e.Role + " ended: " + e.Text }

// Exit says how a process ended whose Wait returned err; Code 0 is a good end.
func Exit(role string, err error) *ExitError {
	if err == nil {
		return &ExitError{Role: role, Text: "exit code 0"}
	}
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return &ExitError{Role: role, Code: ownCode(exit.ExitCode()), Text: exit.Error()}
	}
	return &ExitError{Role: role, Code: -1, Text: err.Error()}
}

// ownCode returns -1 for an exit code that no program of ours returns: Go's runtime
// ends with 2 where it gets no memory, before anything of ours runs.
func ownCode(code int) int {
	if code < 64 || code > 78 {
		return -1
	}
	return code
}
