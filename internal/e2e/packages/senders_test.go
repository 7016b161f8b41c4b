//go:build e2e

package packages

import "testing"

// TestSenders: programs that mail by themselves do so through the package's sendmail.
func TestSenders(t *testing.T) {
	t.Parallel()
	r := debian(t)
	put(t, r, pack(t, older, "deb"), "postoffice.deb")
	r.Run(t, `. /helpers
		useradd -m alice
		echo "root: alice" >/etc/aliases
		install /postoffice.deb
		box_of() { n=0; until grep -qs "$1" /var/mail/alice; do n=$((n + 1)); [ $n -lt 900 ] || { echo "no mail $1"; exit 1; }; sleep 0.1; done; }
		logwatch --output mail --mailto root --range all --detail low --service dpkg
		box_of "^Subject: Logwatch"
		echo "@reboot root echo from cron" >/etc/cron.d/job
		cron
		box_of "from cron"`)
}
