//go:build e2e

package packages

import "testing"

// TestLifeOfDeb: the deb is upgraded and downgraded while mail comes and waits, gives way
// to another mail server and comes back, and is purged; mail stays.
func TestLifeOfDeb(t *testing.T) {
	t.Parallel()
	r := debian(t)
	put(t, r, pack(t, older, "deb"), "older.deb")
	put(t, r, pack(t, newer, "deb"), "newer.deb")
	r.Fetch(t, "dma")
	r.Run(t, `. /helpers
		useradd -m alice
		install /older.deb
		mails first
		echo "# mine" >>/etc/postoffice.cf
		echo later | mail -s waiting joe@far.example
		mailq | grep -q far.example

		pid=$(cat /run/postoffice/postoffice.pid)
		install /newer.deb
		[ "$(dpkg-query -W -f '${Version}' postoffice)" = `+newer+`-1 ]
		postoffice status
		[ "$pid" != "$(cat /run/postoffice/postoffice.pid)" ]
		mails upgraded
		install /older.deb
		[ "$(dpkg-query -W -f '${Version}' postoffice)" = `+older+`-1 ]
		mails downgraded
		grep -q "^# mine" /etc/postoffice.cf
		mailq | grep -q far.example

		# Another server takes the place, and gives it back.
		install /debs/dma_*.deb
		if there postoffice; then exit 1; fi
		there dma bsd-mailx cron logwatch apticron
		[ ! -e /run/postoffice/submission ]
		grep -q "^# mine" /etc/postoffice.cf
		mails by-dma
		[ -z "$(/etc/init.d/postoffice start 2>&1)" ]
		/etc/init.d/postoffice start
		install /newer.deb
		mails again
		grep -q "^# mine" /etc/postoffice.cf
		mailq | grep -q far.example

		# An init script that an administrator has removed is in nobody's way.
		rm /etc/init.d/postoffice
		dpkg --install /older.deb
		there postoffice
		dpkg --force-depends --remove postoffice
		[ ! -e /run/postoffice/submission ]
		# What postoffice install has put there is not the package's to purge, nor to replace.
		mkdir -p /var/lib/postoffice
		touch /var/lib/postoffice/installed
		dpkg --force-depends --purge postoffice
		[ -e /var/lib/postoffice/installed ]
		if dpkg --force-depends --install /newer.deb >/tmp/out 2>&1; then exit 1; fi
		grep -q "first run: postoffice uninstall" /tmp/out
		rm /var/lib/postoffice/installed
		dpkg --install /newer.deb

		dpkg --force-depends --purge postoffice
		if there postoffice; then exit 1; fi
		for name in /usr/sbin/postoffice /usr/sbin/sendmail /usr/lib/sendmail /etc/postoffice.cf /etc/init.d/postoffice /var/lib/postoffice /run/postoffice; do
			[ ! -e $name ] || { echo "purge left $name"; exit 1; }
		done
		for subject in first upgraded downgraded by-dma again; do box alice $subject; done
		grep -rqs far.example /var/spool/postoffice
		getent passwd postoffice`)
}
