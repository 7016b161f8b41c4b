package service

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// ErrRunning says that another process holds the run directory.
var ErrRunning = errors.New("a postoffice daemon runs already")

const (
	lockFile = "lock"

	// PIDFile has the process number of the daemon, in its run directory.
	PIDFile = "postoffice.pid"

	lockTries = 10
	lockPause = 30 * time.Millisecond
)

// RunDir is a run directory whose lock we hold. One goroutine at a time uses it.
type RunDir struct {
	path string
	gid  int
	lock *os.File
}

// LockRunDir makes the run directory if it is missing (mode 0755, ours) and
// takes its lock; ErrRunning if a daemon has it. gid is the group whose
// members may see whether a daemon runs, -1 for our own. The directory must be
// ours and not writable by others: who can put files there could pass for the
// daemon.
func LockRunDir(path string, gid int) (*RunDir, error) {
	if err := makeRunDir(path); err != nil {
		return nil, err
	}
	r := &RunDir{path: path, gid: gid}
	name := filepath.Join(path, lockFile)
	for range lockTries {
		f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o600)
		if err != nil {
			return nil, fmt.Errorf("lock the run directory: %w", err)
		}
		r.lock = f
		if err := r.take(gid); err != nil {
			f.Close()
			return nil, fmt.Errorf("lock %s: %w", name, err)
		}
		if r.named() {
			return r, nil
		}
		f.Close() // somebody removed it meanwhile: its lock keeps nobody out
	}
	return nil, fmt.Errorf("lock %s: it is removed again and again", name)
}

// named reports whether the lock that we hold is the one that others look at.
func (r *RunDir) named() bool {
	at, err := os.Lstat(filepath.Join(r.path, lockFile))
	if err != nil {
		return false
	}
	ours, err := r.lock.Stat()
	return err == nil && os.SameFile(at, ours)
}

// hold makes the run directory, its lock and its pid file anew where they were
// removed; anew says that they were. ErrRunning: another daemon was faster, and
// has the directory from here on.
func (r *RunDir) hold() (anew bool, err error) {
	if !r.named() {
		fresh, err := LockRunDir(r.path, r.gid)
		if err != nil {
			return false, err
		}
		r.lock.Close() // the lock of a file without a name
		r.lock = fresh.lock
	} else if _, err := os.Lstat(filepath.Join(r.path, PIDFile)); !errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return true, r.WritePID()
}

func makeRunDir(path string) error {
	err := os.Mkdir(path, 0o755)
	if err == nil {
		return os.Chmod(path, 0o755) // whatever the umask is
	}
	if !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("make the run directory: %w", err)
	}
	if os.Geteuid() == 0 && Fresh(path) && CheckRunDir(path) != nil {
		if err := Give(path, 0o755, 0, 0); err != nil {
			return fmt.Errorf("make the run directory: %w", err)
		}
	}
	return CheckRunDir(path)
}

// Fresh reports whether a directory has nothing in it, as one that somebody has just made
// or mounted for us; what mkfs(8) puts into a file system is nothing.
func Fresh(path string) bool {
	d, err := openDir(path)
	if err != nil {
		return false
	}
	defer d.Close()
	return empty(d)
}

// Give gives a Fresh directory to an owner, as root. Whoever had it may put another one, or
// a link, in its place meanwhile, or a file into it: it is the same directory from the look
// to the end, and it is looked at again once nobody else can write there.
func Give(path string, mode fs.FileMode, uid, gid int) error {
	d, err := openDir(path)
	if err != nil {
		return err
	}
	defer d.Close()
	before := empty(d)
	// Only its owner may change its mode: the master has no capability for that.
	if before {
		err = errors.Join(d.Chown(0, 0), d.Chmod(mode))
	}
	if err == nil && (!before || !empty(d)) {
		err = fmt.Errorf("somebody else puts files into %s", path)
	}
	if err != nil {
		return err
	}
	return d.Chown(uid, gid)
}

func openDir(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
}

// empty reports whether an open directory has nothing in it.
func empty(d *os.File) bool {
	if _, err := d.Seek(0, io.SeekStart); err != nil {
		return false
	}
	names, err := d.Readdirnames(2)
	return errors.Is(err, io.EOF) || err == nil && len(names) == 1 && names[0] == "lost+found"
}

// CheckRunDir says why a directory that is there can't be our run directory.
func CheckRunDir(path string) error {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return &os.PathError{Op: "lstat", Path: path, Err: err}
	}
	switch {
	case st.Mode&unix.S_IFMT != unix.S_IFDIR:
		return fmt.Errorf("run directory %s is not a directory", path)
	case int(st.Uid) != os.Geteuid():
		return fmt.Errorf("run directory %s belongs to uid %d, want %d: where nobody else uses it, chown %[3]d %[1]s", path, st.Uid, os.Geteuid())
	case st.Mode&0o022 != 0:
		return fmt.Errorf("run directory %s is writable by others: chmod 755 %[1]s", path)
	}
	return nil
}

// take locks the file and lets the group look at it. Members could hold the
// lock themselves and so keep a daemon from starting; nobody else can.
func (r *RunDir) take(gid int) error {
	err := flock(r.lock, unix.LOCK_EX)
	for i := 0; errors.Is(err, ErrRunning) && i < lockTries; i++ { // Running may just be looking
		time.Sleep(lockPause)
		err = flock(r.lock, unix.LOCK_EX)
	}
	if err != nil {
		return err
	}
	if err := r.excludes(); err != nil {
		return err
	}
	if err := r.lock.Chown(-1, gid); err != nil {
		return err
	}
	return r.lock.Chmod(0o640)
}

// ErrNoLocks says that the run directory's lock keeps nobody out.
var ErrNoLocks = errors.New("locks have no effect on this file system: two servers would run at once")

// excludes says why the lock that we hold keeps nobody out: who opens its file anew
// gets it too (R27).
func (r *RunDir) excludes() error {
	second, err := os.OpenFile(filepath.Join(r.path, lockFile), os.O_RDWR|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // named tells
	}
	if err != nil {
		return err
	}
	defer second.Close() // and a lock of it
	switch err := flock(second, unix.LOCK_EX); {
	case errors.Is(err, ErrRunning):
		return nil
	case err != nil:
		return err
	}
	if !r.named() {
		return nil
	}
	return ErrNoLocks
}

// flock takes a lock without waiting; ErrRunning if another has it.
func flock(f *os.File, how int) error {
	var inner error
	rc, err := f.SyscallConn()
	if err != nil {
		return err
	}
	if err := rc.Control(func(fd uintptr) { inner = unix.Flock(int(fd), how|unix.LOCK_NB) }); err != nil {
		return err
	}
	if errors.Is(inner, unix.EWOULDBLOCK) {
		return ErrRunning
	}
	return inner
}

// Running reports whether a daemon holds the lock of the run directory.
func Running(path string) (bool, error) {
	f, err := os.OpenFile(filepath.Join(path, lockFile), os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look for a daemon: %w", err)
	}
	defer f.Close() // and the lock with it
	switch err := flock(f, unix.LOCK_SH); {
	case errors.Is(err, ErrRunning):
		return true, nil
	case err != nil:
		return false, fmt.Errorf("look for a daemon: %w", err)
	}
	return false, nil
}

// WritePID writes postoffice.pid.
func (r *RunDir) WritePID() error { return r.write(PIDFile, 0o644, strconv.Itoa(os.Getpid())+"\n") }

// write puts a file into the place of the one with that name.
func (r *RunDir) write(file string, mode fs.FileMode, text string) error {
	name := filepath.Join(r.path, file)
	tmp := name + ".new"
	if err := os.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	err = errors.Join(err, f.Chmod(mode), f.Close())
	if err == nil {
		err = os.Rename(tmp, name)
	}
	if err != nil {
		return errors.Join(err, os.Remove(tmp))
	}
	return nil
}

// Close removes the sockets and the pid file, unless the directory has become
// another daemon's, and releases the lock. The lock's file stays: whoever waits
// for it must not lock a removed one.
func (r *RunDir) Close() error {
	if !r.named() {
		return r.lock.Close()
	}
	var all error
	for _, name := range []string{Submission, Control, PIDFile} {
		if err := os.Remove(filepath.Join(r.path, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			all = errors.Join(all, err)
		}
	}
	return errors.Join(all, r.lock.Close())
}
