//go:build e2e

package programs

import (
	"crypto/x509"
	"encoding/pem"
	"os"
	"strings"
	"testing"
	"time"

	"postoffice/internal/e2e/lan"
	"postoffice/internal/testenv"
)

const dovecotSASL = `
protocols = lmtp
base_dir = /run/dovecot
log_path = LOG
mail_location = maildir:~/Maildir
ssl = no
auth_mechanisms = plain login cram-md5 scram-sha-256
auth_failure_delay = 0
passdb {
  driver = passwd-file
  args = scheme=PLAIN /etc/logins
}
userdb {
  driver = passwd
}
service auth {
  inet_listener {
    address = 127.0.0.1
    port = 12345
  }
}
`

// demandingSmarthost is a Postfix that takes mail on 465 and 587 from whoever logs in, by
// what Dovecot knows, and one.test beside it. ca is the file of its certificate.
func demandingSmarthost(t *testing.T, settings ...string) (one *lan.Site, smart *lan.Host, ca string) {
	t.Helper()
	host, smart, ca := smarthostBeside(t, "smart.test", "alice@one.test")
	one = host.Install(append([]string{"relay-passwords=" + host.Path("passwords"), "relay-tls=" + ca}, settings...)...)
	return one, smart, ca
}

// smarthostBeside is the same of a name, with a user whose password is "open sesame", and
// a host without a server.
func smarthostBeside(t *testing.T, name, user string) (host, smart *lan.Host, ca string) {
	t.Helper()
	host, smart, ca = beside(t, name)
	byDovecot(smart, dovecotSASL, map[string]string{"/etc/logins": user + ":open sesame\n"})
	return host, smart, ca
}

// beside are two hosts, of which the second is to be a smarthost of that name. ca is the
// file of its certificate on the first one.
func beside(t *testing.T, name string) (host, smart *lan.Host, ca string) {
	t.Helper()
	l := lan.New(t)
	l.DNS("one.test. IN A 10.77.0.2", "one.test. IN MX 10 one.test.", name+". IN A 10.77.0.3", name+". IN MX 10 nowhere.test.")
	host = l.Host("one.test")
	smart = l.Host(name, lan.Account("dovecot", 905), lan.Account("dovenull", 906))
	return host, smart, certificate(smart)
}

// certificate makes a host one for its name, with its key in chain.pem and without in
// ca.pem.
func certificate(h *lan.Host) (ca string) {
	h.T.Helper()
	cert, _ := testenv.Certificate(h.T, h.Name)
	key, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	if err != nil {
		h.T.Fatal(err)
	}
	public := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Certificate[0]}))
	chain := h.Path("chain.pem")
	lan.WriteFile(h.T, chain, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}))+public)
	if err := os.Chmod(chain, 0o600); err != nil {
		h.T.Fatal(err)
	}
	ca = h.Path("ca.pem")
	lan.WriteFile(h.T, ca, public)
	return ca
}

// demanding starts a Postfix that takes mail on 465 and 587 from whoever logs in, and says
// in the message who that was.
func demanding(smart *lan.Host, settings ...string) {
	smart.T.Helper()
	const login = " inet n - n - - smtpd -o smtpd_sasl_auth_enable=yes -o smtpd_tls_auth_only=yes -o smtpd_relay_restrictions=permit_sasl_authenticated,reject "
	smart.Postfix(append(settings, "smtpd_sasl_authenticated_header=yes",
		"smtpd_tls_chain_files="+smart.Path("chain.pem"), "virtual_alias_domains=far.test", "virtual_alias_maps=static:bob",
		"+submission"+login+"-o smtpd_tls_security_level=encrypt", "+submissions"+login+"-o smtpd_tls_wrappermode=yes")...)
	smart.Listening("465")
	smart.Listening("587")
}

// byDovecot has a smarthost ask a Dovecot beside it who may log in.
func byDovecot(smart *lan.Host, conf string, files map[string]string) {
	smart.T.Helper()
	demanding(smart, "smtpd_sasl_type=dovecot", "smtpd_sasl_path=inet:127.0.0.1:12345")
	site := smart.Install() // Dovecot's root; no server of ours runs there
	ownRoot(site, files)
	startDovecot(site, conf)
	smart.Listening("12345")
}

// startDovecot starts Dovecot in a site's root; its log is in the place of LOG.
func startDovecot(s *lan.Site, conf string) *lan.Process {
	s.T.Helper()
	name, log := s.Path("dovecot.conf"), s.Path("dovecot.log")
	lan.WriteFile(s.T, name, strings.Replace(conf, "LOG", log, 1))
	s.T.Cleanup(func() {
		if s.T.Failed() {
			text, _ := os.ReadFile(log)
			s.T.Logf("Dovecot's log:\n%s", lan.Tail(string(text), 30))
		}
	})
	return s.Start(s.Command(s.T.Context(), "dovecot", "-F", "-c", name))
}

// TestProviderPage does what docs/provider.md says, as it stands there.
func TestProviderPage(t *testing.T) {
	host, smart, ca := smarthostBeside(t, "smtp.provider.example", "me@example.org")
	page, err := os.ReadFile("../../../docs/provider.md")
	if err != nil {
		t.Fatal(err)
	}
	authority, err := os.ReadFile(ca)
	if err != nil {
		t.Fatal(err)
	}
	s := host.Install("run-dir=/run/postoffice")
	ownRoot(s, map[string]string{"/etc/ssl/certs/ca-certificates.crt": string(authority)})
	s.Config = "/etc/postoffice.cf"
	s.Start(s.Command(t.Context(), "smtpd", "-bD"))
	lan.Until(t, 20*time.Second, "the server answers", func() bool { return lan.Contains(s.Log, "server ready") })
	var script strings.Builder
	for line := range strings.Lines(string(page)) {
		if text, ok := strings.CutPrefix(line, "    "); ok {
			script.WriteString(text)
		}
	}
	out := s.Run("sh", "-euc", script.String())
	if !strings.Contains(out, "me@example.org is logged in, by SCRAM-SHA-256.") || !strings.Contains(out, "Nothing was sent.") {
		t.Errorf("check-relay:\n%s", out)
	}
	box := smart.Path("pf", "mail", "bob")
	lan.Until(t, 60*time.Second, "the provider has it", func() bool { return lan.Contains(box, "Subject: through the provider") })
	if text, err := os.ReadFile(box); err != nil || !strings.HasPrefix(string(text), "From me@example.org ") || !strings.Contains(string(text), "\nFrom: me@example.org\n") {
		t.Errorf("%v\n%s", err, text)
	}
}

// password writes the site's file of passwords.
func password(s *lan.Site, text string) {
	s.T.Helper()
	name := s.Path("passwords")
	lan.WriteFile(s.T, name+".new", "smart.test alice@one.test "+text+"\n")
	if err := os.Chmod(name+".new", 0o600); err != nil {
		s.T.Fatal(err)
	}
	if err := os.Rename(name+".new", name); err != nil {
		s.T.Fatal(err)
	}
}

// reload has the site's server read its configuration again.
func reload(s *lan.Site, settings ...string) {
	s.T.Helper()
	before := countLines(s.Log, "configuration reloaded")
	s.Configure("listen="+s.IP+":25", settings...)
	s.Run("sh", "-c", "kill -HUP $(cat "+s.Path("run", "postoffice.pid")+")")
	lan.Until(s.T, 20*time.Second, "the configuration is read again", func() bool { return countLines(s.Log, "configuration reloaded") > before })
}

func countLines(file, text string) int {
	b, _ := os.ReadFile(file)
	return strings.Count(string(b), text)
}

// TestSmarthost: mail goes through a Postfix that demands a login, at both of its ports
// and by each mechanism that it offers.
func TestSmarthost(t *testing.T) {
	one, smart, ca := demandingSmarthost(t, "relay-host=submissions://alice@one.test@smart.test")
	password(one, "open sesame")
	lan.WriteFile(t, one.Path("senders"), "carol carol@elsewhere.test\n")
	one.Serve()
	box := smart.Path("pf", "mail", "bob")
	for i, relay := range []string{
		"submissions://alice@one.test@smart.test", "submission://alice@one.test@smart.test", "smart.test:465", // the last one logs nobody in
		"submissions://alice@one.test;auth=SCRAM-SHA-256@smart.test", "submission://alice@one.test;auth=PLAIN@smart.test",
		"submissions://alice@one.test;auth=LOGIN@smart.test", "submissions://alice@one.test;auth=CRAM-MD5@smart.test",
	} {
		reload(one, "relay-passwords="+one.Path("passwords"), "relay-tls="+ca, "relay-host="+relay, "masquerade=example.test", "sender-map="+one.Path("senders"))
		subject := "Subject: by way " + string(rune('a'+i))
		one.Submit("alice", subject+"\n\nhello\n", "-i", "bob@far.test")
		if strings.HasPrefix(relay, "smart.test") {
			lan.Until(t, 30*time.Second, "it waits", func() bool {
				return strings.Contains(one.Applet("mailq"), "(relay-host takes mail only from whoever logs in: ")
			})
			continue
		}
		lan.Until(t, 60*time.Second, relay+" takes it", func() bool { return lan.Contains(box, subject) })
	}
	text, err := os.ReadFile(box)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(text), "(Authenticated sender: alice@one.test)"); n < 6 {
		t.Errorf("%d of 6 messages by a login:\n%s", n, text)
	}
	one.Submit("carol", "From: carol (Cron Daemon)\nTo: alice@one.test\nSubject: her own\n\n", "-i", "bob@far.test", "alice@one.test")
	lan.Until(t, 60*time.Second, "carol's mail is there", func() bool {
		return lan.Contains(box, "Subject: her own") && lan.Contains(one.Mailbox("alice"), "Subject: her own")
	})
	for file, want := range map[string][]string{
		box:                  {"From alice@example.test ", "<alice@example.test>\n", "From carol@elsewhere.test ", "From: carol@elsewhere.test (Cron Daemon)\nTo: alice@one.test\n"},
		one.Mailbox("alice"): {"From carol@one.test ", "From: carol@one.test (Cron Daemon)\n"}, // it stays here
	} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range want {
			if !strings.Contains(string(text), w) {
				t.Errorf("no %q in\n%s", w, text)
			}
		}
	}
	log, err := os.ReadFile(one.Log)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(log), " verified\"") || strings.Contains(string(log), "open sesame") || strings.Contains(string(log), "login failed") {
		t.Errorf("the log:\n%s", lan.Tail(string(log), 40))
	}
}

// TestSmarthostMended: a password that is refused keeps all mail with one login, and
// another one sends it on by itself.
func TestSmarthostMended(t *testing.T) {
	one, smart, _ := demandingSmarthost(t, "relay-host=submission://alice@one.test@smart.test")
	password(one, "open barley")
	one.Serve()
	const mails = 20
	for range mails {
		one.Submit("bob", "Subject: many\n\n", "-i", "bob@far.test")
	}
	lan.Until(t, 60*time.Second, "all have failed", func() bool { return countLines(one.Log, "delivery deferred") >= mails })
	if n := countLines(one.Log, "login failed"); n != 1 {
		t.Errorf("%d logins for %d messages", n, mails)
	}
	if n := countLines(smart.Path("pf", "log"), "authentication failed"); n != 1 {
		t.Errorf("the smarthost has seen %d failed logins", n)
	}
	if list := one.Applet("mailq"); strings.Count(list, "(login of alice@one.test at smart.test refused: ") != mails {
		t.Errorf("mailq:\n%s", list)
	}
	if list := one.Applet("mailq", "--json"); strings.Count(list, "look at user and password in relay-passwords") < mails {
		t.Errorf("mailq --json:\n%s", list)
	}
	check := func(want int, words ...string) {
		t.Helper()
		cmd := one.Command(t.Context(), lan.Binary, "check-relay", "-C", one.Config)
		text, _ := cmd.CombinedOutput()
		code, out := cmd.ProcessState.ExitCode(), string(text)
		for _, w := range append(words, "There is a password for alice@one.test at smart.test.") {
			if code != want || !strings.Contains(out, w) {
				t.Errorf("check-relay: %d, want %d and %q:\n%s", code, want, w, out)
			}
		}
	}
	check(1, "login of alice@one.test at smart.test refused: look at user and password", "it said: 535 5.7.8")
	password(one, "open sesame")
	one.Drained(2 * time.Minute)
	check(0, "alice@one.test is logged in, by SCRAM-SHA-256.", "certificate that is good", "Nothing was sent.")
	if n := countLines(one.Log, "message delivered"); n < mails {
		t.Errorf("%d of %d delivered", n, mails)
	}
	lan.Until(t, 60*time.Second, "the smarthost has them", func() bool { return countLines(smart.Path("pf", "mail", "bob"), "Subject: many") == mails })
	log, _ := os.ReadFile(one.Log)
	if strings.Contains(string(log), "open ") {
		t.Error("the log has a password")
	}
}
