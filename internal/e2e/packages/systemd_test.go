//go:build e2e

package packages

import (
	"context"
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"postoffice/internal/e2e/lan"
)

// guests has one guest after the other: each of their systemds takes the control group that
// this process is in for its own, and would remove what another one has just made in it.
var guests sync.Mutex

// guest runs a script as a unit of a systemd that is process 1 of its own namespaces, on
// this machine's root with everything that is written in memory, where the
// folder dist has the packages. It returns what the script printed; it fails the test
// unless that ends with "done".
func guest(t *testing.T, script string, packages ...string) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{dir, filepath.Dir(dir)} { // for programs of users
		if err := os.Chmod(name, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	lan.Sh(t, "sh", "-euc", `cp -r ../../../packaging testdata/probe.py "$1"; cp "$2" "$1/postoffice"`, "sh", dir, lan.Binary)
	for _, file := range packages {
		lan.Sh(t, "install", "-D", "-m", "644", file, filepath.Join(dir, "dist", filepath.Base(file)))
	}
	if err := os.WriteFile(filepath.Join(dir, "exit32"), exit32, 0o755); err != nil {
		t.Fatal(err)
	}
	begin, err := os.ReadFile("testdata/guest.sh")
	if err != nil {
		t.Fatal(err)
	}
	lan.WriteFile(t, filepath.Join(dir, "guest.sh"), "dir="+dir+"\nexec 2>&1\n"+string(begin)+script+"\necho done\n")
	guests.Lock()
	defer guests.Unlock()
	const guestWait = 3 * time.Minute
	ctx, cancel := context.WithTimeout(context.Background(), guestWait)
	defer cancel()
	cmd := exec.CommandContext(ctx, "unshare", "--pid", "--mount", "--net", "--uts", "--ipc", "--cgroup", "--fork", "--kill-child", "sh", "testdata/machine.sh", dir)
	said, err := cmd.CombinedOutput()
	out, _ := os.ReadFile(filepath.Join(dir, "out"))
	if !strings.HasSuffix(string(out), "done\n") {
		t.Fatalf("%v\n%s\nthe script printed:\n%s", err, said, lan.Tail(string(out), 80))
	}
	return string(out)
}

// exit32 is a program for 32 bits that does nothing, as any 386 program would be refused.
var exit32 = []byte("\x7fELF\x01\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\x03\x00\x01\x00\x00\x00\x54\x80\x04\x08\x34\x00\x00\x00" +
	"\x00\x00\x00\x00\x00\x00\x00\x00\x34\x00\x20\x00\x01\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x80\x04\x08\x00\x80\x04\x08" +
	"\x5d\x00\x00\x00\x5d\x00\x00\x00\x05\x00\x00\x00\x00\x10\x00\x00\xb8\x01\x00\x00\x00\x31\xdb\xcd\x80")

// switches are all that systemd-analyze security asks for and that postoffice.service
// could have, but for those of one capability each.
var switches = []string{"CapabilityBoundingSet=~CAP_SYS_TIME CAP_SYS_PACCT CAP_WAKE_ALARM", "DevicePolicy=closed", "IPAddressDeny=any", "LockPersonality=yes",
	"MemoryDenyWriteExecute=yes", "NoNewPrivileges=yes", "PrivateDevices=yes", "PrivateMounts=yes", "PrivateNetwork=yes", "PrivateTmp=yes", "PrivateUsers=yes",
	"ProcSubset=pid", "ProtectClock=yes", "ProtectControlGroups=yes", "ProtectHome=yes", "ProtectHostname=yes", "ProtectKernelLogs=yes", "ProtectKernelModules=yes",
	"ProtectKernelTunables=yes", "ProtectProc=invisible", "ProtectSystem=yes", "RestrictAddressFamilies=~AF_INET AF_INET6", "RestrictAddressFamilies=~AF_NETLINK",
	"RestrictAddressFamilies=~AF_PACKET", "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK AF_PACKET", "RestrictAddressFamilies=~AF_UNIX",
	"RestrictNamespaces=cgroup ipc net mnt pid uts", "RestrictNamespaces=cgroup ipc net mnt pid user", "RestrictNamespaces=yes", "RestrictRealtime=yes", "RestrictSUIDSGID=yes",
	"SystemCallArchitectures=native", "SystemCallFilter=~@clock", "SystemCallFilter=~@cpu-emulation", "SystemCallFilter=~@debug", "SystemCallFilter=~@module",
	"SystemCallFilter=~@mount", "SystemCallFilter=~@obsolete", "SystemCallFilter=~@privileged", "SystemCallFilter=~@raw-io", "SystemCallFilter=~@reboot",
	"SystemCallFilter=~@resources", "SystemCallFilter=~@swap", "UMask=0077"}

// unseen are switches whose effect shows on other machines than these tests' alone.
var unseen = map[string]string{
	"DevicePolicy=closed":            "devices of a group, as a modem's, are gone; needs control groups of its own",
	"SystemCallArchitectures=native": "programs for 32 bits; needs a machine that runs any",
	"SystemCallFilter=~@module":      "sudo modprobe; needs a kernel with modules",
	"SystemCallFilter=~@raw-io":      "sudo with hwclock or flashrom; needs a kernel with ioperm(2)",
	"RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK AF_PACKET": "ciphers of the kernel, Bluetooth, CAN, vsock; needs a kernel with one of them",
}

// probed reads what probe.py printed into a file.
func probed(text string) map[string]string {
	all := map[string]string{}
	for line := range strings.Lines(text) {
		if name, can, ok := strings.Cut(strings.TrimSpace(line), ": "); ok {
			all[name] = can
		}
	}
	return all
}

// TestRootUnit: under postoffice.service a program of a .forward can do what it can in a
// shell; and each switch that the unit hasn't would take something from it.
func TestRootUnit(t *testing.T) {
	t.Parallel()
	var sweep strings.Builder
	units := ""
	for i, s := range switches {
		units += " sweep-" + strconv.Itoa(i)
		sweep.WriteString("try " + strconv.Itoa(i) + " '" + s + "'\n")
	}
	out := guest(t, `
		install -m 4755 /usr/bin/env /usr/local/bin/asroot
		install -m 755 exit32 /usr/local/bin/exit32
		mknod -m 660 /dev/probe c 1 3
		chgrp alice /dev/probe
		mkdir -p /usr/lib/modules/mark
		touch /tmp/mark /home/alice/mark
		chown alice: /home/alice/mark
		systemctl start postoffice
		grep -q "^postoffice: server" /proc/[0-9]*/cmdline
		echo plain | sendmail alice
		await 300 '[ -s /var/mail/alice ]'
		systemctl reload postoffice
		echo "|/usr/bin/python3 $dir/probe.py >/home/alice/by-forward 2>&1; echo >/home/alice/ready" >/home/alice/.forward
		chown alice: /home/alice/.forward
		chmod 644 /home/alice/.forward
		echo program | sendmail alice
		await 600 '[ -e /home/alice/ready ]'
		probe="/usr/bin/setpriv --reuid=alice --regid=alice --init-groups env -i HOME=/home/alice PATH=/usr/bin:/bin:/usr/sbin:/sbin python3 $dir/probe.py"
		try() {
			printf '[Service]\nType=oneshot\nStandardOutput=file:/run/sweep.%s\n%s\nSystemCallErrorNumber=EPERM\nExecStart=%s\n' "$1" "$2" "$probe" >/etc/systemd/system/sweep-$1.service
		}
		$probe >/run/by-shell
		`+sweep.String()+`
		systemctl daemon-reload
		systemctl start`+units+` || true
		systemctl stop postoffice
		if systemctl is-active -q postoffice; then exit 1; fi
		echo; echo "== shell"; cat /run/by-shell; echo "== forward"; cat /home/alice/by-forward
		for file in /run/sweep.*; do echo "== ${file#/run/sweep.}"; cat $file; done`)
	parts := map[string]map[string]string{}
	for _, part := range strings.Split(out, "\n== ")[1:] {
		name, text, _ := strings.Cut(part, "\n")
		parts[name] = probed(text)
	}
	shell := parts["shell"]
	if len(shell) < 40 {
		t.Fatalf("in a shell a program can: %v\n%s", shell, out)
	}
	if diff := cmp.Diff(shell, parts["forward"]); diff != "" {
		t.Errorf("a program of a .forward can't do what it can in a shell (-shell +.forward):\n%s", diff)
	}
	unit, err := os.ReadFile("../../../packaging/systemd/postoffice.service")
	if err != nil {
		t.Fatal(err)
	}
	for i, s := range switches {
		var lost []string
		for _, name := range slices.Sorted(maps.Keys(shell)) {
			if got := parts[strconv.Itoa(i)][name]; got != shell[name] {
				lost = append(lost, name)
			}
		}
		on := strings.Contains(string(unit), "\n"+s+"\n")
		t.Logf("%s: %v %s", s, on, strings.Join(lost, ", "))
		if on != (len(lost) == 0) && unseen[s] == "" {
			t.Errorf("%s: in the unit %v, and takes from a program: %q", s, on, lost)
		}
	}
}

// TestRelayUnit: postoffice-relay.service, an ordinary user's, takes port 25, and sends on
// what it gets from programs of all users and by SMTP.
func TestRelayUnit(t *testing.T) {
	t.Parallel()
	guest(t, `
		mkdir /run/far /var/spool/far-mail
		cat >/run/far.cf <<-CF
			listen=127.0.0.1:2525
			run-dir=/run/far-run
			queue-dir=/var/spool/far
			db-dir=/var/lib/far
			local-domains=far.example
			clients-per-address=0
		CF
		smtpd -C /run/far.cf
		printf 'relay-host=[127.0.0.1]:2525\nlocal-by-dns=no\nhostname=box.example\n' >>/etc/postoffice.cf
		mkdir /etc/systemd/system/postoffice-relay.service.d
		printf '[Service]\nStandardError=file:/run/relay.log\n' >/etc/systemd/system/postoffice-relay.service.d/log.conf
		systemctl daemon-reload
		systemctl start postoffice-relay || { cat /run/relay.log; exit 1; }
		pid=$(systemctl show -p MainPID --value postoffice-relay)
		[ "$(stat -c %U /proc/$pid)" = postoffice ]
		grep -q '^CapEff:	0*400$' /proc/$pid/status
		printf 'Subject: by program\n\nhello\n' | setpriv --reuid=nobody --regid=nogroup --clear-groups sendmail alice@far.example
		await 300 'grep -qs "^Subject: by program" /var/mail/alice'
		python3 -c '
import smtplib
s = smtplib.SMTP("127.0.0.1", 25)
s.sendmail("joe@box.example", ["alice@far.example"], "Subject: by smtp\n\nhello\n")'
		await 300 'grep -qs "^Subject: by smtp" /var/mail/alice'
		systemctl reload postoffice-relay
		systemctl start postoffice
		if systemctl is-active -q postoffice-relay; then exit 1; fi
		systemctl stop postoffice`)
}

// TestStopTime: a server has the time of option stop-time to end in, under a systemd that
// gives others less: a message that is coming in is taken.
func TestStopTime(t *testing.T) {
	t.Parallel()
	guest(t, `
		printf 'relay-host=[127.0.0.1]:2525\nlocal-by-dns=no\nhostname=box.example\n' >>/etc/postoffice.cf
		for unit in postoffice postoffice-relay; do
			mkdir /etc/systemd/system/$unit.service.d
			printf '[Service]\nTimeoutStopSec=1\n' >/etc/systemd/system/$unit.service.d/short.conf
			systemctl daemon-reload
			systemctl start $unit
			python3 -c '
import smtplib, subprocess, sys, time
s = smtplib.SMTP("127.0.0.1", 25)
s.ehlo("box.example")
s.mail("joe@box.example")
s.rcpt("alice@far.example")
s.docmd("DATA")
s.send("Subject: late\r\n\r\n")
subprocess.run(["systemctl", "stop", "--no-block", sys.argv[1]], check=True)
time.sleep(3) # what the unit gives is over
s.send("late\r\n.\r\n")
code, text = s.getreply()
assert code == 250, text
' $unit
			await 300 '[ "$(systemctl show -p ActiveState --value $unit)" = inactive ]'
			[ "$(systemctl show -p Result --value $unit)" = success ]
		done`)
}

// TestExposure: the relay's unit is within its bound, and the page of units has the score
// of each and every open row of the root's.
func TestExposure(t *testing.T) {
	page, err := os.ReadFile("../../../docs/units.md")
	if err != nil {
		t.Fatal(err)
	}
	for unit, bound := range map[string]float64{"postoffice.service": 10, "postoffice-relay.service": 2.0} {
		args := []string{"systemd-analyze", "security", "--offline=true", "--no-pager"}
		file := "../../../packaging/systemd/" + unit
		said := lan.Sh(t, append(args, file)...)
		_, last, _ := strings.Cut(said, "exposure level for "+unit+": ")
		score := strings.Fields(last)[0]
		if f, err := strconv.ParseFloat(score, 64); err != nil || f > bound {
			t.Errorf("%s: %s, want at most %v", unit, score, bound)
		}
		if !strings.Contains(string(page), "`"+unit+"` "+score) {
			t.Errorf("docs/units.md lacks \"`%s` %s\"", unit, score)
		}
		var rows []struct {
			Set      *bool
			Name     string
			Exposure *string
		}
		if err := json.Unmarshal([]byte(lan.Sh(t, append(args, "--json=short", file)...)), &rows); err != nil || len(rows) < 60 {
			t.Fatalf("%d rows, %v", len(rows), err)
		}
		for _, row := range rows {
			if row.Exposure != nil && *row.Exposure != "" && *row.Exposure != "0.0" && !strings.Contains(strings.ReplaceAll(string(page), "\\|", "|"), "`"+row.Name+"`") {
				t.Errorf("docs/units.md has no reason for %s of %s, which is open", row.Name, unit)
			}
		}
	}
}

// TestSocketUnit: systemd's socket unit takes port 25 and starts the server for a client,
// also on a machine whose IPv6 is switched off.
func TestSocketUnit(t *testing.T) {
	t.Parallel()
	for name, before := range map[string]string{"both": "", "IPv4 alone": "echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6\n"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			guest(t, before+`
				echo hostname=box.example >>/etc/postoffice.cf
				systemctl start postoffice.socket
				[ "$(systemctl is-active postoffice)" = inactive ]
				python3 -c '
import smtplib
s = smtplib.SMTP("127.0.0.1", 25)
s.sendmail("joe@box.example", ["alice@box.example"], "Subject: by socket\n\nhello\n")'
				systemctl is-active -q postoffice
				await 300 'grep -qs "^Subject: by socket" /var/mail/alice'
				systemctl stop postoffice.socket postoffice`)
		})
	}
}
