package privsep

import "errors"

// ErrRunning says that another process holds the run directory.
var ErrRunning = errors.New("a postoffice daemon runs already")

// RunDir is a run directory whose lock we hold.
type RunDir struct{}

// LockRunDir makes the run directory if it is missing (mode 0755, ours) and
// takes its lock; ErrRunning if a daemon has it. gid is the group that may see
// whether a daemon runs, -1 for our own.
func LockRunDir(path string, gid int) (*RunDir, error) { return nil, nil }

// Running reports whether a daemon holds the lock of the run directory.
func Running(path string) (bool, error) { return false, nil }

// WritePID writes postoffice.pid.
func (r *RunDir) WritePID() error { return nil }

// Close removes the sockets and the pid file and releases the lock.
func (r *RunDir) Close() error { return nil }
