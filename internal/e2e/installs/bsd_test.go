//go:build e2e

package installs

import (
	"debug/elf"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"postoffice/internal/e2e/lan"
	"postoffice/internal/testenv"
	"postoffice/internal/testenv/roots"
)

// bsdRoot is a root with the files by which a BSD is known.
func bsdRoot(t *testing.T, files ...string) roots.Root {
	t.Helper()
	r := roots.Root(t.TempDir())
	for _, file := range append(files, "etc/passwd", "etc/group", "etc/rc.subr", "sbin/nologin", "usr/sbin/mailwrapper", "var/mail/root") {
		text := ""
		switch file {
		case "etc/passwd":
			text = "root:*:0:0:root:/root:/bin/sh\n"
		case "etc/group":
			text = "wheel:*:0:root\nroot:*:0:\n"
		}
		if err := os.MkdirAll(filepath.Dir(r.Path(file)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(r.Path(file), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for link, to := range map[string]string{"usr/sbin/sendmail": "mailwrapper", "usr/bin/mailq": "../sbin/mailwrapper"} {
		if err := os.MkdirAll(filepath.Dir(r.Path(link)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(to, r.Path(link)); err != nil {
			t.Fatal(err)
		}
	}
	return r
}

// TestBSDPage does what docs/bsd.md says, as far as Linux can: the first command makes a
// program of FreeBSD's, and the others are done by one of this machine, in roots that look
// like those systems.
func TestBSDPage(t *testing.T) {
	page, err := os.ReadFile("../../../docs/bsd.md")
	if err != nil {
		t.Fatal(err)
	}
	var commands []string
	for line := range strings.Lines(string(page)) {
		if text, ok := strings.CutPrefix(line, "    "); ok {
			commands = append(commands, strings.TrimSpace(text))
		}
	}
	if want := []string{"GOOS=freebsd make", "./postoffice install --dry-run", "./postoffice install"}; !slices.Equal(commands, want) {
		t.Fatalf("the page has the commands %q, and %q are done here", commands, want)
	}
	made := filepath.Join(t.TempDir(), "postoffice")
	cmd := exec.Command("sh", "-euc", commands[0]+" OUT="+made)
	cmd.Dir, cmd.Env = testenv.Root(), append(os.Environ(), "MAKEFLAGS=")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if f, err := elf.Open(made); err != nil || f.OSABI != elf.ELFOSABI_FREEBSD {
		t.Errorf("%s made no program of FreeBSD's: %v", commands[0], err)
	}
	for _, tt := range []struct {
		system, conf string
		files        []string
		starts       string // the script that starts it
	}{
		{"FreeBSD", "etc/mail/mailer.conf", []string{"bin/freebsd-version", "etc/mail/mailer.conf"}, "usr/local/etc/rc.d/postoffice"},
		{"NetBSD", "etc/mailer.conf", []string{"etc/mailer.conf"}, "etc/rc.d/postoffice"},
		{"OpenBSD", "etc/mailer.conf", []string{"usr/sbin/rcctl", "etc/mailer.conf"}, "etc/rc.d/postoffice"},
	} {
		t.Run(tt.system, func(t *testing.T) {
			r := bsdRoot(t, tt.files...)
			before := snapshot(t, r, ".")
			do := func(command string) string {
				t.Helper()
				rest, ok := strings.CutPrefix(command, "./postoffice ")
				if !ok {
					t.Fatal(command)
				}
				out, err := exec.Command(lan.Binary, append(strings.Fields(rest), "--root", string(r))...).CombinedOutput()
				if err != nil {
					t.Fatalf("%s: %v\n%s", command, err, out)
				}
				return string(out)
			}
			dry := do(commands[1])
			if diff := differ(before, snapshot(t, r, ".")); diff != "" {
				t.Fatalf("--dry-run changed something:\n%s", diff)
			}
			if said := do(commands[2]); !strings.HasPrefix(said, dry) {
				t.Errorf("what was done is not what --dry-run said:\n%s\n%s", said, dry)
			}
			for file, want := range map[string]string{
				"etc/postoffice.cf": "\nrun-dir = /var/run/postoffice\n",
				tt.conf:             "\nsendmail\t/usr/local/sbin/postoffice\n",
				tt.starts:           "/usr/local/sbin/postoffice",
				"etc/passwd":        "\npostoffice-alias:",
			} {
				if text, err := os.ReadFile(r.Path(file)); err != nil || !strings.Contains(string(text), want) {
					t.Errorf("%s: %v\n%s\nwant %q", file, err, text, want)
				}
			}
			if to, err := os.Readlink(r.Path("usr/sbin/sendmail")); to != "mailwrapper" {
				t.Errorf("sendmail leads to %q, %v", to, err)
			}
		})
	}
}
