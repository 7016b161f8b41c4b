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
)

// config --check says what a server would refuse to start with, all of it at once,
// and warns of a Maildir that is taken for a file.
func TestConfigCheck(t *testing.T) {
	dir := t.TempDir()
	good := "queue-dir=" + dir + "/q\nrun-dir=" + dir + "/run\nmail-dir=" + dir + "\naliases=" + dir + "/aliases\nhostname=one.example\n"
	root := os.Getuid() == 0
	cert := func(days int) string { return certFile(t, dir, days) }
	for _, tt := range []struct {
		lines string
		root  bool // a private server has no such account
		code  int
		says  []string
	}{
		{"", false, 0, nil},
		{"listen=127.0.0.1:25\nlog=file:" + dir + "/log,stderr,syslog", false, 0, nil},
		{"server-user=nosuch-account", true, 78, []string{`"nosuch-account"`, "hint: make it: useradd"}},
		{"server-user=root", true, 78, []string{"server-user=root is root"}},
		{"default-user=root", true, 78, []string{"default-user=root has uid 0", "hint: option default-user"}},
		{"default-user=auto\nserver-user=mail", true, 0, []string{"warning: programs of aliases run as nobody, but other programs of this machine run as it too", "useradd --system"}},
		{"default-user=nobody", true, 0, []string{"but the server runs as it too"}},
		{"default-user=daemon", true, 0, nil},
		{"relay", false, 78, []string{"relay=yes would let everybody send mail", "hint: take it out, or write relay=bs, and name the clients"}},
		{"relay=no", false, 0, []string{"note: ", "relay: it held for sendmail -bs alone"}},
		{"listen=25", false, 78, []string{`want host:port, :port or host, got "25"`}},
		{"listen=no.such.invalid:25", false, 78, []string{"listen on no.such.invalid:25", "hint: the name must be in /etc/hosts"}},
		{"log=file:" + dir + "/nodir/x", false, 78, []string{"nodir: no such file", "hint: option log"}},
		{"log=file:" + dir, false, 78, []string{"is a directory"}},
		{"default-user=root\nlog=file:" + dir + "/nodir/x", true, 78, []string{"has uid 0", "no such file"}},
		{"mailbox=~/Maildir", false, 0, []string{"warning: mailbox=~/Maildir is one file", "mailbox=~/Maildir/\n"}},
		{"mailbox=~/Maildir/", false, 0, nil},
		{"mailbox=~/mbox", false, 0, nil},
		{"tls-cert=", false, 0, []string{"note: tls-cert is not set: clients are offered TLS with a self-signed certificate"}},
		{"tls-cert=" + cert(90), false, 0, []string{"for one.example, it ends in 90 days"}},
		{"tls-cert=" + cert(14), false, 0, []string{"warning: ", "it ends in 14 days, renew it"}},
		{"tls-cert=" + cert(-3), false, 0, []string{"warning: ", "it has ended 2 days ago, renew it"}},
		{"tls-cert=" + dir + "/none.pem", false, 78, []string{"tls-cert: open " + dir + "/none.pem: no such file"}},
		{"tls-cert=" + cert(91) + "\ntls-key=" + cert(92), false, 78, []string{"is not that of the certificate"}},
		{"tls-cert=" + cert(93) + "\ntls-key=/a,/b", false, 78, []string{"tls-key has 2 files and tls-cert 1"}},
		{"tls-cert=none," + cert(94), false, 78, []string{"tls-cert=none stands beside a certificate"}},
		{"tls-cert=none\nmsps", false, 78, []string{"msps is a port where TLS comes first"}},
		{"msp=2587\nmsps=2587\ntls-cert=", false, 78, []string{"msp and msps are both port 2587"}},
	} {
		if tt.root && !root {
			continue
		}
		lines := tt.lines + "\n"
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
