//go:build e2e

package e2e

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// unpackAll unpacks a package and those that it needs and the machine lacks, in
// one download; it returns the root of the package and what LD_LIBRARY_PATH
// must be for its programs. Nothing is installed.
func unpackAll(t *testing.T, pkg string) (root, libraries string) {
	t.Helper()
	base := filepath.Join(os.TempDir(), "postoffice-peers")
	if err := os.MkdirAll(base, 0o755); err != nil {
		t.Fatal(err)
	}
	pkgs := needed(t, pkg, filepath.Join(base, pkg+".needs"))
	download(t, base, pkgs)
	var dirs []string
	for _, p := range pkgs {
		found, _ := filepath.Glob(filepath.Join(base, p, "usr/lib/*-linux-gnu*"))
		dirs = append(append(dirs, found...), filepath.Join(base, p, "usr/lib"), filepath.Join(base, p, "usr/lib/dovecot"))
	}
	return filepath.Join(base, pkg), strings.Join(dirs, ":")
}

// needed lists a package, and the programs and libraries that would be
// installed with it; the list is kept in a file beside the trees.
func needed(t *testing.T, pkg, file string) []string {
	t.Helper()
	if list, err := os.ReadFile(file); err == nil {
		return strings.Fields(string(list))
	}
	out, err := exec.Command("apt-get", "-s", "-q", "--no-install-recommends", "install", pkg).Output()
	if err != nil {
		t.Fatalf("what does %s need: %v (is the package index there? run apt-get update)", pkg, err)
	}
	pkgs := []string{pkg}
	for line := range strings.Lines(string(out)) {
		name, _, _ := strings.Cut(strings.TrimPrefix(line, "Inst "), " ")
		if strings.HasPrefix(line, "Inst ") && name != pkg && !strings.HasSuffix(name, "-common") && !strings.HasSuffix(name, "-data") {
			pkgs = append(pkgs, name)
		}
	}
	writeFile(t, file, strings.Join(pkgs, "\n")+"\n")
	return pkgs
}

// download fetches those packages that are not there yet and unpacks each into
// a directory of its name.
func download(t *testing.T, base string, pkgs []string) {
	t.Helper()
	missing := slices.DeleteFunc(slices.Clone(pkgs), func(pkg string) bool {
		_, err := os.Stat(filepath.Join(base, pkg, "usr"))
		return err == nil
	})
	if len(missing) == 0 {
		return
	}
	tmp, err := os.MkdirTemp(base, ".deb-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(tmp)
	get := exec.Command("apt-get", append([]string{"-q", "-o", "APT::Sandbox::User=root", "download"}, missing...)...)
	get.Dir = tmp
	if out, err := get.CombinedOutput(); err != nil {
		t.Fatalf("download %v: %v (is the package index there? run apt-get update)\n%s", missing, err, out)
	}
	for _, pkg := range missing {
		debs, _ := filepath.Glob(filepath.Join(tmp, pkg+"_*.deb"))
		if len(debs) != 1 {
			t.Fatalf("download %s: want one file, got %v", pkg, debs)
		}
		tree := filepath.Join(tmp, pkg)
		sh(t, "dpkg", "-x", debs[0], tree)
		os.Chmod(tree, 0o755)
		if err := os.Rename(tree, filepath.Join(base, pkg)); err != nil && !os.IsExist(err) {
			t.Fatal(err)
		}
	}
}

// postfixTool is the command line of one of Postfix's programs, unpacked.
func postfixTool(t *testing.T, name string, args ...string) []string {
	t.Helper()
	root := unpack(t, "postfix")
	return append([]string{"env", "LD_LIBRARY_PATH=" + filepath.Join(root, "usr/lib/postfix"), filepath.Join(root, "usr/sbin", name)}, args...)
}

// exim starts an unpacked Exim on the host, on port 25 of its address, that
// serves the host's own name; settings are further lines of the main section.
//
// It runs without privileges once it listens, so the mailboxes belong to its
// own account, and its long lines are let through: both ways of Exim's own to
// be set, everything else is as it comes.
func (h *host) exim(settings ...string) *process {
	h.t.Helper()
	root, libs := unpackAll(h.t, "exim4-daemon-heavy")
	for _, dir := range []string{"spool", "log", "mail"} {
		if err := os.MkdirAll(h.path("ex", dir), 0o755); err != nil {
			h.t.Fatal(err)
		}
		os.Chown(h.path("ex", dir), 904, 904)
	}
	program := h.path("ex", "exim") // a copy without the set-id bit, so that it keeps LD_LIBRARY_PATH
	sh(h.t, "cp", filepath.Join(root, "usr/sbin/exim4"), program)
	os.Chmod(program, 0o755)
	conf := h.path("ex", "exim.conf")
	writeFile(h.t, conf, strings.NewReplacer("@DIR@", h.path("ex"), "@NAME@", h.Name, "@IP@", h.IP,
		"@MORE@", strings.Join(settings, "\n")).Replace(eximConf))
	p := h.start(h.command(context.Background(), "env", "LD_LIBRARY_PATH="+libs, program, "-C", conf, "-bdf", "-q1m"))
	h.t.Cleanup(func() {
		if h.t.Failed() {
			log, _ := os.ReadFile(h.path("ex", "log", "mainlog"))
			h.t.Logf("%s: exim log:\n%s", h.Name, tail(string(log), 40))
		}
	})
	h.listening("25")
	return p
}

const eximConf = `
exim_path = @DIR@/exim
spool_directory = @DIR@/spool
log_file_path = @DIR@/log/%slog
pid_file_path = @DIR@/pid
primary_hostname = @NAME@
local_interfaces = @IP@
exim_user = exim
exim_group = exim
deliver_drop_privilege
never_users =
keep_environment = LD_LIBRARY_PATH
rfc1413_query_timeout = 0s
host_lookup =
message_size_limit = 100M
header_maxsize = 8M
smtp_accept_max = 100
smtp_accept_queue_per_connection = 0
acl_smtp_rcpt = accept
acl_smtp_data = accept
@MORE@
begin routers
mailbox:
  driver = accept
  domains = @NAME@
  check_local_user
  transport = mailbox
remote:
  driver = dnslookup
  domains = ! @NAME@
  transport = remote
begin transports
mailbox:
  driver = appendfile
  file = @DIR@/mail/$local_part_data
  user = exim
  group = exim
  mode = 0600
  home_directory = /
  current_directory = /
remote:
  driver = smtp
  message_linelength_limit = 1000000000
begin retry
* * F,1h,1m
`

// eximUsers are the accounts that Exim looks for by their compiled-in names.
var eximUsers = []user{{"Debian-exim", 904, 904}}

// TestEximBothWays exchanges a message with an unpacked Exim by MX on port 25.
func TestEximBothWays(t *testing.T) {
	l := newLAN(t)
	l.dns("one.test. IN A 10.77.0.2", "one.test. IN MX 10 one.test.", "ex.test. IN A 10.77.0.3", "ex.test. IN MX 10 ex.test.")
	ours := l.host("one.test").install()
	theirs := l.host("ex.test", eximUsers...)
	ours.serve()
	theirs.exim()

	if out, err := ours.tryApplet("Subject: to exim\n\nhello\n", "sendmail", "alice@ex.test"); err != nil {
		t.Fatalf("sendmail: %v\n%s", err, out)
	}
	until(t, 30*time.Second, "exim delivered our message", func() bool {
		return contains(theirs.path("ex", "mail", "alice"), "Subject: to exim")
	})
	theirs.swaks(theirs.IP+":25", "--from", "bob@ex.test", "--to", "bob@one.test", "--header", "Subject: from exim")
	until(t, 30*time.Second, "exim's message is in bob's mailbox", func() bool {
		return contains(ours.mailbox("bob"), "Subject: from exim")
	})
	ours.drained(10 * time.Second)
}
