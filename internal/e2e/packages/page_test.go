//go:build e2e

package packages

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"postoffice/internal/e2e/lan"
)

// replacePage returns the commands of docs/replace.md: those for Debian, and those of the
// part on Red Hat.
func replacePage(t *testing.T) (debian, redHat []string) {
	t.Helper()
	page, err := os.ReadFile("../../../docs/replace.md")
	if err != nil {
		t.Fatal(err)
	}
	for part := range strings.SplitSeq(string(page), "\n## ") {
		for _, c := range regexp.MustCompile(`(?m)^    (\S.*)$`).FindAllStringSubmatch(part, -1) {
			if strings.HasPrefix(part, "On Red Hat and its kin\n") {
				redHat = append(redHat, c[1])
			} else {
				debian = append(debian, c[1])
			}
		}
	}
	if len(debian) < 10 || len(redHat) < 10 {
		t.Fatalf("the page has %d commands, and %d for Red Hat", len(debian), len(redHat))
	}
	return debian, redHat
}

// say is a line of a script that prints a command.
func say(command string) string {
	return `printf '$ %s\n' "` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "$", `\$`, "`", "\\`").Replace(command) + "\"\n"
}

// TestReplacePage does what docs/replace.md says for Debian, each command as it stands
// there.
func TestReplacePage(t *testing.T) {
	t.Parallel()
	commands, _ := replacePage(t)
	var script strings.Builder
	for _, c := range commands {
		script.WriteString(say(c) + strings.Replace(c, "apt-get install", "apt-get install -q -y", 1) + "\n")
	}
	r := debian(t)
	lan.Sh(t, "mkdir", r.Path("dist"))
	put(t, r, pack(t, newer, "deb"), "dist/postoffice_0_amd64.deb")
	out := r.Run(t, `. /helpers
		echo "root: alice" >>/etc/aliases
		useradd -m alice
		cd /
		`+script.String()+`
		box alice test
		mails last
		there postoffice bsd-mailx cron logwatch apticron
		halt`)
	if !strings.Contains(out, "postoffice runs, and delivers mail for") {
		t.Errorf("the package did not say that the server runs:\n%s", out)
	}
}

// TestRedHatPage does what docs/replace.md says for Red Hat, each command as it stands
// there, under a systemd, beside a made-up postfix that has the port and the priority:
// ours is what sendmail leads to from when it is chosen until it is left.
func TestRedHatPage(t *testing.T) {
	t.Parallel()
	_, commands := replacePage(t)
	checks := map[string]string{ // what is so after a command
		"rpm --install dist/postoffice-*.rpm":                  "leads postfix; systemctl is-active postfix; no systemctl is-active postoffice; no systemctl is-enabled postoffice",
		"alternatives --set mta /usr/sbin/sendmail.postoffice": "leads postoffice",
		"systemctl enable --now postoffice":                    "systemctl is-active postoffice; systemctl is-enabled postoffice; no systemctl is-active postfix",
		`printf 'Subject: test\n\nit works\n' | sendmail root`: `await 300 'grep -qs "^Subject: test" /var/mail/alice'`,
		"alternatives --auto mta":                              "leads postfix",
		"systemctl enable --now postfix":                       "systemctl is-active postfix",
		"rpm --erase postoffice":                               "leads postfix; [ ! -e /usr/sbin/postoffice ]; grep -q '^Subject: test' /var/mail/alice; echo after | sendmail root; grep -q after /run/by-postfix",
	}
	var script strings.Builder
	for _, c := range commands {
		script.WriteString(say(c) + c + "\n" + strings.ReplaceAll(checks[c], "; ", "\n") + "\n")
		delete(checks, c)
	}
	for c := range checks {
		t.Errorf("the page lacks %q", c)
	}
	redHat, err := os.ReadFile("testdata/redhat.sh")
	if err != nil {
		t.Fatal(err)
	}
	guest(t, string(redHat)+script.String(), pack(t, newer, "rpm"))
}
