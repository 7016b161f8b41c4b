//go:build e2e

package peers

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postoffice/internal/e2e/lan"
	"postoffice/internal/testenv"
)

// pair writes a certificate and its key into two files and returns their names and the
// certificate's SHA-256, as Postfix writes it.
func pair(h *lan.Host, base, name string) (cert, key, sum string) {
	h.T.Helper()
	c, _ := testenv.Certificate(h.T, name)
	der, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		h.T.Fatal(err)
	}
	cert, key = h.Path(base+".cert"), h.Path(base+".key")
	defer os.Chmod(key, 0o600)
	lan.WriteFile(h.T, cert, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Certificate[0]})))
	lan.WriteFile(h.T, key, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})))
	digest := sha256.Sum256(c.Certificate[0])
	for i, octet := range hex.EncodeToString(digest[:]) {
		if i > 0 && i%2 == 0 {
			sum += ":"
		}
		sum += string(octet)
	}
	return cert, key, strings.ToUpper(sum)
}

// TestTLSOfClients has other programs speak TLS to us, on each port and in each form.
func TestTLSOfClients(t *testing.T) {
	l := lan.New(t)
	records := []string{"one.test. IN A 10.77.0.2", "one.test. IN MX 10 one.test."}
	for ip, name := range map[int]string{3: "stranger", 4: "friend", 5: "verifier", 6: "pinner", 7: "exim"} {
		records = append(records, fmt.Sprintf("%s.test. IN A 10.77.0.%d", name, ip), fmt.Sprintf("%s.test. IN MX 10 %[1]s.test.", name), fmt.Sprintf("%d.0.77.10.in-addr.arpa. IN PTR %s.test.", ip, name))
	}
	l.DNS(records...)
	h := l.Host("one.test")
	stranger, friend := l.Host("stranger.test"), l.Host("friend.test")
	cert, key, sum := pair(h, "archive1", "one.test")
	second, secondKey, _ := pair(h, "second", "two.one.test")
	live := h.Path("live")
	if err := os.Mkdir(live, 0o700); err != nil { // root alone comes there, as with certbot
		t.Fatal(err)
	}
	link := func(target, name string) string {
		name = filepath.Join(live, name)
		os.Remove(name)
		if err := os.Symlink(target, name); err != nil {
			t.Fatal(err)
		}
		return name
	}
	s := h.Install("tls-cert="+link(cert, "fullchain.pem")+","+second, "tls-key="+link(key, "privkey.pem")+","+secondKey,
		"msp", "msps", "tls-ask", "trusted=10.77.0.4")
	s.Serve()

	openssl := func(args string) string {
		out, _ := stranger.Try("sh", "-c", "echo QUIT | timeout 20 openssl s_client -connect "+args+" 2>&1")
		return out
	}
	for _, tt := range []struct{ name, args, want string }{
		{"TLS 1.1", s.IP + ":25 -starttls smtp -tls1_1 -cipher ALL:@SECLEVEL=0", "alert protocol version"},
		{"TLS 1.2", s.IP + ":25 -starttls smtp -tls1_2", "Protocol  : TLSv1.2"},
		{"TLS 1.3", s.IP + ":587 -starttls smtp -tls1_3", "New, TLSv1.3, Cipher is TLS_"},
		{"TLS first", s.IP + ":465 -CAfile " + cert + " -verify_hostname one.test", "Verify return code: 0 (ok)"},
		{"the second name", s.IP + ":465 -servername two.one.test -CAfile " + second + " -verify_hostname two.one.test", "Verify return code: 0 (ok)"},
	} {
		if out := openssl(tt.args); !strings.Contains(out, tt.want) {
			t.Errorf("%s: no %q in\n%s", tt.name, tt.want, out)
		}
	}

	for _, tt := range []struct {
		name string
		from *lan.Host
		exit string
		args []string
		want string
	}{
		{"STARTTLS on 25", stranger, "0", []string{"--tls", "--to", "alice@one.test"}, "~> MAIL FROM"},
		{"STARTTLS on 587", friend, "0", []string{"--tls", "--port", "587", "--to", "alice@one.test"}, "queued as"},
		{"TLS first on 465", friend, "0", []string{"--tls-on-connect", "--port", "465", "--to", "alice@one.test"}, "queued as"},
		{"a stranger on 587", stranger, "23", []string{"--tls", "--port", "587", "--to", "alice@one.test"}, "530 5.7.0"},
		{"a stranger on 465", stranger, "23", []string{"--tls-on-connect", "--port", "465", "--to", "alice@one.test"}, "530 5.7.0"},
	} {
		out, err := tt.from.Try(append([]string{"swaks", "--server", s.IP, "--timeout", "20", "--ehlo", tt.from.Name, "--from", "sender@" + tt.from.Name}, tt.args...)...)
		if exit := exitOf(err); exit != tt.exit || !strings.Contains(out, tt.want) {
			t.Errorf("swaks, %s: exit %s, want %s with %q in\n%s", tt.name, exit, tt.exit, tt.want, out)
		}
	}

	python := `import smtplib, ssl, sys
c = ssl.create_default_context(cafile=sys.argv[2])
c.check_hostname = False
with smtplib.SMTP(sys.argv[1], 587, timeout=20) as s:
    s.starttls(context=c)
    s.sendmail("py@friend.test", ["alice@one.test"], "Subject: py starttls\r\n\r\nx\r\n")
with smtplib.SMTP_SSL(sys.argv[1], 465, timeout=20, context=c) as s:
    s.sendmail("py@friend.test", ["alice@one.test"], "Subject: py ssl\r\n\r\nx\r\n")
`
	if out, err := friend.Try("python3", "-c", python, s.IP, cert); err != nil {
		t.Errorf("smtplib: %v\n%s", err, out)
	}

	verifier, pinner, exim := l.Host("verifier.test"), l.Host("pinner.test"), l.Host("exim.test", lan.EximUsers...)
	verifier.Postfix("smtp_tls_security_level=verify", "smtp_tls_CAfile="+cert, "smtp_tls_loglevel=1")
	pinner.Postfix("smtp_tls_security_level=fingerprint", "smtp_tls_fingerprint_digest=sha256", "smtp_tls_fingerprint_cert_match="+sum, "smtp_tls_loglevel=1")
	exim.Exim()
	for _, peer := range []*lan.Host{verifier, pinner, exim} {
		peer.Run("swaks", "--server", peer.IP, "--timeout", "20", "--ehlo", peer.Name, "--from", "bob@"+peer.Name, "--to", "alice@one.test")
	}
	for _, from := range []string{"stranger.test", "friend.test", "verifier.test", "pinner.test", "exim.test"} {
		lan.Until(t, 40*time.Second, "mail of "+from+" came by TLS", func() bool {
			b, _ := os.ReadFile(s.Mailbox("alice"))
			text := strings.ReplaceAll(string(b), "\n\t", " ")
			return strings.Contains(text, "Received: from "+from+" ("+from+" [") && strings.Contains(text[strings.Index(text, "Received: from "+from):], " by one.test (postoffice) with ESMTPS (version=TLS1_3 cipher=TLS_")
		})
	}

	// A certificate is renewed as certbot does it: links that lead to new files.
	fresh, freshKey, _ := pair(h, "archive2", "one.test")
	link(fresh, "fullchain.pem")
	link(freshKey, "privkey.pem")
	s.Run("sh", "-c", "kill -HUP $(cat "+s.Path("run", "postoffice.pid")+")")
	lan.Until(t, 40*time.Second, "the new certificate is in force", func() bool {
		return strings.Contains(openssl(s.IP+":465 -CAfile "+fresh+" -verify_hostname one.test"), "Verify return code: 0 (ok)")
	})
}

// TestRequireTLSOnward: what a client sends with REQUIRETLS goes on to a server of ours
// that offers it too, with a certificate that is verified; what is for a host without TLS
// comes back, by the same way.
func TestRequireTLSOnward(t *testing.T) {
	l := lan.New(t)
	var records []string
	for i, name := range []string{"one", "two", "lax", "client"} {
		records = append(records, fmt.Sprintf("%s.test. IN A 10.77.0.%d", name, i+2), fmt.Sprintf("%s.test. IN MX 10 %[1]s.test.", name))
	}
	l.DNS(records...)
	hosts := map[string]*lan.Host{}
	for _, name := range []string{"one", "two", "lax", "client"} {
		hosts[name] = l.Host(name + ".test")
	}
	cert, key, _ := pair(hosts["two"], "two", "two.test")
	one, two := hosts["one"].Install("trusted="+hosts["client"].IP), hosts["two"].Install("tls-cert="+cert, "tls-key="+key)
	one.Run("mount", "--bind", cert, "/etc/ssl/certs/ca-certificates.crt") // on this host alone
	one.Serve()
	two.Serve()
	lax := &testenv.Sink{Hostname: "lax.test"}
	go lax.Serve(hosts["lax"].Listen("25"))
	t.Cleanup(lax.Close)
	const program = `import smtplib, ssl, sys
c = ssl.create_default_context()
c.check_hostname, c.verify_mode = False, ssl.CERT_NONE
with smtplib.SMTP(sys.argv[1], timeout=20) as s:
    s.starttls(context=c)
    for to in ["bob@two.test", "bob@lax.test"]:
        s.sendmail("alice@two.test", [to], "Subject: in secret\r\n\r\nthe secret\r\n", mail_options=["REQUIRETLS"])
`
	if out, err := hosts["client"].Try("python3", "-c", program, one.IP); err != nil {
		t.Fatalf("smtplib: %v\n%s", err, out)
	}
	lan.Until(t, 40*time.Second, "the message is at two.test, by TLS", func() bool {
		return lan.Contains(two.Mailbox("bob"), "the secret") && lan.Contains(two.Mailbox("bob"), "with ESMTPS (version=TLS1_3")
	})
	lan.Until(t, 40*time.Second, "a report is there, too", func() bool {
		return lan.Contains(two.Mailbox("alice"), "Status: 5.7.10") && lan.Contains(two.Mailbox("alice"), "Subject: in secret")
	})
	if lan.Contains(two.Mailbox("alice"), "the secret") || len(lax.Messages()) > 0 {
		t.Error("the message went back whole, or to the host without TLS")
	}
	lan.Until(t, 20*time.Second, "two deliveries with a verified host are in the log", func() bool {
		log, err := os.ReadFile(one.Log)
		return err == nil && strings.Count(string(log), ` verified"`) == 2
	})
}
