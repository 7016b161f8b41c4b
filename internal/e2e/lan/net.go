//go:build e2e

package lan

import (
	"errors"
	"maps"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// On is the same host for a subtest.
func (h *Host) On(t *testing.T) *Host {
	c := *h
	c.T = t
	return &c
}

// Inside calls f on a thread that is in the host's network: a socket made by f
// stays there.
func Inside[T any](h *Host, f func() (T, error)) (v T, err error) {
	runtime.LockOSThread()
	old, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return v, err
	}
	defer old.Close()
	ns, err := os.Open(filepath.Join("/run/netns", h.Namespace))
	if err != nil {
		return v, err
	}
	defer ns.Close()
	if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
		return v, err
	}
	v, err = f()
	if back := unix.Setns(int(old.Fd()), unix.CLONE_NEWNET); back != nil {
		return v, errors.Join(err, back) // the thread ends with the goroutine
	}
	runtime.UnlockOSThread()
	return v, err
}

// Dial connects from the host to an address of the lan.
func (h *Host) Dial(address string) (net.Conn, error) {
	return Inside(h, func() (net.Conn, error) {
		d := net.Dialer{Timeout: 5 * time.Second}
		return d.Dial("tcp4", address)
	})
}

// DialAs connects to a unix socket as the kernel knows a uid, until the test ends.
func DialAs(t *testing.T, uid int, path string) (net.Conn, error) {
	type result struct {
		conn net.Conn
		err  error
	}
	done := make(chan result)
	go func() {
		runtime.LockOSThread() // and the thread ends with the goroutine
		if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, ^uintptr(0), uintptr(uid), ^uintptr(0)); errno != 0 {
			done <- result{nil, errno}
			return
		}
		conn, err := net.Dial("unix", path)
		done <- result{conn, err}
	}()
	r := <-done
	if r.err == nil {
		t.Cleanup(func() { r.conn.Close() })
	}
	return r.conn, r.err
}

// Many gives the host all addresses of a prefix, by a way that the others are told.
func (h *Host) Many(prefix string, others ...*Host) {
	h.T.Helper()
	h.Run("ip", "route", "add", "local", prefix, "dev", "lo")
	for _, o := range others {
		o.Run("ip", "route", "add", prefix, "via", h.IP)
	}
}

// Listen listens on the host until the test ends.
func (h *Host) Listen(port string) net.Listener {
	h.T.Helper()
	l, err := Inside(h, func() (net.Listener, error) { return net.Listen("tcp4", h.IP+":"+port) })
	if err != nil {
		h.T.Fatalf("%s: listen: %v", h.Name, err)
	}
	h.T.Cleanup(func() { l.Close() })
	return l
}

// Family is what runs of the binary on the host: argv[0] by pid.
func (h *Host) Family() map[int]string {
	procs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		h.T.Fatal(err)
	}
	ns, err := os.Stat(filepath.Join("/run/netns", h.Namespace))
	if err != nil {
		h.T.Fatal(err)
	}
	all := map[int]string{}
	for _, dir := range procs {
		exe, err := os.Readlink(dir + "/exe")
		if err != nil || exe != Binary {
			continue
		}
		if st, err := os.Stat(dir + "/ns/net"); err != nil || !os.SameFile(st, ns) {
			continue
		}
		line, err := os.ReadFile(dir + "/cmdline")
		if err != nil || len(line) == 0 {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(dir))
		if err != nil {
			continue
		}
		name, _, _ := strings.Cut(string(line), "\x00")
		all[pid] = name
	}
	return all
}

// Staff waits until the only server of the host, a root tree, has no processes but
// master, server and signer, and returns those: what it starts a user's process for at
// its start takes a moment.
func (h *Host) Staff() (all map[int]string) {
	h.T.Helper()
	Until(h.T, time.Minute, "master, server and signer are alone", func() bool {
		all = h.Family()
		names := slices.Collect(maps.Values(all))
		return len(all) == 3 && slices.Contains(names, "postoffice: server") && slices.Contains(names, "postoffice: signer")
	})
	return all
}

// PidOf waits for the one process of the host whose argv[0] ends in name: one that was
// just started takes its name a moment later.
func (h *Host) PidOf(name string) (pid int) {
	h.T.Helper()
	Until(h.T, time.Minute, h.Name+": there is a "+name, func() bool { pid = h.running(name); return pid != 0 })
	return pid
}

// Runs reports whether there is such a process.
func (h *Host) Runs(name string) bool { return h.running(name) != 0 }

// running is the process, 0: none.
func (h *Host) running(name string) int {
	for pid, argv0 := range h.Family() {
		if strings.HasSuffix(argv0, name) {
			return pid
		}
	}
	return 0
}

// Gone waits until nothing of the binary runs on the host.
func (h *Host) Gone(limit time.Duration) {
	h.T.Helper()
	Until(h.T, limit, h.Name+": all its processes have ended by themselves", func() bool { return len(h.Family()) == 0 })
}
