package service

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
)

// User is who a server runs as.
type User struct {
	Name     string
	UID, GID int
}

// programEnv tells a process that we start where this program is, on systems that have
// no name for the file that a process was started from.
const programEnv = "POSTOFFICE_PROGRAM"

// Program is this program's file, for processes that we start. On Linux it is the very
// file that runs, also after another has taken its name. Elsewhere it is the path
// by which it was started, as the process says that started us: our argv[0] is a role.
func Program() string {
	if runtime.GOOS == "linux" {
		return "/proc/self/exe"
	}
	if path := os.Getenv(programEnv); filepath.IsAbs(path) {
		return path
	}
	path, err := os.Executable()
	if err != nil {
		return os.Args[0]
	}
	return path
}

// ChildEnv returns the environment of every process that we start: a PATH, and
// of ours the time zone alone; where it is needed, Program.
func ChildEnv() []string {
	env := []string{"PATH=/usr/bin:/bin"}
	if runtime.GOOS != "linux" {
		env = append(env, programEnv+"="+Program())
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
