//go:build e2e

package flow

import (
	"os"
	"strings"
	"testing"
	"time"

	"postoffice/internal/e2e/lan"
)

// TestMailboxAndNextServer is the main job: swaks → smtpd → spool → mailbox, and
// sendmail → spool → the next server, found by MX and by relay-host.
func TestMailboxAndNextServer(t *testing.T) {
	for _, mode := range lan.Modes {
		t.Run(mode.Name, func(t *testing.T) {
			l := lan.New(t)
			l.DNS("one.test. IN A 10.77.0.2", "two.test. IN A 10.77.0.3", "two.test. IN MX 10 two.test.",
				"2.0.77.10.in-addr.arpa. IN PTR one.test.")
			one, two := l.Host("one.test"), l.Host("two.test")
			a := mode.Install(one, "smtp-port="+mode.Port)
			b := mode.Install(two)
			a.Serve()
			b.Serve()

			out := two.Swaks(one.IP+":"+mode.Port, "--from", "stranger@two.test", "--to", "alice@one.test",
				"--header", "Subject: by swaks", "--body", "first line\n.dot\nFrom here\n")
			if !strings.Contains(out, "250 2.0.0 queued as ") {
				t.Errorf("swaks got no queue ID:\n%s", out)
			}
			if out, err := two.Try("swaks", "--server", one.IP+":"+mode.Port, "--from", "stranger@two.test", "--to", "nobody-here@one.test"); err == nil || !strings.Contains(out, "\n<** 550 5.1.1 ") {
				t.Errorf("A60: an unknown user is not refused at RCPT: %v\n%s", err, out)
			}
			lan.Until(t, 20*time.Second, "alice has the message", func() bool { return lan.Contains(a.Mailbox("alice"), "Subject: by swaks") })
			checkMailbox(t, a.Mailbox("alice"))

			if out, err := a.TryApplet("Subject: by sendmail\n\nhello\n", "sendmail", "-i", "alice@two.test"); err != nil {
				t.Fatalf("sendmail: %v\n%s", err, out)
			}
			lan.Until(t, 30*time.Second, "the next server's alice has the message", func() bool { return lan.Contains(b.Mailbox("alice"), "Subject: by sendmail") })
			if !lan.Contains(b.Mailbox("alice"), "\n\tby one.test (postoffice) with LOCAL id ") {
				t.Error("R21: the remote copy lacks our Received line")
			}
			a.Drained(10 * time.Second)
			b.Drained(10 * time.Second)
		})
	}
}

// checkMailbox looks at one delivered message as a mail reader would.
func checkMailbox(t *testing.T, name string) {
	t.Helper()
	raw, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	text := string(raw)
	for _, want := range []string{"From stranger@two.test ", "\nReturn-Path: <stranger@two.test>\n", "\nDelivered-To: ",
		"\nReceived: from ", "\nfirst line\n.dot\n"} {
		if !strings.Contains("\n"+text, want) {
			t.Errorf("mailbox lacks %q:\n%s", want, text)
		}
	}
	if !strings.HasSuffix(text, "\n\n") {
		t.Errorf("mailbox does not end in an empty line: R10\n%q", text[max(0, len(text)-40):])
	}
}

// TestAliases: the text of the alias file serves until newaliases has made a
// database of it; from then on that counts.
func TestAliases(t *testing.T) {
	l := lan.New(t)
	l.DNS("one.test. IN A 10.77.0.2")
	one := l.Host("one.test").Install()
	lan.WriteFile(t, one.Path("aliases"), "info: alice\n")
	one.Serve()
	send := func(subject string) {
		t.Helper()
		if out, err := one.TryApplet("Subject: "+subject+"\n\n", "sendmail", "Info"); err != nil {
			t.Fatalf("sendmail: %v\n%s", err, out)
		}
	}
	has := func(user, subject string) func() bool {
		return func() bool { return lan.Contains(one.Mailbox(user), "Subject: "+subject+"\n") }
	}
	send("by text")
	lan.Until(t, 20*time.Second, "alice has what the text gives her", has("alice", "by text"))

	lan.WriteFile(t, one.Path("aliases"), "info: bob,\n\tcarol\n")
	if out := one.Applet("newaliases"); !strings.Contains(out, "1 alias") {
		t.Errorf("newaliases said %q", out)
	}
	send("by database")
	lan.Until(t, 20*time.Second, "bob has what the database gives him", has("bob", "by database"))
	lan.Until(t, 20*time.Second, "carol too", has("carol", "by database"))

	lan.WriteFile(t, one.Path("aliases"), "info: alice\n")
	if out := one.Run(lan.Binary, "config", "--check", "-C", one.Config); !strings.Contains(out, `run "newaliases"`) {
		t.Errorf("config --check says nothing of the text that is newer: %q", out)
	}
}

// TestRelayHost: relay-host of the configuration takes all remote mail, also
// what an unprivileged user submits (R12, S15, S29), and needs no DNS.
func TestRelayHost(t *testing.T) {
	l := lan.New(t)
	l.Host("nobody.test") // whose address resolv.conf has: no DNS server is there
	one, two := l.Host("one.test"), l.Host("two.test")
	a := one.Install("relay-host=["+two.IP+"]:25", "local-by-dns=no")
	b := two.Install("local-domains=two.test,elsewhere.test")
	a.Serve()
	b.Serve()
	a.Submit("alice", "Subject: by relay-host\n\nhello\n", "-i", "bob@elsewhere.test")
	lan.Until(t, 60*time.Second, "the smarthost's bob has the message", func() bool { return lan.Contains(b.Mailbox("bob"), "Subject: by relay-host") })
	a.Drained(10 * time.Second)
}
