//go:build e2e

package flow

import (
	"os"
	"strings"
	"testing"
	"time"

	"postoffice/internal/e2e/lan"
	"postoffice/internal/testenv"
)

// ring are virtual domains whose aliases lead round: by names, by both wildcards, and
// through one of this machine's.
func ring(t *testing.T, s *lan.Site) {
	t.Helper()
	list := ""
	for domain, aliases := range map[string]string{
		"ring1.test": "a: a@ring2.test\nlist: a, bob@virtual.test\n", "ring2.test": "a: a@ring1.test\n",
		"wild1.test": "*: *@wild2.test\n", "wild2.test": "*: *@wild1.test\n",
		"own.test": "*: round@one.test\n",
	} {
		list += "alice:" + domain + ":1:\n"
		addDomain(t, s, domain, "carol:{PLAIN}x\n")
		lan.WriteFile(t, s.Path("virtual", domain, "aliases"), aliases)
		os.Chown(s.Path("virtual", domain, "aliases"), lan.Alice.UID, mailUID)
	}
	f, err := os.OpenFile(s.Path("virtual", "domains.cf"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString(list); err != nil {
		t.Fatal(err)
	}
	lan.WriteFile(t, s.Path("aliases"), "round: x@own.test\n")
}

// TestVirtualRing: mail that aliases of virtual domains lead round waits, since the alias
// may be mended, is told of, and comes back to its sender when its time is over, once;
// others of the same list have it.
func TestVirtualRing(t *testing.T) {
	s, client := virtualSite(t, "qreturn=5s")
	ring(t, s)
	s.Serve()
	conn, err := client.Dial(s.IP + ":25")
	if err != nil {
		t.Fatal(err)
	}
	d, err := lan.NewDialogue(conn, "client.test")
	if err != nil {
		t.Fatal(err)
	}
	lost := []string{"a@ring1.test", "x@wild1.test", "y+z@wild2.test", "any@own.test"}
	if err := d.Expect("MAIL FROM:<writer@client.test>", "250"); err != nil {
		t.Error(err)
	}
	for _, to := range lost { // an alias is somebody, wherever it leads
		if err := d.Expect("RCPT TO:<"+to+">", "250"); err != nil {
			t.Errorf("%s: %v", to, err)
		}
	}
	d.Quit()
	s.Submit("bob", "Subject: round\n\n", append([]string{"-i", "list@ring1.test", "carol@wild2.test"}, lost...)...)
	lan.Until(t, 30*time.Second, "what doesn't lead round is delivered", func() bool {
		return lan.Contains(s.Path("vspool", "virtual.test", "bob"), "Subject: round") && lan.Contains(s.Path("vspool", "wild2.test", "carol"), "Subject: round")
	})
	if list := s.Applet("mailq"); !strings.Contains(list, "round") {
		t.Errorf("mailq shows\n%s", list)
	}
	lan.Until(t, time.Minute, "bob has a report", func() bool {
		s.Applet("runq")
		return lan.Contains(s.Mailbox("bob"), "Subject: round")
	})
	s.Drained(30 * time.Second)
	report, err := os.ReadFile(s.Mailbox("bob"))
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(report), "\nFrom "); n > 0 || !strings.Contains(string(report), "Status: 4.4.6") && !strings.Contains(string(report), "Status: 5.4.6") {
		t.Errorf("%d more reports: %s", n, report)
	}
	for _, to := range append(lost, "a@ring1.test") {
		if !strings.Contains(string(report), to) {
			t.Errorf("the report doesn't name %s:\n%s", to, report)
		}
	}
	if n := count(s.Path("vspool", "virtual.test", "bob"), "\nSubject: round"); n != 1 {
		t.Errorf("bob@virtual.test has it %d times", n)
	}
}

// bareLogin logs in and sends a message that lacks nearly all: server, port.
const bareLogin = `import smtplib, ssl, sys
c = ssl.create_default_context()
c.check_hostname, c.verify_mode = False, ssl.CERT_NONE
with smtplib.SMTP_SSL(sys.argv[1], 465, timeout=60, context=c, local_hostname="laptop.home.test") as s:
    s.login("bob@virtual.test", "x")
    s.sendmail("bob@virtual.test", ["friend@far.test", "secret@far.test"],
        "To: friend@far.test\r\nBcc: secret@far.test,\r\n other-secret@far.test\r\nSubject: bare\r\nbcc: third-secret@far.test\r\n\r\nBcc: in the text stays\r\n")
`

// TestVirtualSubmission: what a user of a virtual domain sends from elsewhere is completed
// as a message of this machine's: From, Date and Message-ID are added, both Bcc fields go,
// and with hide-client nothing tells from where it came.
func TestVirtualSubmission(t *testing.T) {
	s, client := virtualSite(t, "msps=yes", "hide-client=yes", "relay-host=[10.77.0.2]:2525")
	sink := &testenv.Sink{Hostname: "relay.test"}
	go sink.Serve(client.Listen("2525"))
	t.Cleanup(sink.Close)
	s.Serve()
	if out, err := client.Try("python3", "-c", bareLogin, s.IP); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	m := sink.Await(t, 1)[0]
	text := string(m.Wire)
	for _, want := range []string{"\r\nFrom: bob@virtual.test\r\n", "\r\nDate: ", "\r\nMessage-ID: <", "\r\nTo: friend@far.test\r\n", " with ESMTPSA ", "\r\n\r\nBcc: in the text stays\r\n"} {
		if strings.Count(text, want) != 1 {
			t.Errorf("want %q once", want)
		}
	}
	head, _, _ := strings.Cut(text, "\r\n\r\n")
	for _, bad := range []string{"secret", "Bcc", "bcc", client.IP, "laptop", "client.test"} {
		if strings.Contains(head, bad) {
			t.Errorf("the header has %q", bad)
		}
	}
	if len(m.Rcpt) != 2 || m.From() != "bob@virtual.test" {
		t.Errorf("from %s to %v", m.From(), m.Rcpt)
	}
	if t.Failed() {
		t.Log(text)
	}
}
