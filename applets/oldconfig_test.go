package applets

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"postoffice/applets/cmdline"
	"postoffice/internal/testenv"
)

// oldOptions is each option that the first postoffice knew, old names too, but
// relay-host and hostname, which the test's file has.
const oldOptions = `
checkhelo
clients=100
debug=1
dnscheck
escape-from
forward-all=1
self=us.example
hops=100
immediate=0
load=4
localmx=1
minfree=10m
mxpool
nodaemon=1
paranoid
qreturn=3D
relay=0
size=25M
forbidden=folder:junk
blacklist=bounce:go away
soft-deny
timeout=5m
trusted=[192.0.2.1]
trusted=Mail.example.invalid
usermap=*-list:lists,archive
usermap=*-~:~
verify-from=1
audit=1
msp=2587
filter=/var/run/milter.sock
filter=localhost:7357
safe
spam=folder:~/spam
delay=30m
greylist-from=1
`

// oldFile is a private server's directory with a configuration of old options.
func oldFile(t *testing.T, text string) private {
	t.Helper()
	dir := inetdDir(t)
	free, err := net.Listen("tcp", testenv.OwnAddress()+":0")
	if err != nil {
		t.Fatal(err)
	}
	free.Close()
	text = fmt.Sprintf("listen=%s\nrelay-host=[127.0.0.1]\ndns-server=127.0.0.1:1\n%s", free.Addr(), text)
	f, err := os.OpenFile(filepath.Join(dir, "cf"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(text); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return private{t, dir}
}

// TestOldFileStarts: a configuration with every option of the first postoffice starts
// the server without a warning of any (S27). The log says which nothing uses, as what it
// says of others: those of the greylist, which today an option turns on.
func TestOldFileStarts(t *testing.T) {
	for on, idle := range map[string][]string{"": {"delay", "greylist-from"}, "greylist=on\n": nil} {
		t.Run(on, func(t *testing.T) { // one after the other: they have a port in common
			p := oldFile(t, oldOptions+on)
			p.serve()
			log, err := os.ReadFile(filepath.Join(p.dir, "log"))
			if err != nil {
				t.Fatal(err)
			}
			var told []string
			for _, m := range regexp.MustCompile(`info: option not used option=(\S+) `).FindAllStringSubmatch(string(log), -1) {
				told = append(told, m[1])
			}
			if slices.Sort(told); !slices.Equal(told, idle) {
				t.Errorf("told as not used: %q, want %q, in\n%s", told, idle, log)
			}
		})
	}
}

// oldEffects has, for each option of the first postoffice, a test that fails when the
// option has no effect: the directory that has it, and its name (S27).
var oldEffects = map[string]string{
	"audit":         "applets/policy TestAuditRecords",
	"blacklist":     "applets/policy TestHostsFiles",
	"checkhelo":     "applets/policy TestChecks",
	"clients":       "applets/smtpd TestClients",
	"debug":         "applets TestDebugVerb",
	"delay":         "applets/smtpd/greylist TestDecide",
	"dnscheck":      "applets/policy TestChecks",
	"escape-from":   "deliver/local/user TestEscapeFromR60",
	"filter":        "applets/filters TestVerdicts",
	"forbidden":     "applets/policy TestHostsFiles",
	"forward-all":   "deliver/route TestForwardAll",
	"greylist-from": "applets/smtpd/greylist TestKeys",
	"hops":          "applets/smtpd TestDialogues",
	"hostname":      "applets TestDebugVerb",
	"immediate":     "internal/e2e/flow TestR64DeliveryModes",
	"load":          "applets/smtpd TestLoad",
	"localmx":       "applets/policy TestLocalMX",
	"minfree":       "spool TestMinFreeFits",
	"msp":           "applets/server TestKindOf",
	"mxpool":        "deliver/route TestMXPool",
	"nodaemon":      "applets/policy TestChecks",
	"paranoid":      "applets/policy TestChecks",
	"qreturn":       "internal/e2e/flow TestR68QueueTimes",
	"relay":         "applets TestRelayAtBS",
	"relay-host":    "deliver/route TestRoutes",
	"safe":          "applets/policy TestFiltersAndScan",
	"self":          "applets TestDebugVerb",
	"size":          "applets/smtpd TestRoomForSize",
	"soft-deny":     "applets/policy TestSoftChecks",
	"spam":          "applets/policy TestFiltersAndScan",
	"timeout":       "applets/smtpd TestTenthOfTheTimeout",
	"trusted":       "applets/server TestTrustedNames",
	"usermap":       "internal/alias TestUsermap",
	"verify-from":   "applets/policy TestChecks",
}

// TestOldEffects: each of those tests is there, and none of the options is missing.
func TestOldEffects(t *testing.T) {
	options := "hostname\nrelay-host\n" + strings.TrimSpace(oldOptions)
	for line := range strings.SplitSeq(options, "\n") {
		if name, _, _ := strings.Cut(line, "="); name != "" && oldEffects[name] == "" {
			t.Errorf("no test shows the effect of %s", name)
		}
	}
	for name, test := range oldEffects {
		dir, function, _ := strings.Cut(test, " ")
		files, _ := filepath.Glob(filepath.Join("..", dir, "*_test.go"))
		found := false
		for _, file := range files {
			text, err := os.ReadFile(file)
			found = found || err == nil && bytes.Contains(text, []byte("\nfunc "+function+"(t *testing.T)"))
		}
		if !found {
			t.Errorf("%s: %s has no %s", name, dir, function)
		}
	}
}

// TestDebugVerb: what DEBUG shows of a running server to a program of this machine (R58).
func TestDebugVerb(t *testing.T) {
	p := oldFile(t, "debug\nusermap=*-~:~\nmxpool\n")
	p.serve()
	cmd := p.command("sendmail", "-bs")
	var out bytes.Buffer
	cmd.Stdout = &out
	cmd.Stdin = strings.NewReader("EHLO x\r\nMAIL FROM:<amy@far.example>\r\nRCPT TO:<postmaster@us.example>\r\nDEBUG\r\nQUIT\r\n")
	if err := cmd.Run(); err != nil {
		t.Error(err)
	}
	want := "250-from: <amy@far.example> user: amy domain: far.example local: NIL|250-to: <postmaster@us.example> local|250-Peer flag: T|250-Relay-ok: T|250-Version: |" +
		"250-Host: us.example|250-User map: (*-~) to (~)|250-size: 100000000|250-MXpool: T|250 Escape-from: T|221 "
	if !inOrder(out.String(), want) {
		t.Errorf("shown\n%s\nwant in order %s", &out, want)
	}
}

// TestOldFileChecked: config --check tells what is not built, what means something else
// today, and lines that the first postoffice read otherwise; none of it is an error.
func TestOldFileChecked(t *testing.T) {
	p := oldFile(t, oldOptions+"  queue-view=all\n")
	asMailDir(t, p.dir)
	cf := filepath.Join(p.dir, "cf")
	var out strings.Builder
	env := &cmdline.Env{Stdin: strings.NewReader(""), Stdout: &out, Stderr: &out}
	text, err := os.ReadFile(cf)
	if err != nil {
		t.Fatal(err)
	}
	if os.Getuid() == 0 { // no account of the tests' is the server's
		text = append(text, "server-user=nobody\ndefault-user=daemon\n"...)
	}
	if err := os.WriteFile(cf, text, 0o644); err != nil {
		t.Fatal(err)
	}
	if code := programs().Run(t.Context(), env, []string{"config", "-C", cf, "--check"}); code != 0 {
		t.Errorf("exit %d, it said\n%s", code, &out)
	}
	for _, want := range []string{
		`note: \S+/cf:\d+: delay: greylist is off`, `note: \S+/cf:\d+: greylist-from: greylist is off`,
		`note: \S+/cf:\d+: msp: in a file of the first postoffice the second port had the rules of the first one`, `note: tls-cert is not set: `,
		`note: \S+/cf:\d+: dnscheck: it did nothing; today it refuses`, `note: \S+/cf:\d+: soft-deny: it did nothing`,
		`note: \S+/cf:\d+: debug: it answered anybody`, `note: \S+/cf:\d+: paranoid: `, `note: \S+/cf:\d+: localmx: `,
		`note: \S+/cf:\d+: mxpool: `, `note: \S+/cf:\d+: relay: it held for sendmail -bs alone`,
		`note: \S+/cf:\d+: self and hostname are two names of one option, and this line counts, not \S+/cf:\d+`,
		`note: \S+/cf:\d+: blacklist and forbidden are two names`,
		`note: \S+/cf:\d+: the line begins with a blank`,
	} {
		if !regexp.MustCompile(want).MatchString(out.String()) {
			t.Errorf("no %s in\n%s", want, &out)
		}
	}
}

// TestRelayOnPort: relay=yes, which never let clients of a port relay, keeps a server
// from listening, and says what to write instead (B18).
func TestRelayOnPort(t *testing.T) {
	p := oldFile(t, "relay\n")
	cmd := p.command("smtpd", "-bD")
	var errs bytes.Buffer
	cmd.Stderr = &errs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stop := time.AfterFunc(20*time.Second, func() { cmd.Process.Signal(syscall.SIGTERM) }) // it runs, which is the fault
	cmd.Wait()
	stop.Stop()
	if code := cmd.ProcessState.ExitCode(); code != 78 || !inOrder(errs.String(), "relay=yes would let everybody send mail|hint: take it out|trusted=192.0.2.7") {
		t.Errorf("smtpd: exit %d, it said\n%s", code, &errs)
	}
	if code, said := p.run("sendmail", "-bs"); code != 0 {
		t.Errorf("sendmail -bs, which is what it is for: exit %d, it said\n%s", code, said)
	}
}

// TestRelayAtBS: with relay=no, who speaks SMTP to sendmail -bs sends to this machine
// alone, where a server runs and where none does; and sendmail itself goes on sending.
func TestRelayAtBS(t *testing.T) {
	for relay, want := range map[string]string{"no": "550 5.7.1", "bs": "250 2.1.5"} {
		for _, daemon := range []bool{false, true} {
			p := oldFile(t, "relay="+relay+"\nlocal-by-dns=no\nlocal-domains=us.example\nqueue-only\n")
			if daemon {
				p.serve()
			}
			cmd := p.command("sendmail", "-bs")
			var out, errs bytes.Buffer
			cmd.Stdout, cmd.Stderr = &out, &errs
			cmd.Stdin = strings.NewReader("EHLO x\r\nMAIL FROM:<a@far.example> XREPORT\r\nRCPT TO:<postmaster@us.example>\r\nRCPT TO:<bob@far.example>\r\nNOOP\r\nQUIT\r\n")
			if err := cmd.Run(); err != nil {
				t.Errorf("relay=%s, daemon %v: %v, %s", relay, daemon, err, &errs)
			}
			if !inOrder(out.String(), "220 us.example|250 2.1.0|250 2.1.5|\r\n"+want+"|250 2.0.0 ok|221 ") || strings.Contains(out.String(), "to this machine alone") {
				t.Errorf("relay=%s, daemon %v: it showed\n%s", relay, daemon, &out)
			}
			if code, said := p.run("sendmail", "bob@far.example"); code != 0 {
				t.Errorf("relay=%s, daemon %v: sendmail: exit %d, %s", relay, daemon, code, said)
			}
		}
	}
}
