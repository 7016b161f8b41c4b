//go:build e2e

package packages

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"postoffice/internal/e2e/lan"
)

// TestReplacePage does what docs/replace.md says, each command as it stands there.
func TestReplacePage(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../../docs/replace.md")
	if err != nil {
		t.Fatal(err)
	}
	commands := regexp.MustCompile(`(?m)^    (\S.*)$`).FindAllStringSubmatch(string(page), -1)
	if len(commands) < 10 {
		t.Fatalf("the page has %d commands", len(commands))
	}
	var script strings.Builder
	for _, c := range commands {
		script.WriteString("echo '$ '" + `"` + strings.NewReplacer(`"`, `\"`, "$", `\$`, "`", "\\`").Replace(c[1]) + `"` + "\n" + strings.Replace(c[1], "apt-get install", "apt-get install -q -y", 1) + "\n")
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
