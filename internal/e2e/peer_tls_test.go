//go:build e2e

package e2e

import (
	"crypto/x509"
	"encoding/pem"
	"os"
	"strings"
	"testing"
	"time"

	"postoffice/internal/testenv"
)

// TestTLSToPeers sends mail to peers that offer STARTTLS: it goes encrypted
// where that works, and in clear where the peer breaks it (A57).
func TestTLSToPeers(t *testing.T) {
	l := newLAN(t)
	names := []string{"one", "good", "exim", "nocert", "old", "broken", "closing"}
	var records []string
	for i, name := range names {
		ip := "10.77.0." + string(rune('2'+i))
		records = append(records, name+".test. IN A "+ip, name+".test. IN MX 10 "+name+".test.")
	}
	l.dns(records...)
	one := l.host("one.test").install()
	one.serve()
	hosts := map[string]*host{}
	for _, name := range names[1:] {
		hosts[name] = l.host(name+".test", eximUsers...)
	}
	good, exim, nocert, old := hosts["good"], hosts["exim"], hosts["nocert"], hosts["old"]
	cert := good.certificate()
	good.postfix("smtpd_tls_security_level=may", "smtpd_tls_chain_files="+cert, "smtpd_tls_loglevel=1", "smtpd_tls_received_header=yes")
	nocert.postfix("smtpd_tls_security_level=may", "smtpd_tls_cert_file="+nocert.path("missing"), "smtpd_tls_loglevel=1")
	old.postfix("smtpd_tls_security_level=may", "smtpd_tls_chain_files="+old.certificate(), "smtpd_tls_loglevel=1",
		"smtpd_tls_protocols=!TLSv1.2,!TLSv1.3", "smtpd_tls_ciphers=low", "tls_low_cipherlist=@SECLEVEL=0:ALL")
	exim.exim()
	offers := []string{"PIPELINING", "SIZE", "8BITMIME", "STARTTLS", "ENHANCEDSTATUSCODES"}
	broken := &testenv.Sink{Hostname: "broken.test", Extensions: offers}
	closing := &testenv.Sink{Hostname: "closing.test", Extensions: offers, Answer: func(ev testenv.Event) testenv.Action {
		return testenv.Action{Drop: ev.Verb == "STARTTLS"}
	}}
	for name, sink := range map[string]*testenv.Sink{"broken": broken, "closing": closing} {
		listener := hosts[name].listen("25")
		go sink.Serve(listener)
		t.Cleanup(sink.Close)
	}

	one.submit("alice", "Subject: by TLS or not\n\nhello\n", "-i", "bob@good.test", "bob@exim.test", "bob@nocert.test", "bob@old.test", "bob@broken.test", "bob@closing.test")
	one.drained(90 * time.Second)
	read := func(name string) string {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Error(err)
		}
		return string(b)
	}
	delivered := func(h *host, dir string) string { // the peer took it; it delivers in its own time
		box := h.path(dir, "mail", "bob")
		until(t, 30*time.Second, h.Name+" delivered it", func() bool { return contains(box, "Subject: by TLS or not") })
		return read(box)
	}
	if box := delivered(good, "pf"); !strings.Contains(box, "(using TLSv1.3 with cipher ") {
		t.Errorf("Postfix did not get it by TLS 1.3:\n%s", box)
	}
	if box := delivered(exim, "ex"); !strings.Contains(box, "with esmtps  (TLS1.3)") {
		t.Errorf("Exim did not get it by TLS 1.3:\n%s", box)
	}
	for _, h := range []*host{nocert, old} {
		if box := delivered(h, "pf"); strings.Contains(box, "using TLS") {
			t.Errorf("%s: %s", h.Name, box)
		}
	}
	for _, sink := range []*testenv.Sink{broken, closing} {
		if all := sink.Messages(); len(all) != 1 || all[0].TLS {
			t.Errorf("%s got %d messages", sink.Hostname, len(all))
		}
	}
	log := read(one.log)
	for _, want := range []string{"TLS failed, going on in clear"} {
		if !strings.Contains(log, want) {
			t.Errorf("the log lacks %q", want)
		}
	}
}

// certificate writes a self-signed certificate and its key into one file, as
// Postfix's smtpd_tls_chain_files has it, and returns its name.
func (h *host) certificate() string {
	h.t.Helper()
	cert, _ := testenv.Certificate(h.t, h.Name)
	key, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	if err != nil {
		h.t.Fatal(err)
	}
	name := h.path("cert.pem")
	writeFile(h.t, name, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}))+
		string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Certificate[0]})))
	os.Chmod(name, 0o600)
	return name
}
