//go:build e2e

package packages

import (
	"os"
	"strings"
	"testing"

	"postoffice/internal/e2e/lan"
	"postoffice/internal/testenv/roots"
)

// debian is a root of Debian with exim4 and programs that send mail, which need a mail
// server to be there.
func debian(t *testing.T) roots.Root {
	t.Helper()
	r := roots.Debian(t, "exim4-daemon-light", "bsd-mailx", "cron", "logwatch", "apticron")
	lan.WriteFile(t, r.Path("helpers"), helpers)
	lan.WriteFile(t, r.Path("usr/sbin/policy-rc.d"), "#!/bin/sh\n") // services may start: there is no init to say so
	if err := os.Chmod(r.Path("usr/sbin/policy-rc.d"), 0o755); err != nil {
		t.Fatal(err)
	}
	return r
}

// put copies a file into a root, where everybody may read it.
func put(t *testing.T, r roots.Root, file, name string) {
	t.Helper()
	lan.Sh(t, "install", "-m", "644", file, r.Path(name))
}

// helpers are shell functions for scripts in roots.
const helpers = `
# box USER SUBJECT: a message is in a mailbox.
box() {
	n=0
	until grep -qs "^Subject: $2" "/var/mail/$1"; do
		n=$((n + 1))
		if [ $n = 300 ]; then
			echo "$1 has no mail $2"
			mailq || true
			exit 1
		fi
		sleep 0.1
	done
}
# mails SUBJECT: root sends a message to alice, and it comes to her mailbox.
mails() {
	echo hello | mail -s "$1" alice
	box alice "$1"
}
# there PACKAGE ... are installed.
there() {
	for package; do
		dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed || return 1
	done
}
# halt ends the server, whose files outlive it here, and waits for that.
halt() {
	pid=$(cat /run/postoffice/postoffice.pid)
	kill "$pid"
	while kill -0 "$pid" 2>/dev/null; do sleep 0.1; done
}
install() { apt-get install -q -y --allow-downgrades "$@"; }
hostname box.example
`

// TestReplace: the deb takes another mail server's place, and whatever sends by it stays
// and sends on.
func TestReplace(t *testing.T) {
	for _, server := range []struct{ pkg, start string }{
		{"exim4-daemon-light", ""},
		{"postfix", "postfix status || postfix start"},
		{"dma", ""},
	} {
		t.Run(server.pkg, func(t *testing.T) {
			t.Parallel()
			r := debian(t)
			put(t, r, pack(t, older, "deb"), "postoffice.deb")
			if server.pkg != "exim4-daemon-light" {
				r.Fetch(t, server.pkg)
			}
			out := r.Run(t, `. /helpers
				useradd -m alice
				[ ! -d /debs ] || install /debs/*.deb
				`+server.start+`
				there `+server.pkg+`
				mails before
				install /postoffice.deb
				if there `+server.pkg+`; then exit 1; fi
				there postoffice bsd-mailx cron logwatch apticron
				mails after
				[ "$(readlink -f /usr/lib/sendmail)" = /usr/sbin/postoffice ]
				grep -q "^From .*@$(cat /etc/mailname)" /var/mail/alice
				halt`)
			for _, want := range []string{"postoffice runs, and delivers mail for", "What to set next:"} {
				if !strings.Contains(out, want) {
					t.Errorf("the package did not say %q:\n%s", want, out)
				}
			}
		})
	}
}

// TestAccountsThere: where a group or an account of the deb's is there already, and where the
// machine has no name yet, the rest is made, and nothing that is no name is the mail name.
func TestAccountsThere(t *testing.T) {
	t.Parallel()
	r := debian(t)
	put(t, r, pack(t, older, "deb"), "postoffice.deb")
	r.Run(t, `. /helpers
		useradd -m alice
		groupadd -g 1500 postoffice
		useradd --system -g nogroup postoffice-alias
		rm /etc/mailname
		echo "(none)" >/proc/sys/kernel/hostname
		install /postoffice.deb
		[ "$(id -g postoffice)" = 1500 ]
		getent group postoffice-alias
		[ ! -s /etc/mailname ]
		hostname box.example
		postoffice restart
		mails named
		halt`)
}
