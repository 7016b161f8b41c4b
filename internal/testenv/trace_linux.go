package testenv

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Call is a system call that a traced process is about to make.
type Call struct {
	Role   string // argv[0] of its process, without a directory
	Name   string // as in the kernel's table
	On     string // OnFile, OnSocket or OnPipe
	Object string // the path, or what /proc shows of the descriptor
	N      int    // how many of that role, name and kind there were, from 1, over all threads
}

func (c Call) String() string {
	return fmt.Sprintf("%s: %s %d on a %s (%s)", c.Role, c.Name, c.N, c.On, c.Object)
}

// Fault is what happens to one call: it is not made, and gives Errno, or its
// process is killed instead.
type Fault struct {
	Role, Call, On string
	N              int
	Errno          syscall.Errno // 0: SIGKILL
}

func (f Fault) String() string {
	what := "SIGKILL"
	if f.Errno != 0 {
		what = unix.ErrnoName(f.Errno)
	}
	return fmt.Sprintf("%s at %s's %s %d on a %s", what, f.Role, f.Call, f.N, f.On)
}

// Tracer sees each call on files and sockets that a program and its children
// make, in the order in which the kernel gets them, and may put a fault into
// one. It is a listener of seccomp(2), so that the rest runs at full speed and no
// process has a tracer that could change its signals.
type Tracer struct {
	exe string
	fd  int // the listener

	mu    sync.Mutex
	seen  map[Call]int // how many, by role, name and kind
	calls []Call
	fault Fault
	hit   *Call

	end  chan struct{}
	done chan struct{}
}

// tracedFlag is the first argument of a test binary that is to become a traced
// program.
const tracedFlag = "-testenv-traced"

// TracePrefix comes in front of a traced command: launcher is a copy of the
// test binary that whoever runs it may read.
func TracePrefix(launcher string) []string { return []string{launcher, tracedFlag} }

// RunTraced is called first by TestMain, which exits on an error. In a process
// that is to become a traced program it hangs the filter on itself, waits until
// the tracer has got hold of it, and executes its arguments.
func RunTraced() error {
	if len(os.Args) < 3 || os.Args[1] != tracedFlag {
		return nil
	}
	path, err := exec.LookPath(os.Args[2])
	if err == nil {
		runtime.LockOSThread()
		err = listenHere()
	}
	if err == nil {
		unix.RawSyscall(unix.SYS_CLOSE, ^uintptr(0), 0, 0) // returns when somebody listens
		err = unix.Exec(path, os.Args[2:], os.Environ())
	}
	return fmt.Errorf("start a traced program: %w", err)
}

// listenHere puts a filter on this thread that hands the watched calls to a
// listener, which is a new descriptor of ours.
func listenHere() error {
	calls := watchedCalls()
	prog := []unix.SockFilter{{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS}} // the call's number
	for i, c := range calls {
		prog = append(prog, unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jt: uint8(len(calls) - i), K: uint32(c.nr)})
	}
	prog = append(prog, unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
		unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_USER_NOTIF})
	p := unix.SockFprog{Len: uint16(len(prog)), Filter: &prog[0]}
	install := func() syscall.Errno {
		_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER,
			unix.SECCOMP_FILTER_FLAG_NEW_LISTENER|unix.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV, uintptr(unsafe.Pointer(&p)))
		return errno
	}
	errno := install()
	if errno == unix.EACCES { // not root
		if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
			return err
		}
		errno = install()
	}
	if errno != 0 {
		return fmt.Errorf("seccomp: %w: needs Linux 5.19", errno)
	}
	return nil
}

// NewTracer takes the listener of a process that RunTraced waits in; the
// process then goes on and meets the fault, the zero one never. Only calls of
// the executable exe count. The tracer ends with the last traced process, at the
// latest with the test.
func NewTracer(t testing.TB, pid int, exe string, f Fault) *Tracer {
	t.Helper()
	tr := &Tracer{exe: exe, fault: f, seen: map[Call]int{}, end: make(chan struct{}), done: make(chan struct{})}
	var err error
	for until := time.Now().Add(20 * time.Second); ; {
		if tr.fd, err = listenerOf(pid); err == nil {
			break
		}
		if time.Now().After(until) || unix.Kill(pid, 0) != nil {
			t.Fatalf("trace process %d: %v", pid, err)
		}
		<-time.After(time.Millisecond)
	}
	go tr.serve()
	t.Cleanup(tr.Close)
	return tr
}

// listenerOf copies the seccomp listener of a process.
func listenerOf(pid int) (int, error) {
	names, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	if err != nil {
		return -1, err
	}
	for _, name := range names {
		if link, err := os.Readlink(name); err != nil || link != "anon_inode:seccomp notify" {
			continue
		}
		n, err := strconv.Atoi(filepath.Base(name))
		if err != nil {
			return -1, err
		}
		return descriptorOf(pid, n)
	}
	return -1, fmt.Errorf("it has no seccomp listener")
}

// Close ends the tracer; what still runs under it finds that its calls don't
// exist.
func (tr *Tracer) Close() {
	tr.mu.Lock()
	select {
	case <-tr.end:
	default:
		close(tr.end)
	}
	tr.mu.Unlock()
	<-tr.done
}

// Seen are the calls until now, and the one that met the fault, or nil.
func (tr *Tracer) Seen() (all []Call, hit *Call) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	return slices.Clone(tr.calls), tr.hit
}

// notification and response are the kernel's struct seccomp_notif and
// seccomp_notif_resp.
type notification struct {
	id         uint64
	pid, flags uint32
	nr         int32
	arch       uint32
	ip         uint64
	args       [6]uint64
}

type response struct {
	id    uint64
	val   int64
	errno int32
	flags uint32
}

// serve answers until nobody is left who asks.
func (tr *Tracer) serve() {
	defer close(tr.done)
	defer unix.Close(tr.fd)
	calls := map[uintptr]watched{}
	for _, c := range watchedCalls() {
		calls[c.nr] = c
	}
	poll := []unix.PollFd{{Fd: int32(tr.fd), Events: unix.POLLIN}}
	for {
		select {
		case <-tr.end:
			return
		default:
		}
		n, err := unix.Poll(poll, 100)
		if n == 0 || err == unix.EINTR || poll[0].Revents == unix.POLLERR {
			continue // POLLERR is what the kernel makes of a signal while it waits for a lock
		}
		if err != nil || poll[0].Revents&unix.POLLIN == 0 {
			return // the last process has ended
		}
		var req notification
		if tr.ioctl(unix.SECCOMP_IOCTL_NOTIF_RECV, unsafe.Pointer(&req)) != 0 {
			continue // its thread has died meanwhile
		}
		answer := response{id: req.id, flags: unix.SECCOMP_USER_NOTIF_FLAG_CONTINUE}
		switch f := tr.meets(calls[uintptr(req.nr)], &req); {
		case f == nil:
		case f.Errno == 0:
			unix.Kill(int(req.pid), unix.SIGKILL) // one thread stands for its process
			continue
		default:
			answer.flags, answer.errno = 0, -int32(f.Errno)
			switch {
			case f.Errno == unix.ECONNRESET:
				reset(int(req.pid), int(int32(req.args[0])))
			case f.Call == "close":
				tr.release(&req)
			}
		}
		tr.ioctl(unix.SECCOMP_IOCTL_NOTIF_SEND, unsafe.Pointer(&answer))
	}
}

// release puts /dev/null in the place of the descriptor that a call is about: what it
// was is closed, with its locks, as Linux closes it whatever close(2) returns.
func (tr *Tracer) release(req *notification) {
	null, err := os.Open(os.DevNull)
	if err != nil {
		return // it stays open
	}
	defer null.Close()
	add := struct { // struct seccomp_notif_addfd
		id                              uint64
		flags, srcFD, newFD, newFDFlags uint32
	}{req.id, unix.SECCOMP_ADDFD_FLAG_SETFD, uint32(null.Fd()), uint32(req.args[0]), unix.O_CLOEXEC}
	tr.ioctl(unix.SECCOMP_IOCTL_NOTIF_ADDFD, unsafe.Pointer(&add))
}

// reset breaks a connection of another process, as whatever makes a call give
// ECONNRESET does.
func reset(thread, fd int) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", thread))
	if err != nil {
		return // it has died
	}
	_, rest, _ := strings.Cut(string(status), "\nTgid:")
	var pid int
	if _, err := fmt.Sscan(rest, &pid); err != nil {
		return
	}
	if ours, err := descriptorOf(pid, fd); err == nil {
		unix.Shutdown(ours, unix.SHUT_RDWR)
		unix.Close(ours)
	}
}

// descriptorOf copies a descriptor of another process.
func descriptorOf(pid, fd int) (int, error) {
	pidfd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return -1, err
	}
	defer unix.Close(pidfd)
	return unix.PidfdGetfd(pidfd, fd, 0)
}

// ioctl does not give up where a signal of the runtime's interrupts it: a call that
// got no answer would wait for ever.
func (tr *Tracer) ioctl(what uintptr, arg unsafe.Pointer) syscall.Errno {
	for {
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(tr.fd), what, uintptr(arg))
		if errno != unix.EINTR {
			return errno
		}
	}
}

// meets notes a call and returns the fault if it is this one's.
func (tr *Tracer) meets(w watched, req *notification) *Fault {
	proc := fmt.Sprintf("/proc/%d/", req.pid)
	if exe, err := os.Readlink(proc + "exe"); err != nil || exe != tr.exe {
		return nil
	}
	line, err := os.ReadFile(proc + "cmdline")
	if err != nil {
		return nil
	}
	role, _, _ := bytes.Cut(line, []byte{0})
	c := Call{Role: filepath.Base(string(role)), Name: w.name}
	if lock := req.args[1]; w.nr == unix.SYS_FCNTL && (lock == unix.F_SETLK || lock == unix.F_SETLKW || lock == unix.F_OFD_SETLK || lock == unix.F_OFD_SETLKW) {
		c.Name = "fcntl_lock"
	}
	if c.Object, c.On = objectOf(proc, w, req); c.On == "" {
		return nil
	}
	tr.mu.Lock()
	defer tr.mu.Unlock()
	kind := Call{Role: c.Role, Name: c.Name, On: c.On}
	tr.seen[kind]++
	c.N = tr.seen[kind]
	tr.calls = append(tr.calls, c)
	if f := tr.fault; tr.hit == nil && f.N == c.N && (f.Role == c.Role && f.Call == c.Name && f.On == c.On) {
		tr.hit = &c
		return &f
	}
	return nil
}

// objectOf is what a call works on and its kind, "" for what is none of the
// program's: event descriptors, timers, descriptors that aren't open.
func objectOf(proc string, w watched, req *notification) (object, on string) {
	if w.how == ofSocket {
		return fmt.Sprintf("family %d", req.args[0]), OnSocket
	}
	if w.how == byPath {
		path := stringAt(int(req.pid), req.args[1])
		if filepath.IsAbs(path) {
			return path, OnFile
		}
		if path != "" {
			path = "/" + path
		}
		dir := proc + "cwd"
		if fd := int32(req.args[0]); fd >= 0 {
			dir = fmt.Sprintf("%sfd/%d", proc, fd)
		}
		link, _ := os.Readlink(dir)
		object = link + path
	} else {
		object, _ = os.Readlink(fmt.Sprintf("%sfd/%d", proc, int32(req.args[0])))
	}
	switch kind, _, _ := strings.Cut(object, ":"); {
	case kind == "socket", kind == "pipe":
		return object, kind
	case object == "" || kind == "anon_inode":
		return object, ""
	}
	return object, OnFile
}

// stringAt reads a string of another process, up to 4,096 octets.
func stringAt(pid int, addr uint64) string {
	buf := make([]byte, 4096)
	n := 0
	for n < len(buf) { // not past the page: the next one may not be there
		part := buf[n:min(len(buf), n+4096-int((addr+uint64(n))%4096))]
		into := unix.Iovec{Base: &part[0]}
		into.SetLen(len(part))
		got, err := unix.ProcessVMReadv(pid, []unix.Iovec{into},
			[]unix.RemoteIovec{{Base: uintptr(addr) + uintptr(n), Len: len(part)}}, 0)
		if err != nil || got <= 0 {
			return ""
		}
		if end := bytes.IndexByte(part[:got], 0); end >= 0 {
			return string(buf[:n+end])
		}
		n += got
	}
	return string(buf)
}
