//go:build e2e

package programs

import (
	"context"
	"maps"
	"strings"
	"testing"
	"time"

	"postoffice/internal/e2e/lan"
)

// reporter is a program that writes a message of its own making.
type reporter struct {
	name  string
	files map[string]string // what is in /etc for it
	run   func(s *lan.Site) // has it send a message to the account of its name
	as    string            // who runs sendmail
	from  string            // in the From field
	// sender is who stands in the envelope; "" is who runs sendmail.
	sender string
	// subject and text are pieces of what the message says.
	subject, text string
}

// output is what a job prints: octets of 8 bits, and lines that mean something
// to a mail server.
const output = "Grüße\n.\nFrom here\n"

var reporters = []reporter{
	{name: "cron", as: "cron", from: "root@one.test", subject: "Cron <cron@one> cat /etc/output", text: output,
		files: map[string]string{"etc/jobs": "@reboot cron cat /etc/output\nMAILTO=cron-mailto\n@reboot alice cat /etc/output\n"},
		run: func(s *lan.Site) { // no other jobs than ours
			s.Run("sh", "-euc", "rm -rf /etc/crontab /etc/cron.d; mkdir /etc/cron.d; mv /etc/jobs /etc/cron.d")
			s.Start(s.Command(context.Background(), "cron", "-f"))
		}},
	{name: "cron-mailto", as: "alice", from: "root@one.test", subject: "Cron <alice@one> cat /etc/output", text: output,
		run: func(*lan.Site) {}}, // the same cron does it
	{name: "at", as: "at", from: "at@one.test", subject: "Output from your job", text: output, run: func(s *lan.Site) {
		s.Run("install", "-o", "daemon", "-m", "600", "/dev/null", "/var/spool/cron/atjobs/.SEQ")        // as the package's script does
		s.Start(s.Command(context.Background(), "sh", "-c", `atd -f & trap "kill -KILL $!" TERM; wait`)) // a SIGTERM at the wrong instant lets it sleep on
		login(s, "at", "", "until [ -e /run/atd.pid ]; do sleep 0.05; done; echo 'cat /etc/output' | at now 2>said")
	}},
	{name: "anacron", as: "root", from: "root@one.test", subject: "Anacron job 'odd' on one.test", text: "Grüße\n", // no -i: it leaves the dot to end the message
		files: map[string]string{"etc/anacrontab.odd": "SHELL=/bin/sh\nMAILTO=anacron\n1 0 odd cat /etc/output\n"},
		run: func(s *lan.Site) {
			s.Run("anacron", "-d", "-f", "-n", "-t", "/etc/anacrontab.odd", "-S", "/var/spool/anacron")
		}},
	{name: "sudo", as: "alice", from: "alice@one.test", subject: "*** SECURITY information for one.test ***", text: "command not allowed",
		files: map[string]string{"etc/sudoers.d/mail": "Defaults mailto=\"sudo\", mail_no_perms\nalice ALL = NOPASSWD: ALL, !/usr/bin/id\n"},
		run: func(s *lan.Site) { // a set-uid program runs sendmail
			s.Run("chmod", "440", "/etc/sudoers.d/mail")
			login(s, "alice", "", "! sudo -n /usr/bin/id 2>said")
		}},
	{name: "mdadm", as: "root", from: "root@one.test", subject: "TestMessage event on /dev/md0", text: "A TestMessage event had been detected",
		files: map[string]string{"etc/mdadm/mdadm.conf": "ARRAY /dev/md0 UUID=3aaa0122:29827cfa:5331ad66:ca767371\nMAILADDR mdadm\n"},
		run:   func(s *lan.Site) { s.Run("mdadm", "--monitor", "--scan", "--oneshot", "--test") }},
	{name: "logwatch", as: "root", from: "root@one.test", subject: "Logwatch for one", text: "192.0.2.1: 1 Time",
		files: map[string]string{"var/log/auth.log": "Nov 25 02:00:00 one sshd[12]: Accepted password for alice from 192.0.2.1 port 22 ssh2\n"},
		run: func(s *lan.Site) {
			s.Run("logwatch", "--output", "mail", "--mailto", "logwatch", "--range", "all", "--service", "sshd")
		}},
	{name: "smartd", as: "root", from: "root@one.test", subject: "SMART error (EmailTest) detected on host: one", text: "TEST EMAIL from smartd for device: /etc/disk",
		files: map[string]string{"etc/disk": "a disk", // with the line of Debian's smartd.conf
			"etc/smartd.conf": "/etc/disk -d scsi -m smartd -M test -M exec /usr/share/smartmontools/smartd-runner\n"},
		run: func(s *lan.Site) {
			disk := s.Path("fakedisk.so")
			lan.Sh(s.T, "gcc", "-D_GNU_SOURCE", "-Wall", "-shared", "-fPIC", "-o", disk, "testdata/fakedisk.c")
			s.Run("env", "LD_PRELOAD="+disk, "smartd", "-q", "onecheck")
		}},
	{name: "reportbug", as: "reportbug", from: "reportbug@one.internal", sender: "reportbug@one.internal", subject: "it fails", text: "Package: bash\n",
		run: func(s *lan.Site) {
			login(s, "reportbug", strings.Repeat("\n", 10), `echo >body "Grüße"; exec reportbug --mta=/usr/sbin/sendmail --debug --offline \
				--no-query-bts --mode=expert --no-check-available --no-verify --no-config-files --no-debconf --no-bug-script --no-cc \
				--email=reportbug@one.internal --subject="it fails" --severity=normal --body-file=body --editor=true bash >said 2>&1`)
		}},
	{name: "logcheck", as: "logcheck", from: "logcheck@one.test", subject: "one.test 2026", text: "kernel: something odd: Grüße",
		files: map[string]string{
			"etc/logcheck/logcheck.conf":                  "REPORTLEVEL=server\nSENDMAILTO=logcheck\nMAILASATTACH=0\nFQDN=1\n",
			"etc/logcheck/logcheck.logfiles":              "/var/log/odd\n",
			"etc/logcheck/logcheck.logfiles.d/x.logfiles": "",
			"var/log/odd": "Nov 25 02:00:00 one kernel: something odd: Grüße\n",
		},
		run: func(s *lan.Site) {
			s.Run("install", "-d", "-o", "logcheck", "/var/lib/logcheck", "/run/lock/logcheck")
			login(s, "logcheck", "", "/usr/sbin/logcheck")
		}},
}

// TestReporters has programs report by mail, each in its own words: cron and at
// what jobs have printed, mdadm and smartd on disks, logwatch and logcheck on
// logs.
func TestReporters(t *testing.T) {
	files := map[string]string{"etc/output": output}
	var names []string
	for _, r := range reporters {
		names = append(names, r.name)
		maps.Copy(files, r.files)
	}
	s := programSite(t, names, files)
	t.Run("report", func(t *testing.T) {
		for _, r := range reporters {
			t.Run(r.name, func(t *testing.T) {
				t.Parallel()
				reports(s.On(t), r)
			})
		}
	})
	s.Drained(10 * time.Second)
	eachOnce(s, names)
}

// eachOnce says whether everybody named has one message, and nobody else any.
func eachOnce(s *lan.Site, names []string) {
	s.T.Helper()
	for _, name := range names {
		if n := len(s.Messages(name)); n != 1 {
			s.T.Errorf("%s: %d messages, want 1", name, n)
		}
	}
	if all := lan.ReadDir(s.T, s.Mail); len(all) != len(names) {
		s.T.Errorf("%d mailboxes, want %d: %v", len(all), len(names), all)
	}
}

// login runs a shell script as a user who has logged in; it must succeed and
// print nothing.
func login(s *lan.Site, name, input, script string, args ...string) {
	s.T.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	args = append([]string{"setpriv", "--reuid", name, "--regid", name, "--clear-groups", "--reset-env",
		"env", "LC_ALL=C.UTF-8", "sh", "-c", "cd && " + script, "sh"}, args...)
	cmd := s.Command(ctx, args...)
	cmd.Stdin = strings.NewReader(input)
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
		s.T.Errorf("as %s: %s: %v, printed:\n%s\nwant exit code 0 and nothing", name, script, err, out)
	}
}

// reports runs a reporter and looks at the message that arrives.
func reports(s *lan.Site, r reporter) {
	s.T.Helper()
	r.run(s)
	lan.Until(s.T, 20*time.Second, r.name+"'s message is there", func() bool { return len(s.Messages(r.name)) > 0 })
	m := lan.ParseMessage(s.T, s.Messages(r.name)[0])
	for _, tt := range []struct{ what, got, want string }{
		{"the sender", m.Header.Get("Return-Path"), "<" + or(r.sender, r.as+"@one.test") + ">"},
		{"From", m.Address("From"), r.from},
		{"To", strings.Split(m.Address("To"), "@")[0], r.name},
	} {
		if tt.got != tt.want {
			s.T.Errorf("%s: %s is %q, want %q", r.name, tt.what, tt.got, tt.want)
		}
	}
	for _, want := range []string{"\nReceived: from " + r.as + " (uid ", r.subject, r.text} {
		if !strings.Contains(m.Raw+m.Field("Subject")+m.Text, want) {
			s.T.Errorf("%s: not in the message: %q", r.name, want)
		}
	}
	if s.T.Failed() {
		s.T.Logf("%s:\n%s", r.name, m.Raw)
	}
}
