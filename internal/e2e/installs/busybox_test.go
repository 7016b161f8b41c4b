//go:build e2e

package installs

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"postoffice/internal/e2e/lan"
	"postoffice/internal/testenv/roots"
)

// busyboxRoot is a root with busybox and nothing else.
func busyboxRoot(t *testing.T) roots.Root {
	t.Helper()
	r := roots.Root(filepath.Join(t.TempDir(), "root"))
	for _, dir := range []string{"bin", "sbin", "usr/bin", "usr/sbin", "etc/init.d", "dev", "proc", "root", "tmp", "run", "var/lib", "var/log", "home/alice"} {
		if err := os.MkdirAll(r.Path(dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for file, text := range map[string]string{
		"etc/passwd": "root:x:0:0:root:/root:/bin/sh\nalice:x:1000:1000::/home/alice:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n",
		"etc/group":  "root:x:0:\nmail:x:8:\nalice:x:1000:\nnogroup:x:65534:", // without the end of its last line
		"etc/shadow": "root:*:1::::::\n", "etc/hosts": "127.0.0.1 localhost\n", "etc/init.d/rcS": "#!/bin/sh\n",
	} {
		if err := os.WriteFile(r.Path(file), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, argv := range [][]string{
		{"cp", filepath.Join(lan.Unpack(t, "busybox-static"), "bin/busybox"), r.Path("bin/busybox")},
		{"chroot", string(r), "/bin/busybox", "--install", "-s"},
		{"ln", "-sf", "/bin/busybox", r.Path("usr/sbin/sendmail")}, // which Debian's lacks
		{"mknod", "-m", "666", r.Path("dev/null"), "c", "1", "3"},
		{"mknod", "-m", "666", r.Path("dev/urandom"), "c", "1", "9"},
		{"chown", "1000:1000", r.Path("home/alice")},
		{"chmod", "1777", r.Path("tmp")},
	} {
		if out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%q: %v\n%s", argv, err, out)
		}
	}
	bring(t, r)
	return r
}

// TestOnBusybox: on a system of busybox alone, without IPv6, the account has a group of its
// own, busybox's sendmail makes room and comes back, and mail is delivered.
func TestOnBusybox(t *testing.T) {
	r := busyboxRoot(t)
	before := snapshot(t, r, "bin", "sbin", "usr", "etc")
	said := r.Run(t, arrived+`
echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6
/root/postoffice install --prefix /usr --links hard
/root/postoffice install --prefix /usr --links hard >/dev/null
[ /usr/sbin/sendmail -ef /usr/sbin/postoffice ]
echo 'log = file:/var/log/postoffice.log' >>/etc/postoffice.cf
/etc/init.d/S80postoffice restart
printf 'Subject: one\n\none\n' | sendmail alice; arrived alice 1
id postoffice; ls -ld /var/mail
/etc/init.d/S80postoffice status
postoffice uninstall
`)
	if !strings.Contains(said, "(postoffice) groups=") || strings.Contains(said, "nogroup") || !strings.Contains(said, "drwxrwsr-x") {
		t.Errorf("install on busybox:\n%s", said)
	}
	after := snapshot(t, r, "bin", "sbin", "usr", "etc")
	delete(after, "etc/postoffice.cf") // which was changed, and stays
	if diff := differ(before, after); diff != "" {
		t.Errorf("uninstall left\n%s", diff)
	}
}

// TestAlternatives: on a Red Hat its alternatives are run, there, and asked again to give
// the place back.
func TestAlternatives(t *testing.T) {
	r := busyboxRoot(t)
	if err := os.MkdirAll(r.Path("var/lib/rpm"), 0o755); err != nil {
		t.Fatal(err)
	}
	script := "#!/bin/sh\necho \"$@\" >>/called\n"
	if err := os.WriteFile(r.Path("usr/sbin/alternatives"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(r.Path("usr/sbin/sendmail")); err != nil {
		t.Fatal(err)
	}
	for _, verb := range []string{"install", "uninstall"} {
		if out, err := exec.Command(lan.Binary, verb, "--root", string(r)).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", verb, err, out)
		}
	}
	called, err := os.ReadFile(r.Path("called"))
	if want := "--install /usr/sbin/sendmail mta /usr/local/sbin/postoffice 90 --slave "; err != nil || !strings.HasPrefix(string(called), want) || !strings.HasSuffix(string(called), "\n--remove mta /usr/local/sbin/postoffice\n") {
		t.Errorf("alternatives was called: %v\n%s", err, called)
	}
	if to, err := os.Readlink(r.Path("var/mail")); err == nil {
		t.Errorf("/var/mail still leads to %s", to)
	}
}

// TestOtherRoot: a root is installed in from outside: its accounts are made in its files,
// no link leads out of it, and nothing is started. Its server runs when it runs.
func TestOtherRoot(t *testing.T) {
	r := busyboxRoot(t)
	if err := os.Symlink("/srv/lib", r.Path("usr/lib")); err != nil { // absolute: of the root
		t.Fatal(err)
	}
	if err := os.MkdirAll(r.Path("srv/lib/systemd"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(r.Path("srv/lib/systemd/systemd"), nil, 0o755); err != nil { // which its init is taken for
		t.Fatal(err)
	}
	out, err := exec.Command(lan.Binary, "install", "--root", string(r), "--prefix", "/usr").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if to, err := os.Readlink(r.Path("srv/lib/sendmail")); to != "/usr/sbin/postoffice" {
		t.Errorf("/usr/lib/sendmail below the root leads to %q, %v", to, err)
	}
	for file, want := range map[string]string{"etc/passwd": "\npostoffice:x:999:999:", "etc/group": "\nnogroup:x:65534:\npostoffice:x:999:\n", "etc/shadow": "\npostoffice:!:"} {
		if text, err := os.ReadFile(r.Path(file)); err != nil || !strings.Contains(string(text), want) {
			t.Errorf("%s: %v\n%s\nwant %q", file, err, text, want)
		}
	}
	r.Run(t, arrived+`smtpd -o log=file:/var/log/log; printf 'Subject: one\n\none\n' | /usr/lib/sendmail alice; arrived alice 1; postoffice stop`)
	if out, err := exec.Command("systemctl", "--root", string(r), "is-enabled", "postoffice.service").CombinedOutput(); err != nil || string(out) != "enabled\n" {
		t.Errorf("systemd's word on the unit: %q, %v", out, err)
	}
	if out, err := exec.Command(lan.Binary, "uninstall", "--root", string(r)).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if _, err := os.Lstat(r.Path("usr/sbin/postoffice")); !os.IsNotExist(err) {
		t.Error("the program is still there", err)
	}
	if to, err := os.Readlink(r.Path("usr/sbin/sendmail")); !strings.HasSuffix(to, "busybox") {
		t.Errorf("sendmail is not busybox's again: %q, %v", to, err)
	}
}
