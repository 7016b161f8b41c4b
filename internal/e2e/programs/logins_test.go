//go:build e2e

package programs

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"postoffice/internal/e2e/lan"
)

const dovecotLogins = `
protocols = lmtp
base_dir = /run/dovecot
log_path = LOG
mail_location = maildir:~/Maildir
ssl = no
auth_mechanisms = plain cram-md5 scram-sha-256 anonymous
auth_failure_delay = 0
passdb {
  driver = passwd-file
  args = scheme=PLAIN /etc/logins
}
userdb {
  driver = passwd
}
service auth {
  unix_listener postoffice-auth {
    user = postoffice
    mode = 0600
  }
}
`

// loginClient logs in by Python's smtplib: server, mechanism, name, password, sender.
const loginClient = `import smtplib, ssl, sys
server, mechanism, name, password, sender = sys.argv[1:]
c = ssl.create_default_context()
c.check_hostname, c.verify_mode = False, ssl.CERT_NONE
with smtplib.SMTP(server, 587, timeout=60) as s:
    s.ehlo()
    print("clear", s.esmtp_features.get("auth"))
    s.starttls(context=c)
    s.ehlo()
    print("tls", s.esmtp_features.get("auth"))
    s.user, s.password = name, password
    if mechanism:
        print(s.auth(mechanism.upper(), getattr(s, "auth_" + mechanism.replace("-", "_")))[0])
    print(s.mail(sender)[0], s.rcpt("bob@one.test")[0])
`

// TestLoginsByDovecot: Dovecot knows the passwords of those who send from elsewhere; while
// it is away a login is not possible now, and no wrong password.
func TestLoginsByDovecot(t *testing.T) {
	s := boxSite(t, map[string]string{
		"/etc/logins": "alice:sesame\nbob:{PLAIN}also secret\n",
	}, "auth=dovecot:/run/dovecot/postoffice-auth", "msp=yes", "sender-logins=/etc/senders")
	s.Run("sh", "-c", "echo shared@far.test bob >/etc/senders")
	s.Serve()
	stranger := s.LAN.Host("client.test")
	try := func(mechanism, name, password, sender, want string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()
		out, _ := stranger.Command(ctx, "python3", "-c", loginClient, s.IP, mechanism, name, password, sender).CombinedOutput()
		if !strings.Contains(string(out), want) {
			t.Errorf("%s as %s: want %q in\n%s", mechanism, name, want, out)
		}
	}
	try("plain", "alice", "sesame", "alice@one.test", "4.7.0 logins can't be checked now")
	dovecot := startDovecot(s, dovecotLogins)
	lan.Until(t, 20*time.Second, "Dovecot listens", func() bool {
		_, err := s.Try("test", "-S", "/run/dovecot/postoffice-auth")
		return err == nil
	})
	try("", "", "", "alice@one.test", "clear None\ntls  PLAIN LOGIN\n530")
	for _, mechanism := range []string{"plain", "login", "cram-md5"} {
		try(mechanism, "alice", "sesame", "alice@one.test", "LOGIN\n235\n250 250")
	}
	for _, mechanism := range []string{"PLAIN", "LOGIN", "CRAM-MD5"} {
		out, err := stranger.Try("swaks", "--server", s.IP, "--port", "587", "--tls", "--auth", mechanism, "--auth-user", "alice", "--auth-password", "sesame",
			"--ehlo", "client.test", "--from", "alice@one.test", "--to", "bob@one.test")
		if err != nil || !strings.Contains(out, "AUTH "+mechanism) {
			t.Errorf("swaks, %s: %v\n%s", mechanism, err, out)
		}
	}
	try("plain", "bob", "also secret", "bob+shop@one.test", "235\n250 250")
	try("login", "bob", "also secret", "shared@far.test", "235\n250 250")
	try("login", "bob", "also secret", "alice@one.test", "235\n553")
	try("plain", "alice", "Sesame", "alice@one.test", "5.7.8 name or password is wrong")
	try("plain", "mallory", "sesame", "alice@one.test", "5.7.8 name or password is wrong")
	dovecot.Stop()
	log, _ := os.ReadFile(s.Log)
	for _, secret := range []string{"sesame", "Sesame", "also secret"} {
		if strings.Contains(string(log), secret) {
			t.Errorf("the log has %q", secret)
		}
	}
	for _, want := range []string{"client logged in", "login refused", "login not possible now", "unix_listener"} {
		if !strings.Contains(string(log), want) {
			t.Errorf("the log doesn't have %q", want)
		}
	}
}

// TestLoginsBySystem: accounts of the machine, whose passwords the system's own tools have
// made and changed, beside a user of a virtual domain; who is locked or expired is not let
// in, nor is root, and what reads the hashes has nothing else.
func TestLoginsBySystem(t *testing.T) {
	s := boxSite(t, nil, "auth=virtual,system", "msp=yes", "vhost-dir=/etc/virtual", "vhost-spool=/var/spool/virtual")
	s.Run(lan.Binary, "vdomain", "-C", s.Config, "add", "v.test")
	s.Run("sh", "-c", `echo 'sesame street' | exec "$0" vpasswd -C "$1" add bob@v.test`, lan.Binary, s.Config)
	s.Run("sh", "-c", `printf '%s\n' 'alice:open sesame' 'carol:open sesame' 'root:open sesame' | chpasswd && # by PAM, Debian's default
		echo 'bob:open barley' | chpasswd -c SHA512 && usermod -s /usr/sbin/nologin alice`)
	s.Serve()
	stranger := s.LAN.Host("client.test")
	try := func(mechanism, name, password, sender, want string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()
		out, _ := stranger.Command(ctx, "python3", "-c", loginClient, s.IP, mechanism, name, password, sender).CombinedOutput()
		if !strings.Contains(string(out), want) {
			t.Errorf("%s as %s: want %q in\n%s", mechanism, name, want, out)
		}
	}
	const refused = "5.7.8 name or password is wrong"
	try("plain", "alice", "open sesame", "alice@one.test", "tls  PLAIN LOGIN\n235\n250 250")
	try("login", "ALICE", "open sesame", "alice+shop@one.test", "235\n250 250")
	try("plain", "bob", "open barley", "bob@one.test", "235\n250 250")
	try("plain", "bob@v.test", "sesame street", "bob@v.test", "235\n250 250")
	try("plain", "alice", "open sesame", "bob@one.test", "235\n553")
	try("plain", "bob", "open sesame", "bob@one.test", refused)
	try("plain", "root", "open sesame", "root@one.test", refused)
	try("plain", "mallory", "open sesame", "alice@one.test", refused)
	try("plain", "carol", "open sesame", "carol@one.test", "235\n250 250")
	s.Run("sh", "-c", "usermod -L carol && chage -E 2020-01-01 bob && echo 'alice:fresh start' | chpasswd")
	try("plain", "carol", "open sesame", "carol@one.test", refused)
	try("plain", "bob", "open barley", "bob@one.test", refused)
	try("plain", "alice", "open sesame", "alice@one.test", refused)
	try("plain", "alice", "fresh start", "alice@one.test", "235\n250 250")
	pid := strings.TrimSpace(s.Run("pgrep", "-u", "65530"))
	if status := s.Run("cat", "/proc/"+pid+"/status"); !strings.Contains(status, "Uid:\t65530\t65530\t65530\t65530\n") || !strings.Contains(status, "CapEff:\t0000000000000000\n") {
		t.Errorf("what reads shadow is\n%s", status)
	}
	log, _ := os.ReadFile(s.Log)
	for _, secret := range []string{"open sesame", "open barley", "fresh start", "$6$", "$y$"} {
		if strings.Contains(string(log), secret) {
			t.Errorf("the log has %q", secret)
		}
	}
	for _, want := range []string{"user=alice mechanism=PLAIN", "carol: the account is locked", "bob: the account has expired", "uid 0"} {
		if !strings.Contains(string(log), want) {
			t.Errorf("the log doesn't have %q", want)
		}
	}
}

// TestLoginPrograms: programs of others log in as a user of a virtual domain that our
// commands made, by each mechanism that both know.
func TestLoginPrograms(t *testing.T) {
	s := boxSite(t, nil)
	ca := certificate(s.Host)
	s.Configure("listen="+s.IP+":25", "msp=yes", "msps=yes", "vhost-dir=/etc/virtual", "vhost-spool=/var/spool/virtual",
		"tls-cert="+ca, "tls-key="+s.Path("chain.pem"))
	s.Run(lan.Binary, "vdomain", "-C", s.Config, "add", "v.test")
	s.Run("sh", "-c", `echo 'sesame street' | exec "$0" vpasswd -C "$1" add bob@v.test`, lan.Binary, s.Config)
	s.Serve()
	s.Run("sh", "-c", "printf 'Subject: by a program\\n\\ntext\\n' >/tmp/letter")
	msmtp := func(auth string) string {
		return "msmtp --host=" + s.IP + " --port=587 --tls=on --tls-certcheck=off --auth=" + auth + " --user=bob@v.test --passwordeval='echo sesame street' --from=bob@v.test alice@one.test </tmp/letter"
	}
	mutt := func(url, auth string) string {
		return `mutt -n -F /dev/null -e 'set from=bob@v.test use_from=yes envelope_from_address=bob@v.test use_envelope_from=yes copy=no smtp_url="` + url +
			`" smtp_pass="sesame street" smtp_authenticators="` + auth + `" ssl_force_tls=yes certificate_file="` + ca + `"' -s mutt alice@one.test </tmp/letter`
	}
	gsasl := func(mechanism, versions string) string { // it logs in and ends
		return "gsasl --smtp --connect=" + s.IP + ":587 --starttls --x509-ca-file= --priority=NORMAL:-VERS-ALL:" + versions + " --mechanism=" + mechanism + " --authentication-id=bob@v.test --password='sesame street' </dev/null"
	}
	for _, tt := range []struct{ name, mechanism, run string }{
		{"swaks, PLAIN", "PLAIN", "swaks --server " + s.IP + " --port 587 --tls --auth PLAIN --auth-user bob@v.test --auth-password 'sesame street' --from bob@v.test --to alice@one.test"},
		{"swaks, LOGIN on 465", "LOGIN", "swaks --server " + s.IP + " --port 465 --tls-on-connect --auth LOGIN --auth-user bob@v.test --auth-password 'sesame street' --from bob@v.test --to alice@one.test"},
		{"curl", "", "curl -sSk --ssl-reqd --url smtp://" + s.IP + ":587 --user 'bob@v.test:sesame street' --mail-from bob@v.test --mail-rcpt alice@one.test -T /tmp/letter"},
		{"curl on 465", "PLAIN", "curl -sSk --url smtps://" + s.IP + ":465 --login-options AUTH=PLAIN --user 'bob@v.test:sesame street' --mail-from bob@v.test --mail-rcpt alice@one.test -T /tmp/letter"},
		{"msmtp, PLAIN", "PLAIN", msmtp("plain")},
		{"mutt, PLAIN", "PLAIN", mutt("smtp://bob@v.test@one.test:587/", "plain")},
		{"mutt, SCRAM-SHA-256 on 465", "SCRAM-SHA-256", mutt("smtps://bob@v.test@one.test:465/", "scram-sha-256")},
		{"msmtp, SCRAM-SHA-256", "SCRAM-SHA-256", msmtp("scram-sha-256")},
		{"gsasl, bound to TLS 1.3", "SCRAM-SHA-256-PLUS", gsasl("SCRAM-SHA-256-PLUS", "+VERS-TLS1.3")},
		{"gsasl, bound to TLS 1.2", "SCRAM-SHA-256-PLUS", gsasl("SCRAM-SHA-256-PLUS", "+VERS-TLS1.2")},
	} {
		if strings.HasPrefix(tt.mechanism, "SCRAM") { // it is found out beside the first logins
			lan.Until(t, time.Minute, "SCRAM is offered", func() bool {
				out, _ := s.Try("curl", "-sSkv", "--ssl-reqd", "smtp://"+s.IP+":587", "-X", "NOOP")
				return strings.Contains(out, "SCRAM-SHA-256")
			})
		}
		before, _ := os.ReadFile(s.Log)
		out, err := s.Try("sh", "-c", tt.run)
		said := ""
		lan.Until(t, 20*time.Second, tt.name+": the log has it", func() bool { // the client may be gone before
			after, _ := os.ReadFile(s.Log)
			said = string(after[len(before):])
			return err != nil || strings.HasPrefix(tt.name, "gsasl") || strings.Contains(said, "message queued")
		})
		if err != nil || !strings.Contains(said, "client logged in") || !strings.Contains(said, "user=bob@v.test mechanism="+tt.mechanism) || !strings.HasPrefix(tt.name, "gsasl") && !strings.Contains(said, "message queued") {
			t.Errorf("%s: %v\n%s\nthe log: %s", tt.name, err, out, said)
		}
	}
	log, _ := os.ReadFile(s.Log)
	if strings.Contains(string(log), "sesame") {
		t.Error("the log has the password")
	}
}
