//go:build linux

package privsep

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"postoffice/internal/testenv"
)

// thiefRole is a program of a user's that wants the links of other processes of
// this user.
const thiefRole = "test: thief"

// loot is what a thief got.
type loot struct {
	met    int // users' processes that it held while it tried, one after the other
	links  int // sockets that it has now
	traced int // processes that it traces
	opened int // whose memory or descriptors it could open
	last   int // the one that it met last
}

// fakeThief stops each new process that it may stop, as early as it can, and
// then tries what its user's rights allow, until its standard input ends. For
// each process that was a user's process it prints its loot.
func fakeThief() int {
	runtime.LockOSThread() // a tracer is a thread
	over := make(chan struct{})
	go func() { io.Copy(io.Discard, os.Stdin); close(over) }()
	fmt.Println(loot{})
	var got loot
	for {
		select {
		case <-over:
			return 0
		default:
		}
		for pid, end := latest(), latest()+20; pid < end; pid++ {
			if unix.Kill(pid, 0) != nil {
				continue
			}
			if _, err := os.Stat(fmt.Sprintf("/proc/self/task/%d", pid)); err == nil || unix.Kill(pid, unix.SIGSTOP) != nil {
				continue
			}
			if rob(pid, &got) {
				fmt.Println(got)
			}
			unix.Kill(pid, unix.SIGCONT)
		}
	}
}

// latest is a process ID that was given away lately.
func latest() int {
	b, _ := os.ReadFile("/proc/loadavg")
	var a float64
	var tasks string
	var pid int
	fmt.Sscan(string(b), &a, &a, &a, &tasks, &pid)
	return pid - 4
}

// rob reports whether the process is a user's.
func rob(pid int, got *loot) bool {
	if b, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)); err != nil || !bytes.HasPrefix(b, []byte(UserRole)) {
		return false
	}
	if pid != got.last {
		got.met, got.last = got.met+1, pid
	}
	if p, err := unix.PidfdOpen(pid, 0); err == nil {
		for fd := range 16 {
			if stolen, err := unix.PidfdGetfd(p, fd, 0); err == nil {
				if kind, err := unix.GetsockoptInt(stolen, unix.SOL_SOCKET, unix.SO_TYPE); err == nil && kind == unix.SOCK_SEQPACKET {
					got.links++
				}
				unix.Close(stolen)
			}
		}
		unix.Close(p)
	}
	for _, name := range []string{"mem", "fd/3", "environ", "maps"} {
		if f, err := os.Open(fmt.Sprintf("/proc/%d/%s", pid, name)); err == nil {
			if n, _ := f.Read(make([]byte, 1)); n > 0 || name == "mem" {
				got.opened++
			}
			f.Close()
		}
	}
	if unix.PtraceSeize(pid) == nil {
		got.traced++
		unix.Kill(pid, unix.SIGKILL) // it would stay stopped
		unix.Wait4(pid, nil, unix.WALL, nil)
	}
	return true
}

// TestLinkNotStolen: a program of a user's that waits for a new process of this
// user gets neither its link nor its memory nor may it trace it, however early
// it comes: a process that it could stop at its first instruction would be
// another's by its second.
func TestLinkNotStolen(t *testing.T) {
	h := start(t, func(o *MasterOptions) { o.idleTime = time.Millisecond })
	in, mine, err := os.Pipe()
	testenv.Must(t, err)
	out, its, err := os.Pipe()
	testenv.Must(t, err)
	thief := &exec.Cmd{
		Path: "/proc/self/exe", Args: []string{thiefRole}, Stdin: in, Stdout: its,
		SysProcAttr: &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: firstUID + 3, Gid: firstUID + 103, Groups: []uint32{firstUID + 103}}},
	}
	testenv.Must(t, thief.Start())
	in.Close()
	its.Close()
	lines := make(chan string, 10_000)
	go func() {
		for s := bufio.NewScanner(out); s.Scan(); {
			lines <- s.Text()
		}
		close(lines)
	}()
	<-lines // it looks
	k := h.dial()
	var got loot
	read := func(line string) {
		fmt.Sscanf(strings.Trim(line, "{}"), "%d %d %d %d", &got.met, &got.links, &got.traced, &got.opened)
	}
	for runs := 0; got.met < 10 && runs < 5000; runs++ {
		k.say("run u3 alias octets t%d 10", runs)
		for len(lines) > 0 {
			read(<-lines)
		}
	}
	mine.Close()
	for line := range lines {
		read(line)
	}
	thief.Wait()
	if got.met < 10 || got.links+got.traced+got.opened > 0 {
		t.Errorf("the thief met %d processes, has %d links, traces %d and opened %d, want 10 met and nothing else", got.met, got.links, got.traced, got.opened)
	}
	h.dial().want("delivered", "run u3 alias octets end 10")
}
