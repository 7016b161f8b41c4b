//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// lan is a bridge in a namespace of its own; every host hangs on it.
type lan struct {
	t      *testing.T
	bridge string // its namespace
	names  []string
}

// host is one machine of the lan: a network namespace with a /etc of its own
// for the files that decide who lives there.
type host struct {
	t    *testing.T
	lan  *lan
	ns   string // name of the namespace
	Name string // host name, as DNS and mail know it
	IP   string
	Dir  string // a scratch directory, world-searchable, removed with the test

	enter []string // the command that runs others on the host
}

// user is an account of a host.
type user struct {
	Name     string
	UID, GID int
}

// people are the accounts that every host has.
var people = []user{
	{"root", 0, 0}, {"mail", 8, 8}, {"nobody", 65534, 65534},
	{"postoffice", 901, 901}, {"postfix", 902, 902}, {"exim", 904, 904},
	{"alice", 2001, 2001}, {"bob", 2002, 2002}, {"carol", 2003, 2003},
}

func newLAN(t *testing.T) *lan {
	t.Helper()
	l := &lan{t: t, bridge: fmt.Sprintf("po%d-br", os.Getpid())}
	l.namespace(l.bridge)
	sh(t, "ip", "-n", l.bridge, "link", "add", "br0", "type", "bridge")
	sh(t, "ip", "-n", l.bridge, "link", "set", "br0", "up")
	return l
}

// namespace makes a network namespace that goes with the test.
func (l *lan) namespace(ns string) {
	sh(l.t, "ip", "netns", "add", ns)
	l.t.Cleanup(func() {
		exec.Command("ip", "netns", "del", ns).Run()
		os.RemoveAll(filepath.Join("/etc/netns", ns))
	})
	sh(l.t, "ip", "-n", ns, "link", "set", "lo", "up")
}

// host adds a machine with the given name; its address is 10.77.0.N.
func (l *lan) host(name string, extra ...user) *host {
	l.t.Helper()
	n := len(l.names) + 1
	l.names = append(l.names, name)
	h := &host{t: l.t, lan: l, Name: name, IP: fmt.Sprintf("10.77.0.%d", n),
		ns: fmt.Sprintf("po%d-%d", os.Getpid(), n)}
	h.enter = []string{"ip", "netns", "exec", h.ns}
	l.namespace(h.ns)
	veth := fmt.Sprintf("v%d", n)
	sh(l.t, "ip", "link", "add", veth, "netns", l.bridge, "type", "veth", "peer", "name", "eth0", "netns", h.ns)
	sh(l.t, "ip", "-n", l.bridge, "link", "set", veth, "master", "br0", "up")
	sh(l.t, "ip", "-n", h.ns, "addr", "add", h.IP+"/24", "dev", "eth0")
	sh(l.t, "ip", "-n", h.ns, "link", "set", "eth0", "up")

	dir, err := os.MkdirTemp("", "po-e2e-")
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { os.RemoveAll(dir) })
	os.Chmod(dir, 0o755)
	h.Dir = dir
	h.etc(append(people[:len(people):len(people)], extra...))
	return h
}

// etc writes the files that `ip netns exec` lays over /etc for this host.
func (h *host) etc(users []user) {
	var passwd, group strings.Builder
	for _, u := range users {
		fmt.Fprintf(&passwd, "%s:x:%d:%d:%s:%s:/bin/sh\n", u.Name, u.UID, u.GID, u.Name, h.makeHome(u))
		fmt.Fprintf(&group, "%s:x:%d:\n", u.Name, u.GID)
	}
	group.WriteString("nogroup:x:65533:\npostdrop:x:903:\n")
	dir := filepath.Join("/etc/netns", h.ns)
	for name, text := range map[string]string{
		"passwd":        passwd.String(),
		"group":         group.String(),
		"hosts":         "127.0.0.1 localhost\n" + h.IP + " " + h.Name + "\n",
		"resolv.conf":   "nameserver 10.77.0.1\noptions timeout:2 attempts:2\n",
		"nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
	} {
		writeFile(h.t, filepath.Join(dir, name), text)
	}
}

// makeHome makes a home directory.
func (h *host) makeHome(u user) string {
	dir := h.path("home", u.Name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		h.t.Fatal(err)
	}
	os.Chown(dir, u.UID, u.GID)
	return dir
}

// path is a name below the host's scratch directory.
func (h *host) path(elem ...string) string {
	return filepath.Join(append([]string{h.Dir}, elem...)...)
}

// command is a command that runs on the host.
func (h *host) command(ctx context.Context, args ...string) *exec.Cmd {
	args = append(h.enter[:len(h.enter):len(h.enter)], args...)
	return exec.CommandContext(ctx, args[0], args[1:]...)
}

// as is a command that runs on the host with the ids of one of its accounts.
func (h *host) as(ctx context.Context, name string, args ...string) *exec.Cmd {
	return h.command(ctx, append([]string{"setpriv", "--reuid", name, "--regid", name, "--clear-groups"}, args...)...)
}

// run runs a command on the host to its end and returns what it printed;
// a failure ends the test.
func (h *host) run(args ...string) string {
	h.t.Helper()
	out, err := h.try(args...)
	if err != nil {
		h.t.Fatalf("%s: %v: %v\n%s", h.Name, args, err, out)
	}
	return out
}

// try is run for commands that may fail.
func (h *host) try(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	out, err := h.command(ctx, args...).CombinedOutput()
	return string(out), err
}

// start starts a server on the host; the test ends it with SIGTERM, and with
// SIGKILL where that does not help within 25 s.
func (h *host) start(cmd *exec.Cmd) *process {
	h.t.Helper()
	p := &process{cmd: cmd, done: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = &p.out, &p.out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		h.t.Fatalf("%s: %v: %v", h.Name, cmd.Args, err)
	}
	go func() { cmd.Wait(); close(p.done) }()
	h.t.Cleanup(func() {
		p.stop()
		if h.t.Failed() {
			h.t.Logf("%s printed:\n%s", cmd.Args, tail(p.out.String(), 60))
		}
	})
	return p
}

// process is a server that a test started.
type process struct {
	cmd  *exec.Cmd
	out  syncBuffer
	done chan struct{}
}

// stop ends the process and waits for it.
func (p *process) stop() {
	p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
		return
	case <-time.After(25 * time.Second):
	}
	syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
	<-p.done
}

// until waits for a condition, at most for the given time, and ends the test
// with what when it never comes true.
func until(t *testing.T, limit time.Duration, what string, cond func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(limit); !cond(); <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", limit, what)
		}
	}
}

func sh(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %v\n%s", args, err, out)
	}
	return string(out)
}

func writeFile(t *testing.T, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func tail(s string, lines int) string {
	all := strings.Split(strings.TrimRight(s, "\n"), "\n")
	if len(all) > lines {
		all = all[len(all)-lines:]
	}
	return strings.Join(all, "\n")
}

// contains reports whether the file holds the text; a missing file does not.
func contains(name, text string) bool {
	b, err := os.ReadFile(name)
	return err == nil && bytes.Contains(b, []byte(text))
}
