package applets

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postoffice/applets/cmdline"
	"postoffice/applets/control"
	"postoffice/internal/testenv"
)

// config --check says what a server would refuse to start with, all of it at once,
// and warns of a Maildir that is taken for a file.
func TestConfigCheck(t *testing.T) {
	testenv.NeedsRoot(t, "sets options that are root's")
	dir := t.TempDir()
	good := "queue-dir=" + dir + "/q\nrun-dir=" + dir + "/run\nmail-dir=" + dir + "\naliases=" + dir + "/aliases\nhostname=one.example\n"
	asMailDir(t, dir)
	if err := os.WriteFile(dir+"/aliases", nil, 0o644); err != nil {
		t.Fatal(err)
	}
	root := os.Getuid() == 0
	cert := func(days int) string { return certFile(t, dir, days) }
	for _, tt := range []struct {
		lines string
		root  bool // a private server has no such account
		code  int
		says  []string
	}{
		{"", false, 0, nil},
		{"listen=127.0.0.1:25\nlog=file:" + dir + "/log,stderr", false, 0, nil},
		{"server-user=nosuch-account", true, 78, []string{`"nosuch-account"`, "hint: make it: useradd"}},
		{"server-user=root", true, 78, []string{"server-user=root is root"}},
		{"default-user=root", true, 78, []string{"default-user=root has uid 0", "hint: option default-user"}},
		{"default-user=auto\nserver-user=mail", true, 0, []string{"warning: programs of aliases run as nobody, but other programs of this machine run as it too", "useradd --system"}},
		{"default-user=nobody", true, 0, []string{"but the server runs as it too"}},
		{"default-user=daemon", true, 0, nil},
		{"av=/bin/cat\nav-user=nosuch-account", true, 78, []string{`cf:7: av-user: there is no account "nosuch-account"`, "hint: name an account without rights, as with useradd"}},
		{"av=/bin/cat\nav-user=root", true, 78, []string{"av-user: root has uid 0"}},
		{"av=/bin/cat\nav-user=daemon", true, 0, nil},
		{"av-user=nosuch-account", true, 0, nil},
		{"filter=" + dir + "/milter name=dkim fail=reject", false, 0, []string{"warning: ", "cf:6: filter: filter dkim: connect " + dir + "/milter: no such file or directory; start the filter, or have it make its socket there; until then mail is refused"}},
		{"relay", false, 78, []string{"relay=yes would let everybody send mail", "hint: take it out, or write relay=bs, and name the clients"}},
		{"relay=no", false, 0, []string{"note: ", "relay: it held for sendmail -bs alone"}},
		{"listen=25", false, 78, []string{`want host:port, :port or host, got "25"`}},
		{"listen=no.such.invalid:25", false, 78, []string{"listen on no.such.invalid:25", "hint: the name must be in /etc/hosts"}},
		{"listen=192.0.2.99:25", false, 78, []string{"listen on 192.0.2.99:25: ", "hint: no interface has that address now"}},
		{"queue-dir=" + dir + "/no/q", false, 78, []string{"make the queue directory: mkdir " + dir + "/no/q: no such file", "hint: the directory above it must be there: mkdir -p " + dir + "/no;"}},
		{"queue-dir=" + dir + "/run", false, 78, []string{"queue-dir and run-dir are both " + dir + "/run", "hint: give each"}},
		{"run-dir=" + dir + "/no/run", false, 78, []string{"make the run directory: mkdir " + dir + "/no/run: no such file", "hint: the directory above it must be there"}},
		{"mail-dir=" + dir + "/nomail", false, 78, []string{"cf:6: mail-dir: open " + dir + "/nomail: no such file", "hint: mount it, or make it: mkdir -p"}},
		{"mail-dir=" + dir + "/nomail\nmailbox=~/mbox", false, 0, nil},
		{"mailer=/no/such/mailer", false, 78, []string{"mailer: exec /no/such/mailer: no such file"}},
		{"program-dir=" + dir + "/noprogs", false, 78, []string{"program-dir: open " + dir + "/noprogs"}},
		{"hosts-deny=" + dir + "/deny", false, 65, []string{"/deny: no such file or directory: until it can be read, it denies nobody; make it, if only by touch " + dir + "/deny"}},
		{"trusted=everybody", false, 0, []string{"cf:6: trusted: everybody may send mail to anywhere"}},
		{"trusted=0.0.0.0/0", false, 78, []string{"cf:6: trusted: 0.0.0.0/0 is as good as everybody: ", "or write everybody where"}},
		{"trusted-users=root,nosuch-account", false, 0, []string{"cf:6: trusted-users: there is no account \"nosuch-account\""}},
		{"log=file:" + dir + "/nodir/x", false, 78, []string{"nodir/x: no such file", "mkdir -p " + dir + "/nodir; option log"}},
		{"log=file:" + dir, false, 78, []string{"is a directory"}},
		{"default-user=root\nlog=file:" + dir + "/nodir/x", true, 78, []string{"has uid 0", "no such file"}},
		{"mailbox=~/Maildir", false, 0, []string{"warning: mailbox=~/Maildir is one file", "mailbox=~/Maildir/\n"}},
		{"mailbox=~/Maildir/", false, 0, nil},
		{"mailbox=~/mbox", false, 0, nil},
		{"tls-cert=", false, 0, []string{"note: tls-cert is not set: clients are offered TLS with a self-signed certificate"}},
		{"tls-cert=" + cert(90), false, 0, []string{"for one.example, it ends in 90 days"}},
		{"tls-cert=" + cert(14), false, 0, []string{"warning: ", "it ends in 14 days, renew it"}},
		{"tls-cert=" + cert(-3), false, 0, []string{"warning: ", "it has ended 2 days ago, renew it"}},
		{"tls-cert=" + dir + "/none.pem", false, 78, []string{"cf:6: tls-cert: open " + dir + "/none.pem: no such file"}},
		{"tls-cert=" + cert(91) + "\ntls-key=" + cert(92), false, 78, []string{"is not that of the certificate"}},
		{"tls-cert=" + cert(93) + "\ntls-key=/a,/b", false, 78, []string{"cf:7: tls-key: tls-key has 2 files and tls-cert 1"}},
		{"tls-cert=none," + cert(94), false, 78, []string{"cf:6: tls-cert: tls-cert=none stands beside a certificate"}},
		{"tls-cert=none\nmsps", false, 78, []string{"cf:7: msps: msps is a port where TLS comes first"}},
		{"msp=2587\nmsps=2587\ntls-cert=", false, 78, []string{"cf:7: msps: msp and msps are both port 2587"}},
		{"msps=25\ntls-cert=", false, 78, []string{"cf:6: msps: it is port 25, where other servers"}},
		{"tls-cert=" + readable(t, cert(95)), false, 0, []string{"warning: " + dir, "everybody on this machine may read the key", "chmod o-r " + dir}},
	} {
		if tt.root && !root {
			continue
		}
		lines, good := tt.lines+"\n", good
		for name := range strings.SplitSeq("queue-dir run-dir mail-dir", " ") {
			if strings.Contains(lines, name+"=") {
				good = strings.Replace(good, name+"=", "#", 1)
			}
		}
		if !root && !strings.Contains(lines, "listen=") {
			lines += "listen=127.0.0.1:2599\n"
		}
		if root && !strings.Contains(lines, "server-user") {
			lines += "server-user=nobody\n"
		}
		if root && !strings.Contains(lines, "default-user") {
			lines += "default-user=daemon\n"
		}
		if !strings.Contains(lines, "tls-cert") {
			lines += "tls-cert=none\n"
		}
		if !strings.Contains(lines, "log=") {
			lines += "log=stderr\n"
		}
		conf := filepath.Join(dir, "cf")
		if err := os.WriteFile(conf, []byte(good+lines), 0o644); err != nil {
			t.Fatal(err)
		}
		var out strings.Builder
		env := &cmdline.Env{Stdin: strings.NewReader(""), Stdout: &out, Stderr: &out}
		code := programs().Run(t.Context(), env, []string{"config", "-C", conf, "--check"})
		if code != tt.code || len(tt.says) == 0 && out.Len() > 0 {
			t.Errorf("%q: exit %d, want %d, said\n%s", tt.lines, code, tt.code, &out)
		}
		for _, want := range tt.says {
			if !strings.Contains(out.String(), want) {
				t.Errorf("%q: said\n%s\nwant %q", tt.lines, &out, want)
			}
		}
	}
}

// asMailDir makes a directory of a test's one where everybody's mailboxes may be, and
// reachable.
func asMailDir(t *testing.T, dir string) {
	t.Helper()
	if err := os.Chmod(dir, 0o775); err != nil {
		t.Fatal(err)
	}
	if top := filepath.Dir(dir); top != filepath.Clean(os.TempDir()) {
		if err := os.Chmod(top, 0o755); err != nil {
			t.Fatal(err)
		}
	}
}

// Where no server could be started to ask, which has said why, nothing is shown
// for the address, and the exit code is that server's.
func TestRouteNoServer(t *testing.T) {
	for _, asJSON := range []bool{false, true} {
		var out strings.Builder
		env := &cmdline.Env{Program: "sendmail", Stdout: &out, Stderr: &out, Args: []string{"alice", "bob"}}
		ask := func(context.Context, string, string) ([]control.Step, error) {
			return nil, cmdline.ExitWith(78, cmdline.ErrAnswered)
		}
		err := showEach(t.Context(), env, ask, "root", asJSON, worse)
		if code := env.Finish(err); code != 78 || out.Len() > 0 {
			t.Errorf("json %v: exit %d, said %q", asJSON, code, &out)
		}
	}
}

// certFile is a certificate with its key that ends so many days from now.
func certFile(t *testing.T, dir string, days int) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"one.example"}, NotBefore: now.AddDate(-1, 0, 0), NotAfter: now.Add(time.Duration(days)*24*time.Hour + time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, fmt.Sprintf("cert%d.pem", days))
	text := append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})...)
	if err := os.WriteFile(name, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// readable lets everybody read a file.
func readable(t *testing.T, name string) string {
	t.Helper()
	if err := os.Chmod(name, 0o644); err != nil {
		t.Fatal(err)
	}
	return name
}
