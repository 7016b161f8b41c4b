package user

import (
	"errors"
	"math"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// launch starts cmd with a umask of 077, no core files, signals as after a
// login and no descriptors of ours but those that cmd names. The umask and the
// limit of core files stay with this process: what it makes is nobody else's
// to read either.
func launch(cmd *exec.Cmd) error {
	unix.Umask(0o077)
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		return err
	}
	if err := closeOnExec(); err != nil {
		return err
	}
	takeSignals()
	runtime.LockOSThread() // whose mask the program inherits
	defer runtime.UnlockOSThread()
	var was unix.Sigset_t
	if err := unix.PthreadSigmask(unix.SIG_SETMASK, &unix.Sigset_t{}, &was); err != nil {
		return err
	}
	err := cmd.Start()
	return errors.Join(err, unix.PthreadSigmask(unix.SIG_SETMASK, &was, nil))
}

// takeSignals makes signals that whoever started us ignores (nohup(1)) such as
// we ignore: only those are ignored no longer by what we start.
func takeSignals() {
	nowhere := make(chan os.Signal, 1)
	for s := syscall.Signal(1); s < 32; s++ {
		if signal.Ignored(s) {
			signal.Notify(nowhere, s)
		}
	}
}

// closeOnExec keeps descriptors that we were started with from programs.
func closeOnExec() error {
	const first = 3
	err := unix.CloseRange(first, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC)
	if err == nil {
		return nil
	}
	dir, err := os.Open("/proc/self/fd") // a kernel before 5.11
	if err != nil {
		return err
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	for _, name := range names {
		if fd, err := strconv.Atoi(name); err == nil && fd >= first {
			unix.CloseOnExec(fd)
		}
	}
	return err
}
