//go:build e2e

package packages

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"postoffice/internal/e2e/lan"
)

// TestRPM: the rpm lays itself out in a root by rpm's own means, has alternatives lead to
// it with priority 90 (S91), makes a missing /var/spool/mail (R50, S102), and takes mail;
// upgraded and erased it leaves that.
func TestRPM(t *testing.T) {
	t.Parallel()
	r := debian(t)
	rpm := func(args ...string) string {
		t.Helper()
		return lan.Sh(t, append([]string{"rpm", "--root", string(r), "--dbpath", "/var/lib/rpm"}, args...)...)
	}
	r.Run(t, `dpkg --force-depends --purge exim4-daemon-light exim4-base exim4-config
		rm -rf /var/mail /var/spool/mail /etc/aliases
		useradd -m alice
		groupadd -g 1500 postoffice`) // somebody else's, and no account
	record := r.Path("var/lib/postoffice/installed") // of postoffice install
	if err := os.Mkdir(filepath.Dir(record), 0o755); err != nil {
		t.Fatal(err)
	}
	lan.WriteFile(t, record, "")
	out, err := exec.Command("rpm", "--root", string(r), "--dbpath", "/var/lib/rpm", "--install", "--nodeps", pack(t, older, "rpm")).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "first run: postoffice uninstall") {
		t.Errorf("beside postoffice install: %v\n%s", err, out)
	}
	if err := os.Remove(record); err != nil {
		t.Fatal(err)
	}
	rpm("--install", "--nodeps", pack(t, older, "rpm"))
	start := `. /helpers
		/usr/sbin/postoffice smtpd
		postoffice status
		`
	r.Run(t, start+`
		[ "$(stat -c '%a %U %G' /var/spool/mail)" = "1777 root root" ]
		update-alternatives --display mta | grep -q "/usr/sbin/sendmail.postoffice - priority 90"
		for name in /usr/sbin/sendmail /usr/lib/sendmail /usr/bin/mailq /usr/bin/newaliases; do
			[ "$(readlink -f $name)" = /usr/sbin/postoffice ]
		done
		[ -e /usr/share/man/man8/sendmail.8.gz ]
		getent passwd postoffice postoffice-alias
		[ "$(id -g postoffice)" = 1500 ]
		mails first
		halt`)
	r.Run(t, "chmod 755 /var/spool/mail; echo '# mine' >>/etc/postoffice.cf")
	rpm("--upgrade", "--nodeps", pack(t, newer, "rpm"))
	r.Run(t, start+`
		[ "$(stat -c %a /var/spool/mail)" = 755 ]
		[ "$(readlink -f /usr/sbin/sendmail)" = /usr/sbin/postoffice ]
		grep -q '^# mine' /etc/postoffice.cf
		mails second
		halt`)
	rpm("--erase", "--nodeps", "postoffice")
	r.Run(t, `. /helpers
		for name in /usr/sbin/sendmail /usr/bin/mailq /usr/sbin/postoffice; do [ ! -e $name ] && [ ! -L $name ]; done
		box alice first
		box alice second`)
}

// TestVersion: a package's version is the program's (R50, S103).
func TestVersion(t *testing.T) {
	says := strings.Fields(lan.Sh(t, lan.Binary, "--version"))[1]
	says, _, _ = strings.Cut(says, "+")
	for format, of := range map[string][]string{
		"rpm": {"rpm", "-qp", "--queryformat", "%{VERSION}"},
		"deb": {"dpkg-deb", "--show", "--showformat", "${Version}"},
	} {
		got, _, _ := strings.Cut(lan.Sh(t, append(of, pack(t, newer, format))...), "-")
		if got != says {
			t.Errorf("the %s has version %q, the program %q", format, got, says)
		}
	}
}
