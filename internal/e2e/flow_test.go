//go:build e2e

package e2e

import (
	"os"
	"strings"
	"testing"
	"time"
)

// modes are the two ways in which the whole flow must work.
var modes = []struct {
	name    string
	install func(h *host, settings ...string) *site
	port    string
}{
	{"root tree", (*host).install, "25"},
	{"ordinary user", func(h *host, settings ...string) *site { return h.installFor(people[6], settings...) }, "2525"},
}

// TestMailboxAndNextServer is the main job: swaks → smtpd → spool → mailbox, and
// sendmail → spool → the next server, found by MX and by relay-host.
func TestMailboxAndNextServer(t *testing.T) {
	for _, mode := range modes {
		t.Run(mode.name, func(t *testing.T) {
			l := newLAN(t)
			l.dns("one.test. IN A 10.77.0.2", "two.test. IN A 10.77.0.3", "two.test. IN MX 10 two.test.",
				"2.0.77.10.in-addr.arpa. IN PTR one.test.")
			one, two := l.host("one.test"), l.host("two.test")
			a := mode.install(one, "smtp-port="+mode.port)
			b := mode.install(two)
			a.serve()
			b.serve()

			out := two.swaks(one.IP+":"+mode.port, "--from", "stranger@two.test", "--to", "alice@one.test",
				"--header", "Subject: by swaks", "--body", "first line\n.dot\nFrom here\n")
			if !strings.Contains(out, "250 2.0.0 queued as ") {
				t.Errorf("swaks got no queue ID:\n%s", out)
			}
			if out, err := two.try("swaks", "--server", one.IP+":"+mode.port, "--from", "stranger@two.test", "--to", "nobody-here@one.test"); err == nil || !strings.Contains(out, "\n<** 550 5.1.1 ") {
				t.Errorf("A60: an unknown user is not refused at RCPT: %v\n%s", err, out)
			}
			until(t, 20*time.Second, "alice has the message", func() bool { return contains(a.mailbox("alice"), "Subject: by swaks") })
			checkMailbox(t, a.mailbox("alice"))

			if out, err := a.tryApplet("Subject: by sendmail\n\nhello\n", "sendmail", "-i", "alice@two.test"); err != nil {
				t.Fatalf("sendmail: %v\n%s", err, out)
			}
			until(t, 30*time.Second, "the next server's alice has the message", func() bool { return contains(b.mailbox("alice"), "Subject: by sendmail") })
			if !contains(b.mailbox("alice"), "\n\tby one.test (postoffice) with LOCAL id ") {
				t.Error("R21: the remote copy lacks our Received line")
			}
			a.drained(10 * time.Second)
			b.drained(10 * time.Second)
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

// TestPostfixBothWays exchanges a message with an unpacked Postfix by MX on port 25.
func TestPostfixBothWays(t *testing.T) {
	l := newLAN(t)
	l.dns("one.test. IN A 10.77.0.2", "one.test. IN MX 10 one.test.", "pf.test. IN A 10.77.0.3", "pf.test. IN MX 10 pf.test.")
	ours := l.host("one.test").install()
	theirs := l.host("pf.test")
	ours.serve()
	theirs.postfix()

	if out, err := ours.tryApplet("Subject: to postfix\n\nhello\n", "sendmail", "alice@pf.test"); err != nil {
		t.Fatalf("sendmail: %v\n%s", err, out)
	}
	until(t, 30*time.Second, "postfix delivered our message", func() bool {
		return contains(theirs.path("pf", "mail", "alice"), "Subject: to postfix")
	})
	theirs.swaks(theirs.IP+":25", "--from", "bob@pf.test", "--to", "bob@one.test", "--header", "Subject: from postfix")
	until(t, 30*time.Second, "postfix's message is in bob's mailbox", func() bool {
		return contains(ours.mailbox("bob"), "Subject: from postfix")
	})
	ours.drained(10 * time.Second)
}

// TestAliases: the text of the alias file serves until newaliases has made a
// database of it; from then on that counts.
func TestAliases(t *testing.T) {
	l := newLAN(t)
	l.dns("one.test. IN A 10.77.0.2")
	one := l.host("one.test").install()
	writeFile(t, one.path("aliases"), "info: alice\n")
	one.serve()
	send := func(subject string) {
		t.Helper()
		if out, err := one.tryApplet("Subject: "+subject+"\n\n", "sendmail", "Info"); err != nil {
			t.Fatalf("sendmail: %v\n%s", err, out)
		}
	}
	has := func(user, subject string) func() bool {
		return func() bool { return contains(one.mailbox(user), "Subject: "+subject+"\n") }
	}
	send("by text")
	until(t, 20*time.Second, "alice has what the text gives her", has("alice", "by text"))

	writeFile(t, one.path("aliases"), "info: bob,\n\tcarol\n")
	if out := one.applet("newaliases"); !strings.Contains(out, "1 alias") {
		t.Errorf("newaliases said %q", out)
	}
	send("by database")
	until(t, 20*time.Second, "bob has what the database gives him", has("bob", "by database"))
	until(t, 20*time.Second, "carol too", has("carol", "by database"))

	writeFile(t, one.path("aliases"), "info: alice\n")
	if out := one.run(binary, "config", "--check", "-C", one.cf); !strings.Contains(out, `run "newaliases"`) {
		t.Errorf("config --check says nothing of the text that is newer: %q", out)
	}
}

// TestRelayHost: relay-host of the configuration takes all remote mail, also
// what an unprivileged user submits (R12, S15, S29), and needs no DNS.
func TestRelayHost(t *testing.T) {
	l := newLAN(t)
	l.host("nobody.test") // whose address resolv.conf has: no DNS server is there
	one, two := l.host("one.test"), l.host("two.test")
	a := one.install("relay-host=["+two.IP+"]:25", "local-by-dns=no")
	b := two.install("local-domains=two.test,elsewhere.test")
	a.serve()
	b.serve()
	a.submit("alice", "Subject: by relay-host\n\nhello\n", "-i", "bob@elsewhere.test")
	until(t, 60*time.Second, "the smarthost's bob has the message", func() bool { return contains(b.mailbox("bob"), "Subject: by relay-host") })
	a.drained(10 * time.Second)
}
