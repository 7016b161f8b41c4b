package roots

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Root is a root directory that a test may do with as it likes.
type Root string

// Debian is a fresh root with some packages.
func Debian(t testing.TB, packages ...string) Root {
	t.Helper()
	tree := Tree(t, packages...)
	dir := filepath.Join(t.TempDir(), "root")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("tar", "-C", dir, "--numeric-owner", "-xpf", tree).CombinedOutput(); err != nil {
		t.Fatalf("unpack %s: %v\n%s", tree, err, out)
	}
	return Root(dir)
}

// Path is where a file of the root is.
func (r Root) Path(name string) string { return filepath.Join(string(r), name) }

// Fetch puts the debs of packages, and of what these need and the root lacks, into the
// root's directory debs. The machine's apt fetches them, from where the machine's own
// packages come.
func (r Root) Fetch(t testing.TB, packages ...string) {
	t.Helper()
	dir := r.Path("debs")
	if err := os.MkdirAll(filepath.Join(dir, "partial"), 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("apt-get", append([]string{"-q", "-y", "--no-install-recommends", "--download-only", "-o", "APT::Sandbox::User=root",
		"-o", "Dir::State::status=" + r.Path("var/lib/dpkg/status"), "-o", "Dir::Cache::archives=" + dir, "install"}, packages...)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("download %s: %v\n%s", packages, err, out)
	}
}

// scriptWait is what a script in a root may take, onlineWait what one may that builds, also
// on a machine that does much besides.
const (
	scriptWait = 2 * time.Minute
	onlineWait = 15 * time.Minute
)

// enter makes proc(5) and the loopback interface, and becomes a script in a root.
const enter = `ip link set lo up && mount -t proc proc "$1/proc" && exec chroot "$1" /bin/sh -euc "$2"`

// environment is root's after a login.
var environment = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C.UTF-8", "HOME=/root", "USER=root", "LOGNAME=root"}

// Try runs a script in the root, as its process 1 in namespaces of its own: what the
// script has started ends with it. It returns what was printed.
func (r Root) Try(t testing.TB, script string) (string, error) {
	t.Helper()
	return r.within(scriptWait, script, "--net")
}

// Online is Try with this machine's network, certificates and Go proxy, for what fetches
// packages and modules: nothing in it may listen anywhere.
func (r Root) Online(t testing.TB, script string) (string, error) {
	t.Helper()
	for _, name := range []string{"/etc/resolv.conf", "/etc/hosts", "/etc/ssl/certs/ca-certificates.crt"} {
		if out, err := exec.Command("cp", "--remove-destination", name, r.Path(name)).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	for _, name := range []string{"GOPROXY", "GOSUMDB", "GONOSUMDB"} {
		value, err := exec.Command("go", "env", name).Output()
		if err != nil {
			t.Fatal(err)
		}
		script = "export " + name + "='" + strings.TrimSpace(string(value)) + "'\n" + script
	}
	return r.within(onlineWait, script)
}

func (r Root) within(wait time.Duration, script string, more ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), wait)
	defer cancel()
	args := append(more, "--mount", "--pid", "--uts", "--ipc", "--fork", "--kill-child", "--propagation", "private")
	cmd := exec.CommandContext(ctx, "unshare", append(args, "sh", "-c", enter, "sh", string(r), script)...)
	cmd.Env = environment
	cmd.Stdin = strings.NewReader("")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// Run is Try for a script that must not fail.
func (r Root) Run(t testing.TB, script string) string {
	t.Helper()
	out, err := r.Try(t, script)
	if err != nil {
		t.Fatalf("%v\n%s\nprinted:\n%s", err, script, out)
	}
	return out
}
