package manage

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"postoffice/applets/cmdline"
	"postoffice/applets/config"
	"postoffice/applets/control"
	"postoffice/applets/service"
)

// state is how it is with the server, as LSB's exit codes of status have it.
type state int

const (
	runs    state = 0
	died    state = 1 // it has left its pid file
	absent  state = 3
	unknown state = 4
)

// found is what is known of the server.
type found struct {
	state   state
	pid     int    // 0: not known
	uid     int    // whose process it is
	version string // "": it doesn't say
	why     string // it is unknown

	process *os.Process // of a server that is held
}

// find looks for the server of a configuration. ask says that its version is wanted, for
// which it must answer.
func find(ctx context.Context, conf *config.Config, ask bool) found {
	var f found
	c, err := control.Dial(ctx, filepath.Join(conf.RunDir, service.Control))
	if err == nil {
		defer c.Close()
		who, err := c.Peer()
		if err == nil {
			f.pid, f.uid = who.PID, who.UID
		}
		if !ask {
			return f
		}
		asking, cancel := context.WithTimeout(ctx, answerWait)
		defer cancel()
		if f.version, err = c.Version(asking); errors.Is(err, context.DeadlineExceeded) {
			f.state, f.why = unknown, fmt.Sprintf("process %d is the server, and doesn't answer for %v: it is stopped, or too busy", f.pid, answerWait)
		} else if err != nil {
			f.state, f.why = unknown, err.Error()
		}
		return f
	}
	running, lockErr := service.Running(conf.RunDir)
	_, pidErr := os.Lstat(filepath.Join(conf.RunDir, service.PIDFile))
	switch {
	case running:
		f.state, f.why = unknown, fmt.Sprintf("a server runs, but its control socket doesn't answer: %v", err)
	case errors.Is(pidErr, fs.ErrNotExist):
		f.state = absent
	case lockErr != nil || !isAbsent(err):
		f.state, f.why = unknown, fmt.Sprintf("whether it runs can't be seen: %v", errors.Join(err, lockErr))
	default:
		f.state = died
	}
	return f
}

// hold makes sure whose process the server is, and that no later process with its number is
// taken for it. The kernel names who began to listen: that one may be gone, and its number
// another's, while its child still has the socket. So, once the process is held, the lock
// must be taken, as a server has it, and the socket be that process's still.
func (f *found) hold(ctx context.Context, conf *config.Config) error {
	var err error
	if f.process, err = os.FindProcess(f.pid); err != nil {
		return err
	}
	running, err := service.Running(conf.RunDir)
	if err != nil {
		return err
	}
	if again := find(ctx, conf, false); !running || again.pid != f.pid {
		return errors.New("the server is just ending, or beginning")
	}
	return nil
}

// isAbsent reports whether nobody listens at a socket, or there is none.
func isAbsent(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) || errors.As(err, new(*net.AddrError))
}

// Running reports whether the server of the program's configuration answers.
func Running(ctx context.Context, env *cmdline.Env) bool {
	conf, _ := env.Config()
	return find(ctx, conf, true).state == runs
}

const (
	endWait    = 20 * time.Second // beyond option stop-time, for a server to end, which kills itself before that
	endPause   = 50 * time.Millisecond
	answerWait = 10 * time.Second // for a server to say that it runs
	unitWait   = 5 * time.Second  // for systemd to say whose a process is
)

// end ends a server and waits until another may have its place.
func end(ctx context.Context, conf *config.Config, f found) error {
	if err := signal(f, syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	wait := conf.StopTime + endWait
	for limit := time.Now().Add(wait); ; {
		running, err := service.Running(conf.RunDir)
		if err == nil && !running {
			return nil
		}
		if time.Now().After(limit) {
			return fmt.Errorf("the server, process %d, has not ended for %v: its log may say why", f.pid, wait)
		}
		select {
		case <-ctx.Done():
			return errors.New("interrupted while the server ends")
		case <-time.After(endPause):
		}
	}
}

// signal sends one to a server.
func signal(f found, s syscall.Signal) error {
	if err := f.process.Signal(s); err != nil {
		return fmt.Errorf("signal the server, process %d: %w", f.pid, err)
	}
	return nil
}

// unitOf is the systemd unit whose main process a server is, "" without one.
func unitOf(ctx context.Context, f found) string {
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(f.pid), "cgroup"))
	if err != nil {
		return ""
	}
	ctx, cancel := context.WithTimeout(ctx, unitWait)
	defer cancel()
	for line := range strings.Lines(string(text)) {
		_, group, _ := strings.Cut(strings.TrimSpace(line), "::")
		unit := path.Base(group)
		if !strings.HasSuffix(unit, ".service") {
			continue
		}
		out, err := exec.CommandContext(ctx, "systemctl", "show", "--property=MainPID", "--value", unit).Output()
		if err == nil && strings.TrimSpace(string(out)) == strconv.Itoa(f.pid) {
			return unit
		}
	}
	return ""
}

// bySystemd has systemd do something to a unit.
func bySystemd(ctx context.Context, verb, unit string) error {
	out, err := exec.CommandContext(ctx, "systemctl", verb, unit).CombinedOutput()
	if err != nil {
		return fmt.Errorf("systemctl %s %s: %v: %s", verb, unit, err, strings.Join(strings.Fields(string(out)), " "))
	}
	return nil
}
