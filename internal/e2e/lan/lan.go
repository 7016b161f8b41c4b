//go:build e2e

package lan

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// LAN is a bridge in a namespace of its own; every host is connected to it.
type LAN struct {
	t      *testing.T
	bridge string // its namespace
	names  []string
}

// Host is one machine of the lan: a network namespace with a /etc of its own
// for the files that decide who lives there.
type Host struct {
	T         *testing.T
	LAN       *LAN
	Namespace string // name of the namespace
	Name      string // host name, as DNS and mail know it
	IP        string
	Dir       string // a scratch directory, world-searchable, removed with the test

	Enter []string // the command that runs others on the host
}

// User is an account of a host.
type User struct {
	Name     string
	UID, GID int
}

// People are the accounts that every host has. The uid and gid of nobody, who
// runs the programs of aliases, differ (R16).
var People = []User{
	{"root", 0, 0}, {"mail", 8, 8}, {"nobody", 65534, 65533},
	{"postoffice", 901, 901}, {"postfix", 902, 902}, {"exim", 904, 904},
	{"alice", 2001, 2001}, {"bob", 2002, 2002}, {"carol", 2003, 2003},
}

// Alice is the account for what an ordinary user does, Nobody that of programs
// of aliases.
var Alice, Nobody = People[6], People[2]

// Account is an account with a group of the same name and number.
func Account(name string, id int) User { return User{name, id, id} }

// New makes a LAN without hosts. It goes with the test.
func New(t *testing.T) *LAN {
	t.Helper()
	l := &LAN{t: t, bridge: fmt.Sprintf("po%d-br", os.Getpid())}
	l.namespace(l.bridge)
	Sh(t, "ip", "-n", l.bridge, "link", "add", "br0", "type", "bridge")
	Sh(t, "ip", "-n", l.bridge, "link", "set", "br0", "up")
	return l
}

// namespace makes a network namespace that goes with the test.
func (l *LAN) namespace(ns string) {
	Sh(l.t, "ip", "netns", "add", ns)
	l.t.Cleanup(func() {
		exec.Command("ip", "netns", "del", ns).Run()
	})
	Sh(l.t, "ip", "-n", ns, "link", "set", "lo", "up")
}

// Host adds a machine with the given name; its address is 10.77.0.N.
func (l *LAN) Host(name string, extra ...User) *Host {
	l.t.Helper()
	n := len(l.names) + 1
	l.names = append(l.names, name)
	h := &Host{T: l.t, LAN: l, Name: name, IP: fmt.Sprintf("10.77.0.%d", n),
		Namespace: fmt.Sprintf("po%d-%d", os.Getpid(), n)}
	l.namespace(h.Namespace)
	veth := fmt.Sprintf("v%d", n)
	Sh(l.t, "ip", "link", "add", veth, "netns", l.bridge, "type", "veth", "peer", "name", "eth0", "netns", h.Namespace)
	Sh(l.t, "ip", "-n", l.bridge, "link", "set", veth, "master", "br0", "up")
	Sh(l.t, "ip", "-n", h.Namespace, "addr", "add", h.IP+"/24", "dev", "eth0")
	Sh(l.t, "ip", "-n", h.Namespace, "link", "set", "eth0", "up")

	dir, err := os.MkdirTemp("", "po-e2e-")
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { os.RemoveAll(dir) })
	os.Chmod(dir, 0o755)
	h.Dir = dir
	h.etc(append(People[:len(People):len(People)], extra...))
	holder := exec.Command("ip", "netns", "exec", h.Namespace, "sh", "-euc", `mount --bind "$1" /etc; echo ready; exec cat`, "sh", h.Path("etc"))
	h.Enter = []string{"nsenter", "--net=/run/netns/" + h.Namespace, "--mount=/proc/" + strconv.Itoa(Hold(l.t, holder)) + "/ns/mnt", "--"}
	return h
}

// etc makes the directory that lies over /etc on the host: the machine's entries,
// and files of the host's own that say who lives there and what names mean. It is
// a whole directory, since a mount on /etc/passwd goes away when a program of the
// machine's, useradd for one, puts a new file in its place.
func (h *Host) etc(users []User) {
	h.T.Helper()
	var passwd, group strings.Builder
	for _, u := range users {
		fmt.Fprintf(&passwd, "%s:x:%d:%d:%s:%s:/bin/sh\n", u.Name, u.UID, u.GID, u.Name, h.makeHome(u))
		fmt.Fprintf(&group, "%s:x:%d:\n", u.Name, u.GID)
	}
	group.WriteString("postdrop:x:903:\n")
	own := map[string]string{
		"passwd":        passwd.String(),
		"group":         group.String(),
		"hosts":         "127.0.0.1 localhost\n" + h.IP + " " + h.Name + "\n",
		"resolv.conf":   "nameserver 10.77.0.1\noptions timeout:2 attempts:2\n",
		"nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
	}
	for name, text := range own {
		WriteFile(h.T, h.Path("etc", name), text)
	}
	for _, e := range ReadDir(h.T, machineEtc()) {
		if _, ok := own[e.Name()]; ok {
			continue
		}
		if err := sameEntry(filepath.Join(machineEtc(), e.Name()), h.Path("etc", e.Name()), e.Type()); err != nil {
			h.T.Fatal(err)
		}
	}
}

// sameEntry makes an entry of a directory appear in another one: a file by a hard
// link, a symbolic link by one like it, anything else by a symbolic link to it.
func sameEntry(from, to string, kind os.FileMode) error {
	switch kind {
	case 0:
		return os.Link(from, to)
	case os.ModeSymlink:
		target, err := os.Readlink(from)
		if err != nil {
			return err
		}
		from = target
	}
	return os.Symlink(from, to)
}

// makeHome makes a home directory.
func (h *Host) makeHome(u User) string {
	dir := h.Path("home", u.Name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		h.T.Fatal(err)
	}
	os.Chown(dir, u.UID, u.GID)
	return dir
}

// Path is a name below the host's scratch directory.
func (h *Host) Path(elem ...string) string {
	return filepath.Join(append([]string{h.Dir}, elem...)...)
}

// Command is a command that runs on the host.
func (h *Host) Command(ctx context.Context, args ...string) *exec.Cmd {
	args = append(h.Enter[:len(h.Enter):len(h.Enter)], args...)
	return exec.CommandContext(ctx, args[0], args[1:]...)
}

// As is a command that runs on the host with the ids of one of its accounts.
func (h *Host) As(ctx context.Context, name string, args ...string) *exec.Cmd {
	return h.Command(ctx, append([]string{"setpriv", "--reuid", name, "--regid", name, "--clear-groups"}, args...)...)
}

// Run runs a command on the host to its end and returns what it printed;
// a failure ends the test.
func (h *Host) Run(args ...string) string {
	h.T.Helper()
	out, err := h.Try(args...)
	if err != nil {
		h.T.Fatalf("%s: %v: %v\n%s", h.Name, args, err, out)
	}
	return out
}

// Try is run for commands that may fail.
func (h *Host) Try(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	out, err := h.Command(ctx, args...).CombinedOutput()
	return string(out), err
}
