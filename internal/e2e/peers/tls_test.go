//go:build e2e

package peers

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"os"
	"strings"
	"testing"
	"time"

	"postoffice/internal/e2e/lan"
	"postoffice/internal/testenv"
)

// TestTLSToPeers sends mail to peers that offer STARTTLS: it goes encrypted
// where that works, and in clear where the peer breaks it (A57).
func TestTLSToPeers(t *testing.T) {
	l := lan.New(t)
	names := []string{"one", "good", "exim", "nocert", "old", "broken", "closing"}
	var records []string
	for i, name := range names {
		ip := "10.77.0." + string(rune('2'+i))
		records = append(records, name+".test. IN A "+ip, name+".test. IN MX 10 "+name+".test.")
	}
	l.DNS(records...)
	one := l.Host("one.test").Install()
	one.Serve()
	hosts := map[string]*lan.Host{}
	for _, name := range names[1:] {
		hosts[name] = l.Host(name+".test", lan.EximUsers...)
	}
	good, exim, nocert, old := hosts["good"], hosts["exim"], hosts["nocert"], hosts["old"]
	cert := certificate(good)
	good.Postfix("smtpd_tls_security_level=may", "smtpd_tls_chain_files="+cert, "smtpd_tls_loglevel=1", "smtpd_tls_received_header=yes")
	nocert.Postfix("smtpd_tls_security_level=may", "smtpd_tls_cert_file="+nocert.Path("missing"), "smtpd_tls_loglevel=1")
	old.Postfix("smtpd_tls_security_level=may", "smtpd_tls_chain_files="+certificate(old), "smtpd_tls_loglevel=1",
		"smtpd_tls_protocols=!TLSv1.2,!TLSv1.3", "smtpd_tls_ciphers=low", "tls_low_cipherlist=@SECLEVEL=0:ALL")
	exim.Exim()
	offers := []string{"PIPELINING", "SIZE", "8BITMIME", "STARTTLS", "ENHANCEDSTATUSCODES"}
	broken := &testenv.Sink{Hostname: "broken.test", Extensions: offers}
	closing := &testenv.Sink{Hostname: "closing.test", Extensions: offers, Answer: func(ev testenv.Event) testenv.Action {
		return testenv.Action{Drop: ev.Verb == "STARTTLS"}
	}}
	for name, sink := range map[string]*testenv.Sink{"broken": broken, "closing": closing} {
		listener := hosts[name].Listen("25")
		go sink.Serve(listener)
		t.Cleanup(sink.Close)
	}

	one.Submit("alice", "Subject: by TLS or not\n\nhello\n", "-i", "bob@good.test", "bob@exim.test", "bob@nocert.test", "bob@old.test", "bob@broken.test", "bob@closing.test")
	one.Drained(90 * time.Second)
	read := func(name string) string {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Error(err)
		}
		return string(b)
	}
	delivered := func(h *lan.Host, dir string) string { // the peer took it; it delivers in its own time
		box := h.Path(dir, "mail", "bob")
		lan.Until(t, 30*time.Second, h.Name+" delivered it", func() bool { return lan.Contains(box, "Subject: by TLS or not") })
		return read(box)
	}
	if box := delivered(good, "pf"); !strings.Contains(box, "(using TLSv1.3 with cipher ") {
		t.Errorf("Postfix did not get it by TLS 1.3:\n%s", box)
	}
	if box := delivered(exim, "ex"); !strings.Contains(box, "with esmtps  (TLS1.3)") {
		t.Errorf("Exim did not get it by TLS 1.3:\n%s", box)
	}
	for _, h := range []*lan.Host{nocert, old} {
		if box := delivered(h, "pf"); strings.Contains(box, "using TLS") {
			t.Errorf("%s: %s", h.Name, box)
		}
	}
	for _, sink := range []*testenv.Sink{broken, closing} {
		if all := sink.Messages(); len(all) != 1 || all[0].TLS {
			t.Errorf("%s got %d messages", sink.Hostname, len(all))
		}
	}
	log := read(one.Log)
	for _, want := range []string{"TLS failed, going on in clear"} {
		if !strings.Contains(log, want) {
			t.Errorf("the log lacks %q", want)
		}
	}
}

// TestTLSTold: whoever asks sees how the session was encrypted by which mail
// went or could not go: in the log, in the queue's file, by mailq and queue.
func TestTLSTold(t *testing.T) {
	l := lan.New(t)
	l.DNS("far.test. IN A 10.77.0.3", "far.test. IN MX 10 far.test.")
	one, far := l.Host("one.test").Install(), l.Host("far.test")
	cert, _ := testenv.Certificate(t, "far.test")
	sink := &testenv.Sink{Hostname: "far.test", TLS: &tls.Config{Certificates: []tls.Certificate{cert}}, Answer: func(ev testenv.Event) testenv.Action {
		if strings.Contains(ev.Line, "later@") {
			return testenv.Action{Reply: "450 4.2.0 greylisted"}
		}
		return testenv.Action{}
	}}
	t.Cleanup(sink.Close)
	go sink.Serve(far.Listen("25"))
	one.Serve()
	one.Submit("alice", "Subject: x\n\n", "-i", "now@far.test", "later@far.test")
	lan.Until(t, 30*time.Second, "one is taken and one waits", func() bool {
		return lan.Contains(one.Log, "message delivered") && lan.Contains(one.Log, "delivery deferred")
	})
	log, err := os.ReadFile(one.Log)
	if err != nil {
		t.Fatal(err)
	}
	var id string
	for line := range strings.Lines(string(log)) {
		if !strings.Contains(line, "message delivered") && !strings.Contains(line, "delivery deferred") {
			continue
		}
		if !strings.Contains(line, `tls="TLS 1.3 TLS_`) {
			t.Errorf("log: %s", line)
		}
		_, id, _ = strings.Cut(line, "qid=")
		id, _, _ = strings.Cut(id, " ")
	}
	file, err := os.ReadFile(one.Path("queue", "queue", id))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ what, got, want string }{
		{"the queue's file", string(file), ` tls="TLS 1.3 TLS_`},
		{"mailq", one.Applet("mailq"), "(over TLS 1.3 TLS_"},
		{"mailq --json", one.Applet("mailq", "--json"), `"tls":"TLS 1.3 TLS_`},
		{"queue show", one.Run(lan.Binary, "queue", "-C", one.Config, "show", id), "over TLS 1.3 TLS_"},
		{"queue show --json", one.Run(lan.Binary, "queue", "-C", one.Config, "show", "--json", id), `"tls":"TLS 1.3 TLS_`},
	} {
		if !strings.Contains(tt.got, tt.want) {
			t.Errorf("%s lacks %q:\n%s", tt.what, tt.want, tt.got)
		}
	}
}

// certificate writes a self-signed certificate and its key into one file, as
// Postfix's smtpd_tls_chain_files has it, and returns its name.
func certificate(h *lan.Host) string {
	h.T.Helper()
	cert, _ := testenv.Certificate(h.T, h.Name)
	key, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	if err != nil {
		h.T.Fatal(err)
	}
	name := h.Path("cert.pem")
	lan.WriteFile(h.T, name, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}))+
		string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Certificate[0]})))
	os.Chmod(name, 0o600)
	return name
}
