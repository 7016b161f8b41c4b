//go:build e2e

package e2e

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// on is the same host for a subtest.
func (h *host) on(t *testing.T) *host {
	c := *h
	c.t = t
	return &c
}

// inside calls f on a thread that is in the host's network: a socket made by f
// stays there.
func inside[T any](h *host, f func() (T, error)) (v T, err error) {
	runtime.LockOSThread()
	old, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return v, err
	}
	defer old.Close()
	ns, err := os.Open(filepath.Join("/run/netns", h.ns))
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

// dial connects from the host to an address of the lan.
func (h *host) dial(address string) (net.Conn, error) {
	return inside(h, func() (net.Conn, error) {
		d := net.Dialer{Timeout: 5 * time.Second}
		return d.Dial("tcp4", address)
	})
}

// listen listens on the host until the test ends.
func (h *host) listen(port string) net.Listener {
	h.t.Helper()
	l, err := inside(h, func() (net.Listener, error) { return net.Listen("tcp4", h.IP+":"+port) })
	if err != nil {
		h.t.Fatalf("%s: listen: %v", h.Name, err)
	}
	h.t.Cleanup(func() { l.Close() })
	return l
}

// family is what runs of the binary on the host: argv[0] by pid.
func (h *host) family() map[int]string {
	procs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		h.t.Fatal(err)
	}
	ns, err := os.Stat(filepath.Join("/run/netns", h.ns))
	if err != nil {
		h.t.Fatal(err)
	}
	all := map[int]string{}
	for _, dir := range procs {
		exe, err := os.Readlink(dir + "/exe")
		if err != nil || exe != binary {
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

// pidOf is the one process of the host whose argv[0] ends in name; 0: none.
func (h *host) pidOf(name string) int {
	for pid, argv0 := range h.family() {
		if strings.HasSuffix(argv0, name) {
			return pid
		}
	}
	return 0
}

// gone waits until nothing of the binary runs on the host.
func (h *host) gone(limit time.Duration) {
	h.t.Helper()
	until(h.t, limit, h.Name+": all its processes have ended by themselves", func() bool { return len(h.family()) == 0 })
}

// dialogue is a plain SMTP client, one command at a time.
type dialogue struct {
	conn net.Conn
	r    *bufio.Reader
}

// newDialogue takes the greeting over; step is how long each reply may take.
func newDialogue(conn net.Conn, hello string) (*dialogue, error) {
	d := &dialogue{conn, bufio.NewReader(conn)}
	if err := d.expect("", "220"); err != nil {
		conn.Close()
		return nil, err
	}
	if err := d.expect("EHLO "+hello, "250"); err != nil {
		conn.Close()
		return nil, err
	}
	return d, nil
}

// say sends a line, "" sends nothing, and returns the last line of the reply.
func (d *dialogue) say(line string) (string, error) {
	d.conn.SetDeadline(time.Now().Add(30 * time.Second))
	if line != "" {
		if _, err := io.WriteString(d.conn, line+"\r\n"); err != nil {
			return "", err
		}
	}
	for {
		reply, err := d.r.ReadString('\n')
		if err != nil {
			return "", err
		}
		if len(reply) < 4 {
			return "", fmt.Errorf("reply %q", reply)
		}
		if reply[3] != '-' {
			return strings.TrimRight(reply, "\r\n"), nil
		}
	}
}

// expect is say with the code that must come.
func (d *dialogue) expect(line, code string) error {
	reply, err := d.say(line)
	if err == nil && !strings.HasPrefix(reply, code) {
		err = refusal(reply)
	}
	return err
}

// refusal is a reply that was not the expected one.
type refusal string

func (r refusal) Error() string { return "refused: " + string(r) }

// send does one transaction; nil means that the server took the message.
func (d *dialogue) send(from, to, text string) error {
	if err := d.expect("MAIL FROM:<"+from+">", "250"); err != nil {
		return err
	}
	if err := d.expect("RCPT TO:<"+to+">", "250"); err != nil {
		return err
	}
	if err := d.expect("DATA", "354"); err != nil {
		return err
	}
	var b strings.Builder
	for line := range strings.Lines(text) {
		if line[0] == '.' {
			b.WriteByte('.')
		}
		b.WriteString(strings.TrimSuffix(line, "\n") + "\r\n")
	}
	return d.expect(b.String()+".", "250")
}

func (d *dialogue) quit() {
	d.say("QUIT")
	d.conn.Close()
}

// pause waits without being deaf; false: ctx has ended.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
