//go:build e2e

package peers

import (
	"context"
	"fmt"
	"os"
	"regexp"
	"testing"
	"time"

	"postoffice/internal/e2e/lan"
)

// TestPostfixBothWays exchanges a message with an unpacked Postfix by MX on port 25.
func TestPostfixBothWays(t *testing.T) {
	l := lan.New(t)
	l.DNS("one.test. IN A 10.77.0.2", "one.test. IN MX 10 one.test.", "pf.test. IN A 10.77.0.3", "pf.test. IN MX 10 pf.test.")
	ours := l.Host("one.test").Install()
	theirs := l.Host("pf.test")
	ours.Serve()
	theirs.Postfix()

	if out, err := ours.TryApplet("Subject: to postfix\n\nhello\n", "sendmail", "alice@pf.test"); err != nil {
		t.Fatalf("sendmail: %v\n%s", err, out)
	}
	lan.Until(t, 30*time.Second, "postfix delivered our message", func() bool {
		return lan.Contains(theirs.Path("pf", "mail", "alice"), "Subject: to postfix")
	})
	theirs.Swaks(theirs.IP+":25", "--from", "bob@pf.test", "--to", "bob@one.test", "--header", "Subject: from postfix")
	lan.Until(t, 30*time.Second, "postfix's message is in bob's mailbox", func() bool {
		return lan.Contains(ours.Mailbox("bob"), "Subject: from postfix")
	})
	ours.Drained(10 * time.Second)
}

// TestEximBothWays exchanges a message with an unpacked Exim by MX on port 25.
func TestEximBothWays(t *testing.T) {
	l := lan.New(t)
	l.DNS("one.test. IN A 10.77.0.2", "one.test. IN MX 10 one.test.", "ex.test. IN A 10.77.0.3", "ex.test. IN MX 10 ex.test.")
	ours := l.Host("one.test").Install()
	theirs := l.Host("ex.test", lan.EximUsers...)
	ours.Serve()
	theirs.Exim()

	if out, err := ours.TryApplet("Subject: to exim\n\nhello\n", "sendmail", "alice@ex.test"); err != nil {
		t.Fatalf("sendmail: %v\n%s", err, out)
	}
	lan.Until(t, 30*time.Second, "exim delivered our message", func() bool {
		return lan.Contains(theirs.Path("ex", "mail", "alice"), "Subject: to exim")
	})
	theirs.Swaks(theirs.IP+":25", "--from", "bob@ex.test", "--to", "bob@one.test", "--header", "Subject: from exim")
	lan.Until(t, 30*time.Second, "exim's message is in bob's mailbox", func() bool {
		return lan.Contains(ours.Mailbox("bob"), "Subject: from exim")
	})
	lan.Until(t, 10*time.Second, "exim says that it came in chunks", func() bool {
		log, err := os.ReadFile(theirs.Path("ex", "log", "mainlog"))
		return err == nil && regexp.MustCompile(`=> bob@one\.test .* K .*C="250 2\.0\.0 queued as `).Match(log)
	})
	ours.Drained(10 * time.Second)
}

// TestA15Postfix: mail with a sender and a subject outside ASCII goes to Postfix and comes
// from it, each side saying SMTPUTF8; where Postfix offers none it comes back with 5.6.7.
func TestA15Postfix(t *testing.T) {
	l := lan.New(t)
	var records []string
	for i, name := range []string{"one", "pf", "old", "client"} {
		records = append(records, fmt.Sprintf("%s.test. IN A 10.77.0.%d", name, i+2), fmt.Sprintf("%s.test. IN MX 10 %[1]s.test.", name))
	}
	l.DNS(records...)
	ours := l.Host("one.test").Install("trusted=10.77.0.5")
	theirs, old, client := l.Host("pf.test"), l.Host("old.test"), l.Host("client.test")
	ours.Serve()
	theirs.Postfix("mynetworks=10.77.0.5")
	old.Postfix("smtputf8_enable=no")
	send := func(to *lan.Host, from, rcpt string) {
		t.Helper()
		conn, err := client.Dial(to.IP + ":25")
		if err != nil {
			t.Fatal(err)
		}
		d, err := lan.NewDialogue(conn, "client.test")
		if err != nil {
			t.Fatal(err)
		}
		defer d.Quit()
		for _, step := range [][2]string{{"MAIL FROM:<" + from + "> SMTPUTF8", "250"}, {"RCPT TO:<" + rcpt + ">", "250"}, {"DATA", "354"},
			{"Subject: Gr\u00fc\u00dfe\r\n\r\nh\u00e4llo\r\n.", "250"}} {
			if err := d.Expect(step[0], step[1]); err != nil {
				t.Fatalf("%s: %q: %v", to.Name, step[0], err)
			}
		}
	}
	send(ours.Host, "j\u00f6rg@one.test", "alice@pf.test")
	send(theirs, "j\u00f6rg@pf.test", "alice@one.test")
	for where, box := range map[string]string{"Postfix": theirs.Path("pf", "mail", "alice"), "ours": ours.Mailbox("alice")} {
		lan.Until(t, 30*time.Second, "the message is in the mailbox of "+where, func() bool {
			return lan.Contains(box, "Subject: Gr\u00fc\u00dfe\n") && lan.Contains(box, "with UTF8SMTP") && lan.Contains(box, "j\u00f6rg@")
		})
	}
	send(ours.Host, "b\u00f6b@one.test", "alice@old.test")
	lan.Until(t, 30*time.Second, "the message comes back", func() bool {
		return lan.Contains(ours.Log, "dsn=5.6.7") && lan.Contains(ours.Log, "message bounced")
	})
	ours.Drained(10 * time.Second)
}

// TestA15Python: a message with an author, a sender's domain and a subject outside ASCII
// comes from Python's smtplib, which asks for SMTPUTF8 by itself.
func TestA15Python(t *testing.T) {
	l := lan.New(t)
	l.DNS("one.test. IN A 10.77.0.2", "one.test. IN MX 10 one.test.", "xn--bcher-kva.test. IN A 10.77.0.3")
	ours := l.Host("one.test").Install()
	theirs := l.Host("xn--bcher-kva.test")
	ours.Serve()
	const program = `
import smtplib, sys
from email.message import EmailMessage
m = EmailMessage()
m["From"], m["To"], m["Subject"] = "j\u00f6rg@b\u00fccher.test", "alice@one.test", "Gr\u00fc\u00dfe"
m.set_content("h\u00e4llo")
s = smtplib.SMTP(sys.argv[1])
s.send_message(m)
s.quit()
`
	if out, err := theirs.Command(context.Background(), "python3", "-c", program, ours.IP).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	lan.Until(t, 30*time.Second, "the message is in alice's mailbox as it was sent", func() bool {
		box := ours.Mailbox("alice")
		return lan.Contains(box, "Return-Path: <j\u00f6rg@xn--bcher-kva.test>") && lan.Contains(box, "with UTF8SMTP") && lan.Contains(box, "Subject: Gr\u00fc\u00dfe\n")
	})
	ours.Drained(10 * time.Second)
}
