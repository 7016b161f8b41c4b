package privsep

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
)

// linkFD is where a server finds its link.
const linkFD = 3

// child is a server process.
type child struct {
	conn   *conn
	cmd    *exec.Cmd
	exited chan *ExitError // its one value comes when the process is gone; Code 0 is a good end
}

// startServer starts /proc/self/exe as the server, as user u, with nothing but
// standard error, /dev/null and its end of the link. The process is born with
// no_new_privs: it is started by a thread that has it and then ends.
func startServer(u User) (*child, error) {
	ours, theirs, err := linkPair()
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	cmd := &exec.Cmd{
		Path:        "/proc/self/exe",
		Args:        []string{ServerRole},
		Env:         childEnv(),
		Dir:         "/",
		Stderr:      os.Stderr,
		ExtraFiles:  []*os.File{theirs}, // becomes linkFD
		SysProcAttr: &syscall.SysProcAttr{Setsid: true},
	}
	if u.UID != os.Geteuid() {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(u.UID), Gid: uint32(u.GID), Groups: []uint32{uint32(u.GID)}}
	}
	onThread(func() bool {
		if err = noNewPrivs(); err == nil {
			err = cmd.Start()
		}
		return false
	})
	if err != nil {
		ours.Close()
		return nil, fmt.Errorf("start the server as user %s: %w", u.Name, err)
	}
	c := &child{conn: newConn(ours, toMaster(), toServer()), cmd: cmd, exited: make(chan *ExitError, 1)}
	go func() { c.exited <- exitError(ServerRole, cmd.Wait()) }()
	return c, nil
}

// kill ends the process at once.
func (c *child) kill() { c.cmd.Process.Kill() }

func exitError(role string, err error) *ExitError {
	if err == nil {
		return &ExitError{Role: role, Text: "exit code 0"}
	}
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return &ExitError{Role: role, Code: exit.ExitCode(), Text: exit.Error()}
	}
	return &ExitError{Role: role, Code: -1, Text: err.Error()}
}
