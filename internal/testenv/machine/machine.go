package machine

import (
	"context"
	_ "embed"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Machine is a machine that is off.
type Machine struct {
	Kernel  string        // where Debian's package user-mode-linux is unpacked, and everybody may read it
	Modules []string      // modules of the kernel that it has, in this order: "veth"
	Root    string        // the directory that its disk is a copy of; .machine is put there
	Memory  string        // as 512M
	Disk    string        // how large, as 2G: what is not written takes no room
	Wait    time.Duration // what all of it may take
	Systemd bool          // whether process 1 is the systemd of Root, and the script a unit of it
	Args    []string      // what else the kernel is told
}

//go:embed init.sh
var initScript []byte

// nobody is whose process the kernel is.
const nobody = 65534

// enter becomes the kernel. The shell stays, as process 1 of the namespace, with which all
// others end: a kernel that was killed would let go of its programs, which it traces.
const enter = `mount -t proc proc /proc && mount -t tmpfs -o mode=1777 none /dev/shm && ` +
	`setpriv --reuid 65534 --regid 65534 --clear-groups "$@" </dev/null || exit 1`

// Try starts the machine, has its shell run a script there with -eu, and returns what that
// printed. The error has the end of what the kernel said.
func (m Machine) Try(t testing.TB, script string) (string, error) {
	t.Helper()
	dir, err := os.MkdirTemp("", "po-machine-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	disk, err := m.disk(dir, script)
	if err != nil {
		t.Fatal(err)
	}
	args := append([]string{"--foreground", "-s", "KILL", strconv.Itoa(int(m.Wait / time.Second)), "unshare", "--pid", "--mount", "--net", "--ipc", "--fork", "--kill-child", "sh", "-c", enter, "sh",
		filepath.Join(m.Kernel, "usr/bin/linux.uml"), "mem=" + m.Memory, "ubd0=" + disk, "root=/dev/ubda", "rw", "init=/.machine/init", "con=null", "con0=null,fd:2", "con1=null,fd:1", "uml_dir=/dev/shm", "umid=machine"}, m.Args...)
	if m.Systemd {
		args = append(args, "role=systemd") // what the kernel doesn't know is its first process's environment
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	cmd := exec.CommandContext(ctx, "timeout", args...) // which ends it even if this process is killed
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.Output()
	text, code, ok := cutLast(string(out), "\nexit ")
	if code = strings.TrimSpace(code); !ok || code != "0" {
		err = fmt.Errorf("exit code %q, %v; the kernel said:\n%s", code, err, tail(said.String(), 20))
	} else {
		err = nil
	}
	return text, err
}

// Run is Try for a script that must not fail.
func (m Machine) Run(t testing.TB, script string) string {
	t.Helper()
	out, err := m.Try(t, script)
	if err != nil {
		t.Fatalf("%v\n%s\nprinted:\n%s", err, script, out)
	}
	return out
}

// disk makes the machine's disk in a directory.
func (m Machine) disk(dir, script string) (string, error) {
	busybox, err := os.ReadFile("/bin/busybox") // busybox-static's
	if err != nil {
		return "", err
	}
	files := map[string][]byte{"busybox": busybox, "init": initScript, "run": []byte("set -eu\n" + script)}
	for i, name := range m.Modules {
		if files[fmt.Sprintf("module%02d.ko", i)], err = m.module(name); err != nil {
			return "", err
		}
	}
	own := filepath.Join(m.Root, ".machine")
	for _, dir := range []string{own, filepath.Join(m.Root, "dev")} { // on which the kernel mounts devtmpfs
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return "", err
		}
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(own, name), text, 0o755); err != nil {
			return "", err
		}
	}
	disk := filepath.Join(dir, "disk")
	if out, err := exec.Command("mke2fs", "-q", "-t", "ext4", "-E", "root_owner=0:0", "-d", m.Root, disk, m.Disk).CombinedOutput(); err != nil {
		return "", fmt.Errorf("mke2fs: %w\n%s", err, out)
	}
	if err := os.Chown(disk, nobody, nobody); err != nil {
		return "", err
	}
	return disk, os.Chmod(dir, 0o755)
}

// module reads one of the kernel's modules.
func (m Machine) module(name string) ([]byte, error) {
	var found string
	err := filepath.WalkDir(filepath.Join(m.Kernel, "usr/lib/uml/modules"), func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.Name() == name+".ko" {
			found = path
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return os.ReadFile(found)
}

// cutLast is strings.Cut at the last separator.
func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

// tail is the last lines of a text.
func tail(s string, lines int) string {
	all := strings.Split(strings.TrimRight(s, "\r\n"), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
