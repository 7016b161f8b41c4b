package crashfs

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"sync"
	"syscall"
	"time"

	"postoffice/internal/disk"
)

// ErrKilled is what a killed process gets from every call. It never sees it:
// its code is told to stop, and what it then tries has no effect.
var ErrKilled = errors.New("crashfs: the process is dead")

// maxCalls ends a program that never ends by itself, as one that waits for a
// name that a mutant keeps away from it.
const maxCalls = 1_000_000

// traceLength is how many calls a failure message shows.
const traceLength = 12

// FS is a disk as one process sees it. New makes a disk; Process another
// process on it.
type FS struct {
	w       *world
	process int
	dead    bool // this and what follows: guarded by w.mu
	uid     int
	gid     int
}

// world is what all processes on a disk share.
type world struct {
	mu    sync.Mutex
	disk  state
	seq   int
	flock map[int]*file
	fcntl map[int]*file
	now   func() time.Time

	lockless bool
	journal  bool
	portable bool
	room     *disk.Space // nil: without end
	low      disk.Space  // the least that room has been
	fault    *fault
	mutant   *mutant
	gate     *gate

	processes int

	calls  int
	trace  [traceLength]call
	points []point // nil unless recording
	acked  []string
}

// call is one line of the trace.
type call struct {
	op   Op
	path string
	err  error
}

func (c call) String() string {
	if c.err != nil {
		return fmt.Sprintf("%s %s: %v", c.op, c.path, c.err)
	}
	return fmt.Sprintf("%s %s", c.op, c.path)
}

// New makes an empty disk with a root directory.
func New() *FS {
	return newFS(emptyState(time.Now()), time.Now)
}

func newFS(s state, now func() time.Time) *FS {
	return &FS{w: &world{
		disk: s, now: now, seq: 1,
		flock: map[int]*file{}, fcntl: map[int]*file{},
		mutant: active.Load(),
	}}
}

// Process returns the same disk as another process sees it.
func (f *FS) Process() *FS {
	f.w.mu.Lock()
	defer f.w.mu.Unlock()
	f.w.processes++
	return &FS{w: f.w, process: f.w.processes}
}

// Kill ends the process as SIGKILL does: its locks go, what it wrote stays
// visible, and calls through its handles do nothing any more.
func (f *FS) Kill() {
	f.w.mu.Lock()
	defer f.w.mu.Unlock()
	f.dead = true
	for _, locks := range []map[int]*file{f.w.flock, f.w.fcntl} {
		for id, h := range locks {
			if h.fs == f {
				delete(locks, id)
			}
		}
	}
}

// Alive reports whether the process has not been killed.
func (f *FS) Alive() bool {
	f.w.mu.Lock()
	defer f.w.mu.Unlock()
	return !f.dead
}

// SetIDs says whose the files are that the process makes from now on. There
// are no permissions: any process may do anything.
func (f *FS) SetIDs(uid, gid int) {
	f.w.mu.Lock()
	defer f.w.mu.Unlock()
	f.uid, f.gid = uid, gid
}

// SetClock gives the disk another clock than time.Now for the times of files.
func (f *FS) SetClock(now func() time.Time) {
	f.w.mu.Lock()
	defer f.w.mu.Unlock()
	f.w.now = now
}

// SetLockless makes locks keep nobody out, as on some network file systems.
func (f *FS) SetLockless() {
	f.w.mu.Lock()
	defer f.w.mu.Unlock()
	f.w.lockless = true
}

// SetPortable makes RenameNoReplace two steps, link and unlink, between which
// the power may go, as disk.Portable does.
func (f *FS) SetPortable(on bool) {
	f.w.mu.Lock()
	defer f.w.mu.Unlock()
	f.w.portable = on
}

// SetJournal leaves the strict mode: any successful sync, of a file or of a
// directory, then makes all names durable, as on ext4. A program must be right
// without it.
func (f *FS) SetJournal(on bool) {
	f.w.mu.Lock()
	defer f.w.mu.Unlock()
	f.w.journal = on
}

// SetSpace leaves room for that many octets of data and new files. A write
// that does not fit is cut short with ENOSPC. Removing a file gives its room
// back.
func (f *FS) SetSpace(room disk.Space) {
	f.w.mu.Lock()
	defer f.w.mu.Unlock()
	f.w.room = &room
}

// Calls returns how many calls the disk has seen.
func (f *FS) Calls() int {
	f.w.mu.Lock()
	defer f.w.mu.Unlock()
	return f.w.calls
}

// OpenDir opens a directory, following links.
func (f *FS) OpenDir(name string) (disk.Dir, error) {
	var d *dir
	err := f.do(opOpenDir, name, func(w *world) error {
		if !path.IsAbs(name) {
			return disk.ErrName
		}
		id, err := w.find(name, 0)
		if err == nil && w.disk.nodes[id].kind != fs.ModeDir {
			err = syscall.ENOTDIR
		}
		d = &dir{handle{fs: f, id: id, path: path.Clean(name), failures: w.seen(id)}}
		return err
	})
	if err != nil {
		return nil, err
	}
	return d, nil
}

// find walks a path as processes see it.
func (w *world) find(name string, links int) (int, error) {
	id := 0
	for part := range strings.SplitSeq(path.Clean(name), "/") {
		if part == "" {
			continue
		}
		next, ok := w.disk.nodes[id].names[part]
		if !ok {
			return none, syscall.ENOENT
		}
		if n := w.disk.nodes[next]; n.kind == fs.ModeSymlink {
			if links >= 10 {
				return none, syscall.ELOOP
			}
			target := string(n.data)
			if !path.IsAbs(target) {
				return none, syscall.ENOENT
			}
			var err error
			if next, err = w.find(target, links+1); err != nil {
				return none, err
			}
		}
		id = next
	}
	return id, nil
}

// seen is what a handle opened now has been told of failed syncs.
func (w *world) seen(id int) int {
	if id == none {
		return 0
	}
	return w.disk.nodes[id].failures
}

// do is the way of every call: it waits for its turn, counts, fails if it is
// to fail, changes the disk and notes what may be on it now.
func (f *FS) do(op Op, path string, change func(*world) error) error {
	return f.try(op, path, func(w *world, injected *fault) error {
		if injected != nil {
			return injected.errno
		}
		return change(w)
	})
}

// try is do for the calls that have something to do when they are to fail.
func (f *FS) try(op Op, path string, change func(w *world, injected *fault) error) error {
	w := f.w
	f.wait(op, path)
	w.mu.Lock()
	defer w.mu.Unlock()
	if f.dead {
		return ErrKilled
	}
	w.calls++
	err := error(syscall.EIO)
	if w.calls < maxCalls {
		err = change(w, w.fault.fires(op))
	}
	if err != nil {
		err = &fs.PathError{Op: string(op), Path: path, Err: err}
	}
	w.trace[w.calls%traceLength] = call{op, path, err}
	if op.changes() {
		w.mark()
	}
	return err
}

// next numbers what is pending.
func (w *world) next() int {
	w.seq++
	return w.seq
}

// recent are the last calls, oldest first.
func (w *world) recent() []string {
	var out []string
	for i := range traceLength {
		if c := w.trace[(w.calls+1+i)%traceLength]; c.op != "" {
			out = append(out, c.String())
		}
	}
	return out
}

// grow takes room for octets more; it returns how many there were.
func (w *world) grow(octets int64) int64 {
	if w.room == nil || octets <= 0 {
		return octets
	}
	got := min(octets, max(w.room.Octets, 0))
	w.room.Octets -= got
	w.low.Octets = min(w.low.Octets, w.room.Octets)
	return got
}

// newNode takes room for a file and adds it.
func (w *world) newNode(f *FS, parent int, n *node) (int, error) {
	if w.room != nil {
		if w.room.Inodes <= 0 {
			return none, syscall.ENOSPC
		}
		w.room.Inodes--
		w.low.Inodes = min(w.low.Inodes, w.room.Inodes)
	}
	n.meta.uid, n.meta.gid, n.meta.modified = f.uid, f.gid, w.now()
	if p := w.disk.nodes[parent].meta; p.mode&fs.ModeSetgid != 0 {
		n.meta.gid = p.gid
	}
	n.durable = n.meta
	return w.disk.add(n), nil
}

// release gives a removed file's room back.
func (w *world) release(id int) {
	n := w.disk.nodes[id]
	if w.room == nil || n.links > 0 {
		return
	}
	w.room.Octets += max(int64(len(n.data)), n.reserved)
	w.room.Inodes++
}
