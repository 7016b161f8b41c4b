package deliver

import (
	"crypto/tls"
	"crypto/x509"
	"strings"
	"testing"

	"postoffice/internal/smtp"
	"postoffice/internal/testenv"
)

// obedient puts a host at an address that takes what needs TLS.
func (r *rig) obedient(address string) *testenv.Sink {
	cert, _ := testenv.Certificate(r.t, address)
	if r.o.Remote.Roots == nil {
		r.o.Remote.Roots = x509.NewCertPool()
	}
	r.o.Remote.Roots.AddCert(cert.Leaf)
	return r.peer(address, &testenv.Sink{TLS: &tls.Config{Certificates: []tls.Certificate{cert}}, Extensions: []string{"REQUIRETLS"}})
}

// secret queues a message that needs TLS, from a user of this machine who wants all of
// it back.
func (r *rig) secret(from string, to ...string) {
	r.t.Helper()
	r.client, r.params = "alice[uid 1000]", []smtp.Param{{Name: "RET", Value: "FULL"}, {Name: smtp.ParamTLS}}
	r.mailText(plain+"the secret\n", r.now(), from, to...)
	r.client, r.params = "", nil
}

// TestRequireTLS: what needs TLS is in the queue as such, goes on as such, also where an
// alias leads, and into mailboxes; and its report needs TLS too and has the header alone
// (RFC 8689 sections 4 and 5).
func TestRequireTLS(t *testing.T) {
	r := newRig(t)
	r.alias("team: far@[192.0.2.3], bob\n")
	lax := r.peer("192.0.2.1", &testenv.Sink{})
	sender, far := r.obedient("192.0.2.2"), r.obedient("192.0.2.3")
	r.secret("s@[192.0.2.2]", "refused@[192.0.2.1]", "team")
	r.pass() // reads the queue from the disk, as after a restart
	r.want()
	r.wantBox("bob", 1)
	if got := lax.Messages(); len(got) > 0 {
		t.Errorf("a host without TLS got %+v", got)
	}
	if got := far.Messages(); len(got) != 1 || !got[0].TLS || got[0].Mail != "MAIL FROM:<s@[192.0.2.2]> REQUIRETLS" {
		t.Errorf("by the alias went %+v", got)
	}
	got := sender.Messages()
	if len(got) != 1 || !got[0].TLS || got[0].Mail != "MAIL FROM:<> REQUIRETLS" {
		t.Fatalf("the report is %+v\nlog:\n%s", got, r.log)
	}
	p := testenv.ParseReport(t, got[0].Text())
	if strings.Contains(p.Raw, "the secret") || !strings.Contains(p.Original, "Subject: hello\n") {
		t.Errorf("with the report went\n%s", p.Original)
	}
	if st := p.Fields[1].Get("Status"); st != "5.7.10" {
		t.Errorf("status %q in\n%s", st, p.Raw)
	}
	r.wantLog("message delivered", "far@[192.0.2.3]", "TLS 1.3", "verified")
}

// TestRequireTLSNoReportLost: a report about what needed TLS goes also to a host that
// has none, rather than nowhere, and a message that came without it as ever.
func TestRequireTLSNoReportLost(t *testing.T) {
	r := newRig(t)
	lax := r.peer("192.0.2.1", &testenv.Sink{})
	r.secret("s@[192.0.2.1]", "refused@[192.0.2.1]")
	r.mail("s@[192.0.2.1]", "plain@[192.0.2.1]")
	r.pass()
	r.want()
	var mails []string
	for _, m := range lax.Messages() {
		mails = append(mails, m.Mail)
	}
	if got := strings.Join(mails, ", "); len(mails) != 2 || !strings.Contains(got, "MAIL FROM:<>") || !strings.Contains(got, "MAIL FROM:<s@[192.0.2.1]>") {
		t.Errorf("the host has %s\nlog:\n%s", got, r.log)
	}
	r.wantBox("root", 0)
}

// TestTLSRequiredNo: a message with the field TLS-Required: No goes with any certificate,
// and in the clear where TLS can't be had, with its field; with REQUIRETLS the field
// means nothing (RFC 8689 sections 3 and 4.1).
func TestTLSRequiredNo(t *testing.T) {
	r := newRig(t)
	cert, _ := testenv.Certificate(t, "another.example")
	wrong := r.peer("192.0.2.1", &testenv.Sink{TLS: &tls.Config{Certificates: []tls.Certificate{cert}}})
	broken := r.peer("192.0.2.2", &testenv.Sink{TLS: &tls.Config{Certificates: []tls.Certificate{cert}}, Answer: func(ev testenv.Event) testenv.Action {
		if ev.Verb == "STARTTLS" {
			return testenv.Action{Reply: "454 4.7.0 not now"}
		}
		return testenv.Action{}
	}})
	text := "TLS-Required: No\n" + plain
	r.mailText(text, r.now(), "alice", "a@[192.0.2.1]", "b@[192.0.2.2]")
	r.pass()
	r.want()
	if got := wrong.Messages(); len(got) != 1 || !got[0].TLS || !strings.HasPrefix(got[0].Text(), "TLS-Required: No\n") {
		t.Errorf("with another's certificate: %+v", got)
	}
	if got := broken.Messages(); len(got) != 1 || got[0].TLS {
		t.Errorf("without TLS: %+v", got)
	}
	r.params = []smtp.Param{{Name: smtp.ParamTLS}}
	r.mailText(text, r.now(), "alice", "c@[192.0.2.1]")
	r.o.Remote.Roots = x509.NewCertPool()
	r.pass()
	if n := len(wrong.Messages()); n != 1 {
		t.Errorf("with REQUIRETLS and the field %d messages went", n-1)
	}
	if p := testenv.ParseReport(t, r.wantBox("alice", 1)[0]); p.Fields[1].Get("Status") != "5.7.10" {
		t.Errorf("the report:\n%s", p.Raw)
	}
}
