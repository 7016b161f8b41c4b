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

// dovecotSubmission is Dovecot's submission service on port 2587: it has the passwords of
// the virtual domain, and gives on what it takes.
const dovecotSubmission = `
protocols = submission
base_dir = /run/dovecot
log_path = LOG
ssl = no
disable_plaintext_auth = no
auth_mechanisms = plain login
auth_username_format = %Lu
auth_failure_delay = 0
first_valid_uid = 1
mail_location = mbox:/var/spool/virtual/%d/.%n:INBOX=/var/spool/virtual/%d/%n
service auth {
  extra_groups = mail
}
service submission-login {
  inet_listener submission {
    port = 2587
  }
}
userdb {
  driver = static
  args = uid=mail gid=mail home=/var/spool/virtual/%d/.%n
}
`

// clearClient logs in without TLS by Python's smtplib and sends a message: server, port,
// name, password, recipient, subject.
const clearClient = `import smtplib, sys
server, port, name, password, to, subject = sys.argv[1:]
with smtplib.SMTP(server, int(port), timeout=60) as s:
    s.login(name, password)
    s.sendmail(name, [to], "Subject: " + subject + "\r\n\r\nhello\r\n")
`

// TestSubmissionProxy: Dovecot's submission service in front of us. Once it checks the
// passwords itself and tells us by XCLIENT who sends, and once it hands client and password
// on to our port 587.
func TestSubmissionProxy(t *testing.T) {
	s := boxSite(t, nil, "msp=yes", "vhost-dir=/etc/virtual", "vhost-spool=/var/spool/virtual", "xclient-from=10.77.0.2")
	s.Run(lan.Binary, "vdomain", "-C", s.Config, "add", "v.test")
	s.Run("sh", "-c", `echo 'sesame street' | exec "$0" vpasswd -C "$1" add bob@v.test`, lan.Binary, s.Config)
	s.Serve()
	stranger := s.LAN.Host("client.test")
	send := func(to, subject string) (string, error) {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()
		out, err := stranger.Command(ctx, "python3", "-c", clearClient, s.IP, "2587", "bob@v.test", "sesame street", to, subject).CombinedOutput()
		return string(out), err
	}

	dovecot := startDovecot(s, dovecotSubmission+"submission_relay_host = "+s.IP+"\nsubmission_relay_port = 25\nsubmission_relay_trusted = yes\n"+
		"passdb {\n  driver = passwd-file\n  args = username_format=%n /etc/virtual/%d/passwd\n}\n")
	s.Listening("2587")
	if out, err := send("alice@one.test", "relayed"); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	lan.Until(t, 30*time.Second, "alice has it", func() bool { return lan.Contains(s.Mailbox("alice"), "Subject: relayed") })
	if out, err := send("amy@far.test", "elsewhere"); err == nil || !strings.Contains(out, "550") {
		t.Errorf("by XCLIENT it goes elsewhere: %v\n%s", err, out) // nothing follows from LOGIN
	}
	log, _ := os.ReadFile(s.Log)
	if text := string(log); !strings.Contains(text, "["+stranger.IP+"]") || !strings.Contains(text, "bob@v.test") {
		t.Error("the log doesn't have the client and its login")
	}
	dovecot.Stop()

	startDovecot(s, dovecotSubmission+"passdb {\n  driver = static\n  args = nopassword=y proxy=y host="+s.IP+" port=587 starttls=any-cert\n}\n")
	s.Listening("2587")
	if out, err := send("amy@far.test", "proxied"); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	lan.Until(t, 30*time.Second, "it is on its way", func() bool { return lan.Contains(s.Log, "to=<amy@far.test> dsn=5.1.2") }) // which DNS doesn't know
	log, _ = os.ReadFile(s.Log)
	if !strings.Contains(string(log), "user=bob@v.test mechanism=PLAIN") {
		t.Error("the log doesn't have the login")
	}
}
