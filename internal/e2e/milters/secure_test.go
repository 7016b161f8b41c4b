//go:build e2e

package milters

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"os"
	"strings"
	"testing"
	"time"

	"postoffice/internal/e2e/lan"
	"postoffice/internal/testenv"
)

// secureDifferences are those of sessions with TLS, a login, refused recipients and unknown
// commands, beside the usual ones.
var secureDifferences = [...]difference{
	{"H cert_subject", "here alone: Postfix tells of verified certificates, and here none is verified, as verify says"},
	{"H cert_issuer", "here alone, the same"},
	{"H verify", "here alone: sendmail's"},
	{"M auth_ssf", "here alone: sendmail's"},
	{"R rcpt_addr", "of a refused recipient the reply's words, each server's own"},
	{"U", "the command with its arguments, as sendmail says it; Postfix says the word. Behind AUTH none is told here, since it may be a password"},
}

// dovecotAuth has one user, whom both servers ask about.
const dovecotAuth = `
protocols =
default_login_user = nobody
default_internal_user = mail
default_internal_group = mail
base_dir = DIR/dovecot
state_dir = DIR/dovecot-state
log_path = DIR/dovecot.log
ssl = no
auth_mechanisms = plain
passdb {
  driver = passwd-file
  args = username_format=%u DIR/dovecot.users
}
userdb {
  driver = static
  args = uid=mail gid=mail home=DIR
}
service auth {
  unix_listener DIR/auth {
    mode = 0666
  }
}
`

// TestSecureBesidePostfix: a client that shows a certificate, logs in, names a recipient that
// nobody is and says what no server knows: the filter hears the same of both servers, but for
// the differences in the tables.
func TestSecureBesidePostfix(t *testing.T) {
	l := lan.New(t)
	l.DNS("client.test. IN A 10.77.0.2", "2.0.77.10.in-addr.arpa. IN PTR client.test.", "far.test. IN MX 10 sink.test.", "sink.test. IN A 10.77.0.3")
	client, far := l.Host("client.test"), l.Host("sink.test")
	newSink(far)
	site, postfix := l.Host("one.test").Install(), l.Host("two.test")
	socket := site.Path("filter.sock")
	filter(site, socket, "/usr/bin/python3", program(site, "beside.py"), socket)
	ours, theirs := newBeside(site.Host, socket), newBeside(postfix, socket)
	cert, key := pair(t, site, "server")
	auth := dovecot(postfix, "joe:{PLAIN}sesame\n")
	logins := site.Path("logins")
	lan.WriteFile(t, logins, "@client.test joe\n")
	site.Configure("listen="+site.IP+":25", "filter="+site.Path("record.sock")+" name=tested fail=tempfail",
		"hostname=mail.test", "local-domains=mail.test", "relay-host=["+far.IP+"]",
		"tls-cert="+cert, "tls-key="+key, "tls-ask=yes", "auth=dovecot:"+auth, "auth-port25=yes", "sender-logins="+logins)
	site.Serve()
	postfix.Postfix("myhostname=mail.test", "mydestination=mail.test", "mynetworks=127.0.0.1", "relayhost=["+far.IP+"]",
		"smtpd_milters=unix:"+postfix.Path("record.sock"), "milter_default_action=tempfail", "local_recipient_maps=unix:passwd.byname",
		"smtpd_tls_cert_file="+cert, "smtpd_tls_key_file="+key, "smtpd_tls_security_level=may", "smtpd_tls_ask_ccert=yes",
		"smtpd_sasl_auth_enable=yes", "smtpd_sasl_type=dovecot", "smtpd_sasl_path="+auth)
	own, _ := testenv.Certificate(t, "client.test")
	for name, version := range map[string]uint16{"older": tls.VersionTLS12, "newer": tls.VersionTLS13} {
		for _, b := range []*beside{ours, theirs} {
			b.secure(client, name, &tls.Config{InsecureSkipVerify: true, MaxVersion: version, Certificates: []tls.Certificate{own}})
		}
	}
	sameWords(t, ours, theirs, secureDifferences[:], differences[:])
}

// pair writes a certificate and its key.
func pair(t *testing.T, s *lan.Site, name string) (cert, key string) {
	c, _ := testenv.Certificate(t, "mail.test")
	der, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	cert, key = s.Path(name+".pem"), s.Path(name+".key")
	lan.WriteFile(t, cert, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Certificate[0]})))
	lan.WriteFile(t, key, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})))
	if err := os.Chmod(key, 0o600); err != nil {
		t.Fatal(err)
	}
	return cert, key
}

// dovecot starts Dovecot's service for logins, and returns its socket.
func dovecot(h *lan.Host, users string) (socket string) {
	t := h.T
	h.Lay("dovecot-core")
	lan.WriteFile(t, h.Path("dovecot.users"), users)
	conf, socket := h.Path("dovecot.conf"), h.Path("auth")
	lan.WriteFile(t, conf, strings.ReplaceAll(dovecotAuth, "DIR", h.Dir))
	h.Start(h.Command(t.Context(), "dovecot", "-F", "-c", conf))
	lan.Until(t, 20*time.Second, "Dovecot listens", func() bool { _, err := os.Stat(socket); return err == nil })
	return socket
}

// secure sends two messages in a session with TLS and a login, the second with the parameter
// AUTH. The session's beginning counts for the first.
func (b *beside) secure(client *lan.Host, name string, conf *tls.Config) {
	t := b.T
	conn, err := client.Dial(b.IP + ":25")
	if err != nil {
		t.Fatal(err)
	}
	d, err := lan.NewDialogue(conn, "client.test")
	if err != nil {
		t.Fatal(err)
	}
	defer d.Conn.Close()
	say := func(line, code string) {
		t.Helper()
		if err := d.Expect(line, code); err != nil {
			t.Fatalf("%s: %s: %v", b.Name, line, err)
		}
	}
	say("FROBNICATE the mail", "50")
	say("STARTTLS", "220")
	d.Conn = tls.Client(conn, conf)
	d.R = bufio.NewReader(d.Conn)
	say("EHLO client.test", "250")
	say("AUTH PLAIN "+base64.StdEncoding.EncodeToString([]byte("\x00joe\x00sesame")), "235")
	for _, more := range []string{"", " AUTH=ann@client.test"} {
		say("MAIL FROM:<none."+name+"@client.test>"+more, "250")
		say("RCPT TO:<a@far.test>", "250")
		say("RCPT TO:<nobody.at.all@mail.test>", "550")
		say("RCPT TO:<b@far.test>", "250")
		say("DATA", "354")
		say(top+"Subject: x\r\n\r\nx\r\n.", "250")
	}
	say("RSET", "250")
	d.Quit()
	lan.Until(t, 10*time.Second, "the filter hears of the end", func() bool {
		b.rec.mu.Lock()
		defer b.rec.mu.Unlock()
		n := len(b.rec.lines)
		return n > 0 && b.rec.lines[n-1] == "Q "
	})
	b.seen[name] = b.rec.take()
}
