//go:build e2e

package programs

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"postoffice/internal/e2e/lan"
	"postoffice/internal/testenv"
	"postoffice/internal/testenv/machine"
)

// limited is a cgroup with 16 MiB of memory, and its file that processes enter by.
func limited(t *testing.T) string {
	t.Helper()
	top, limit := "/sys/fs/cgroup", "memory.max"
	if _, err := os.Stat("/sys/fs/cgroup/memory"); err == nil { // version 1
		top, limit = "/sys/fs/cgroup/memory", "memory.limit_in_bytes"
	}
	dir := filepath.Join(top, "postoffice-test-"+strconv.Itoa(os.Getpid()))
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if !testenv.Eventually(func() bool { return os.Remove(dir) == nil }) {
			t.Errorf("%s has processes yet", dir)
		}
	})
	if err := os.WriteFile(filepath.Join(dir, limit), []byte("16777216"), 0o644); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, "cgroup.procs")
}

// device makes the root that docs/embedded.md is about, of busybox and what make lite
// builds, and returns what the page has root do there.
func device(t *testing.T, root string) (page string) {
	t.Helper()
	pages := blocks(t, "embedded.md", "sh")
	lan.Sh(t, "sh", "-euc", "cd "+testenv.Root()+"\nMAKEFLAGS=OUT="+root+"/postoffice; export MAKEFLAGS\n"+pages[0])
	lan.Sh(t, "sh", "-euc", `cd "$1"
mkdir -p bin etc usr/sbin proc dev tmp
mv postoffice usr/sbin/
cp /bin/busybox bin/
for name in $(bin/busybox --list | grep -vx busybox); do ln -s busybox bin/"$name"; done
mknod -m 666 dev/null c 1 3
echo root:x:0:0:root:/:/bin/sh >etc/passwd
`, "sh", root)
	return "PATH=/bin:/usr/sbin\n" + pages[1]
}

// largeToo follows the page: a larger message, and the end, when both are there.
const largeToo = `
big() { printf 'Subject: large\n\n'; for n in $(seq 200); do printf '%01000d\n' "$n"; done; }
big | sendmail root
until grep -q 'Subject: it runs' /var/mail/root && grep -q 'Subject: large' /var/mail/root; do sleep 0.1; done
kill $(cat /run/postoffice/postoffice.pid)
while [ -e /run/postoffice/postoffice.pid ]; do sleep 0.1; done
`

// TestEmbeddedPage does what docs/embedded.md says, as it stands there, on a root of busybox
// in 16 MiB of disk and with 16 MiB of memory: mail is delivered, also of 200 KB.
func TestEmbeddedPage(t *testing.T) {
	s := lan.New(t).Host("one.test").Install()
	root := s.Path("device")
	lan.Sh(t, "mkdir", root)
	lan.Sh(t, "mount", "-t", "tmpfs", "-o", "size=16m,mode=755", "none", root)
	t.Cleanup(func() { exec.Command("umount", "-l", root).Run() })
	page := device(t, root)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, "sh", "-euc", `echo $$ >"$1"
exec unshare --mount --pid --net --ipc --fork --kill-child sh -euc 'mount -t proc proc "$1/proc"; ip link set lo up; exec chroot "$1" /bin/sh -euc "$2"' sh "$2" "$3"`,
		"sh", limited(t), root, page+largeToo).CombinedOutput()
	if err != nil || len(out) > 0 {
		log, _ := os.ReadFile(filepath.Join(root, "var/log/mail"))
		t.Errorf("%v\n%s\nthe log:\n%s", err, out, log)
	}
	box, err := os.ReadFile(filepath.Join(root, "var/mail/root"))
	if err != nil || strings.Count(string(box), "\nSubject: ") != 2 || len(box) < 200_000 {
		t.Errorf("%v, %d octets of mail", err, len(box))
	}
}

// TestEmbeddedPageMachine does the same on a machine of its own, where the limit is that of
// control groups of version 2.
func TestEmbeddedPageMachine(t *testing.T) {
	root := t.TempDir()
	page := device(t, root)
	m := machine.Machine{Kernel: lan.Unpack(t, "user-mode-linux"), Root: root, Memory: "256M", Disk: "64M", Wait: 5 * time.Minute}
	out := m.Run(t, `
echo +memory >/sys/fs/cgroup/cgroup.subtree_control
mkdir /sys/fs/cgroup/device
echo 16M >/sys/fs/cgroup/device/memory.max
echo $$ >/sys/fs/cgroup/device/cgroup.procs
`+page+largeToo+`
cd /sys/fs/cgroup/device
echo "limit $(cat memory.max)"
echo "most $(cat memory.peak)"
cat memory.events
echo "mail $(grep -c '^Subject: ' /var/mail/root) $(wc -c </var/mail/root)"
`)
	t.Log(out)
	for _, want := range []string{`(?m)^limit 16777216$`, `(?m)^oom_kill 0$`, `(?m)^mail 2 2\d{5}$`} {
		if !regexp.MustCompile(want).MatchString(out) {
			t.Errorf("the machine said no %s:\n%s", want, out)
		}
	}
}
