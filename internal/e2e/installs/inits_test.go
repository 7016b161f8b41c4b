//go:build e2e

package installs

import (
	"os"
	"testing"

	"postoffice/internal/e2e/lan"
	"postoffice/internal/testenv/roots"
)

// lsb is a piece of a script: a command has to end with an exit code.
const lsb = `lsb() { want=$1; shift; code=0; "$@" || code=$?; [ $code = $want ] || { echo "$*: $code, want $want"; exit 1; }; }
`

// crashes is a piece of a script: the server is killed, for which the master starts
// another one; and the master, which nobody starts again.
const crashes = `server() { for p in /proc/[0-9]*; do case $(tr '\0' ' ' <$p/cmdline 2>/dev/null) in 'postoffice: server'*) echo "${p#/proc/}" ;; esac; done; }
serverdies() { old=$(server); kill -9 $old; until new=$(server); [ -n "$new" ] && [ "$new" != "$old" ] && postoffice status; do sleep 0.1; done; }
pid() { cat /run/postoffice/postoffice.pid; }
masterdies() { kill -9 "$(pid)"; while postoffice status >/dev/null 2>&1; do sleep 0.1; done; }
`

// booted is a Debian with an init and the packages that it needs, which starts nothing but
// postoffice, and then the script of Boot.
func booted(t *testing.T, packages ...string) roots.Root {
	t.Helper()
	r := eximRoot(t)
	r.Fetch(t, packages...)
	r.Run(t, `ln -sf /bin/true /usr/bin/ischroot # or sysvinit-core waits for the init that runs here
dpkg --install /debs/*.deb >/dev/null 2>&1 || dpkg --configure -a
rm -f /etc/runlevels/*/* /etc/rc?.d/S* /usr/sbin/policy-rc.d
/root/postoffice install --prefix /usr
postoffice stop`)
	// An id has at most four octets: init skips a line with a longer one.
	lan.WriteFile(t, r.Path("etc/inittab"), "id:2:initdefault:\nsi::sysinit:/etc/init.d/rcS\nl2:2:wait:/etc/init.d/rc 2\nchk:2:once:sh /check\n")
	return r
}

// TestOpenRC: OpenRC starts the server at boot, and does with it what it is told to, with
// exit codes; one that died is known, and started by a restart. A restart with a
// configuration that is wrong leaves the server as it runs.
func TestOpenRC(t *testing.T) {
	booted(t, "openrc", "sysvinit-core").Boot(t, arrived+lsb+crashes+`
rc-status default | tee /dev/stderr | grep -q 'postoffice .*started'
lsb 0 rc-service postoffice status
echo one | sendmail alice; arrived alice 1
lsb 0 rc-service postoffice start
lsb 0 rc-service postoffice reload
was=$(pid); lsb 0 rc-service postoffice restart; [ "$(pid)" != "$was" ]
lsb 0 rc-service postoffice stop
lsb 3 rc-service postoffice status
lsb 1 rc-service postoffice reload
lsb 0 rc-service postoffice stop
lsb 0 rc-service postoffice start
serverdies
lsb 0 rc-service postoffice status
masterdies
lsb 1 rc-service postoffice status
lsb 0 rc-service postoffice start # OpenRC takes it for started
lsb 1 rc-service postoffice status
lsb 0 rc-service postoffice restart
lsb 0 rc-service postoffice status
echo nonsense >>/etc/postoffice.cf
lsb 6 rc-service postoffice reload
was=$(pid); lsb 1 rc-service postoffice restart; [ "$(pid)" = "$was" ]
lsb 0 rc-service postoffice status
rc-status default | tee /dev/stderr | grep -q 'postoffice .*started'
lsb 0 rc-service postoffice stop
lsb 1 rc-service postoffice start
lsb 3 rc-service postoffice status
sed -i '$d' /etc/postoffice.cf
lsb 0 rc-service postoffice start
echo two | sendmail alice; arrived alice 2
openrc nonetwork # a runlevel without it
lsb 3 postoffice status
openrc default
lsb 0 postoffice status`, "/sbin/init", "2")
}

// TestSysVInit: the same by System V's init, where insserv and startpar order what starts
// at boot, and by Debian's service, invoke-rc.d and start-stop-daemon. uninstall leaves no
// link.
func TestSysVInit(t *testing.T) {
	booted(t, "sysvinit-core", "sysv-rc").Boot(t, arrived+lsb+crashes+`
lsb 0 service postoffice status
echo one | sendmail alice; arrived alice 1
ls /etc/rc2.d/S*postoffice /etc/rc0.d/K*postoffice /etc/rc6.d/K*postoffice
lsb 0 invoke-rc.d postoffice start
lsb 0 invoke-rc.d postoffice reload
was=$(pid); lsb 0 invoke-rc.d postoffice restart; [ "$(pid)" != "$was" ]
lsb 0 invoke-rc.d postoffice status
lsb 0 invoke-rc.d postoffice stop
lsb 3 service postoffice status
lsb 7 service postoffice reload
lsb 0 service postoffice stop
lsb 0 service postoffice start
lsb 0 start-stop-daemon --status --pidfile /run/postoffice/postoffice.pid
lsb 0 start-stop-daemon --stop --retry 20 --pidfile /run/postoffice/postoffice.pid
lsb 3 service postoffice status
lsb 0 service postoffice start
serverdies
lsb 0 service postoffice status
masterdies
lsb 1 service postoffice status
lsb 0 service postoffice start
lsb 0 service postoffice status
echo nonsense >>/etc/postoffice.cf
lsb 6 service postoffice reload
was=$(pid); lsb 6 service postoffice restart; [ "$(pid)" = "$was" ]
lsb 0 service postoffice status
lsb 0 service postoffice stop
lsb 6 service postoffice start
lsb 3 service postoffice status
sed -i '$d' /etc/postoffice.cf
lsb 0 service postoffice start
echo two | sendmail alice; arrived alice 2
postoffice uninstall
[ -z "$(ls /etc/rc?.d | grep postoffice)" ]
lsb 1 grep -q postoffice /etc/init.d/.depend.start`, "/sbin/init", "2")
}

// TestBusyboxInit: busybox's init starts the server by a script of rcS, and by a line of
// its inittab, as docs/embedded.md has it.
func TestBusyboxInit(t *testing.T) {
	r := busyboxRoot(t)
	r.Run(t, "/root/postoffice install --prefix /usr; postoffice stop; echo 'log = file:/var/log/postoffice.log' >>/etc/postoffice.cf")
	lan.WriteFile(t, r.Path("etc/init.d/rcS"), "#!/bin/sh\nfor script in /etc/init.d/S??*; do $script start; done\n")
	if err := os.Chmod(r.Path("etc/init.d/rcS"), 0o755); err != nil {
		t.Fatal(err)
	}
	lan.WriteFile(t, r.Path("etc/inittab"), "::sysinit:/etc/init.d/rcS\n::once:/bin/sh /check\n")
	r.Boot(t, arrived+lsb+crashes+`
lsb 0 /etc/init.d/S80postoffice status
echo one | sendmail alice; arrived alice 1
lsb 0 /etc/init.d/S80postoffice start
lsb 0 /etc/init.d/S80postoffice reload
was=$(pid); lsb 0 /etc/init.d/S80postoffice restart; [ "$(pid)" != "$was" ]
lsb 0 /etc/init.d/S80postoffice stop
lsb 3 /etc/init.d/S80postoffice status
lsb 0 /etc/init.d/S80postoffice start
serverdies
masterdies
lsb 1 /etc/init.d/S80postoffice status
lsb 0 /etc/init.d/S80postoffice start
echo nonsense >>/etc/postoffice.cf
was=$(pid); lsb 6 /etc/init.d/S80postoffice restart; [ "$(pid)" = "$was" ]
lsb 0 /etc/init.d/S80postoffice status
sed -i '$d' /etc/postoffice.cf`, "/bin/busybox", "init")
	lan.WriteFile(t, r.Path("etc/inittab"), "::wait:/usr/sbin/postoffice smtpd\n::once:/bin/sh /check\n")
	r.Boot(t, arrived+lsb+`
lsb 0 postoffice status
echo two | sendmail alice; arrived alice 2`, "/bin/busybox", "init")
}
