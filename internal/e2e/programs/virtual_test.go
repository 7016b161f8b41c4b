//go:build e2e

package programs

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"postoffice/internal/e2e/lan"
)

// readBoth reads a mailbox by POP3 and by IMAP: server, name, password; it prints how many
// messages each shows, and their subjects.
const readBoth = `import imaplib, poplib, sys
server, name, password = sys.argv[1:]
try:
    p = poplib.POP3(server, 110, timeout=60)
    p.user(name)
    p.pass_(password)
    n = len(p.list()[1])
    print("pop3", n, [l for i in range(n) for l in p.retr(i + 1)[1] if l.lower().startswith(b"subject:")])
    p.quit()
except poplib.error_proto as e:
    print("pop3", e)
try:
    m = imaplib.IMAP4(server, 143)
    m.login(name, password)
    print("imap", m.select("INBOX")[1][0])
    print("imap", m.fetch("1:*", "(BODY[HEADER.FIELDS (SUBJECT)])")[1])
    m.logout()
except imaplib.IMAP4.error as e:
    print("imap", e)
`

// blocks are the parts of a page between lines of three backquotes and the word behind the
// first.
func blocks(t *testing.T, page, word string) (all []string) {
	t.Helper()
	text, err := os.ReadFile("../../../docs/" + page)
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(string(text), "\n```")
	for i := 1; i < len(parts); i += 2 {
		if kind, block, _ := strings.Cut(parts[i], "\n"); kind == word {
			all = append(all, block+"\n")
		}
	}
	if len(all) == 0 {
		t.Fatalf("docs/%s has no such block", page)
	}
	return all
}

// TestVirtualDomainsWithDovecot: what docs/dovecot.md says, as it stands: a user of a
// virtual domain gets mail from elsewhere and reads it by Dovecot, whose passwords are
// those of the same file.
func TestVirtualDomainsWithDovecot(t *testing.T) {
	const base = "protocols = imap pop3\nbase_dir = /run/dovecot\nssl = no\ndisable_plaintext_auth = no\nauth_failure_delay = 0\nlisten = *\n"
	s := boxSite(t, map[string]string{}, "local-by-dns=no")
	commands := blocks(t, "dovecot.md", "sh")
	s.Run("sh", "-euc", commands[1])
	s.Config = "/etc/postoffice.cf"
	s.Start(s.Command(t.Context(), "smtpd", "-bD"))
	s.Listening("587")
	s.Listening("465")
	out := s.Run("sh", "-euc", commands[0])
	if !strings.Contains(out, "example.org\talice\tactive\n") {
		t.Errorf("the commands print %q", out)
	}
	startDovecot(s, base+"log_path = LOG\n"+blocks(t, "dovecot.md", "")[0])
	s.Listening("143")
	s.Listening("110")

	stranger := s.LAN.Host("client.test")
	conn, err := stranger.Dial(s.IP + ":25")
	if err != nil {
		t.Fatal(err)
	}
	d, err := lan.NewDialogue(conn, "client.test")
	if err != nil {
		t.Fatal(err)
	}
	for _, subject := range []string{"first", "second"} {
		if err := d.Send("amy@client.test", "bob@example.org", "Subject: "+subject+"\n\nFrom there\n"); err != nil {
			t.Fatal(err)
		}
	}
	d.Quit()
	s.Drained(20 * time.Second)

	try := func(name, password string, want ...string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()
		out, _ := stranger.Command(ctx, "python3", "-c", readBoth, s.IP, name, password).CombinedOutput()
		for _, want := range want {
			if !strings.Contains(string(out), want) {
				t.Errorf("%s: want %q in\n%s", name, want, out)
			}
		}
	}
	send := func(password, sender, want string) {
		t.Helper()
		out, _ := stranger.Try("python3", "-c", loginClient, s.IP, "plain", "bob@example.org", password, sender)
		if !strings.Contains(out, want) {
			t.Errorf("sending as %s: want %q in\n%s", sender, want, out)
		}
	}
	change := func(command string) { // Dovecot looks at the file once in a second
		s.Run("sh", "-euc", command)
		at := time.Now().Unix()
		lan.Until(t, 5*time.Second, "another second", func() bool { return time.Now().Unix() > at })
	}
	try("bob@example.org", "correct horse", "pop3 2 [b'Subject: first', b'Subject: second']", "imap b'2'", "Subject: second")
	send("correct horse", "bob@example.org", "235\n250 250")
	send("correct horse", "alice@example.org", "235\n553")
	send("correct hors", "bob@example.org", "5.7.8")
	try("BOB@Example.org", "correct horse", "pop3 2", "imap b'2'")
	try("bob@example.org", "correct hors", "pop3 b'-ERR", "imap b'[AUTHENTICATIONFAILED]")
	change("echo 'battery staple' | postoffice vpasswd set bob@example.org")
	try("bob@example.org", "correct horse", "pop3 b'-ERR", "imap b'[AUTHENTICATIONFAILED]")
	try("bob@example.org", "battery staple", "pop3 2", "imap b'2'")
	change("postoffice vpasswd disable bob@example.org")
	try("bob@example.org", "battery staple", "pop3 b'-ERR", "imap b'[AUTHENTICATIONFAILED]")
}

// TestVirtualQuotaWithDovecot: what docs/dovecot.md says of bounds, as it stands: one word in
// passwd bounds what comes by SMTP and by IMAP, and what the user removes makes room.
func TestVirtualQuotaWithDovecot(t *testing.T) {
	const (
		base = "protocols = imap\nbase_dir = /run/dovecot\nssl = no\ndisable_plaintext_auth = no\nauth_failure_delay = 0\nlisten = *\n"
		fill = `import imaplib, sys
m = imaplib.IMAP4(sys.argv[1], 143)
m.login("bob@example.org", "correct horse")
m.select("INBOX")
for size in map(int, sys.argv[2:]):
    if size == 0:
        m.store("1:*", "+FLAGS", "\\Deleted")
        print("expunged", m.expunge()[0])
        continue
    print("append", m.append("INBOX", None, None, b"Subject: x\r\n\r\n" + (b"x" * 70 + b"\r\n") * (size // 72)))
m.logout()
`
	)
	s := boxSite(t, map[string]string{}, "local-by-dns=no", "vhost-mailbox=maildir")
	s.Run("sh", "-euc", blocks(t, "dovecot.md", "sh")[1])
	s.Config = "/etc/postoffice.cf"
	s.Start(s.Command(t.Context(), "smtpd", "-bD"))
	s.Listening("587")
	s.Run("sh", "-euc", blocks(t, "dovecot.md", "sh")[0])
	s.Run("sh", "-euc", blocks(t, "dovecot.md", "quota")[0])
	whole := blocks(t, "dovecot.md", "")[0]
	userdb := strings.Index(whole, "userdb {")
	end := userdb + strings.Index(whole[userdb:], "}\n") + 2
	startDovecot(s, base+"log_path = LOG\n"+strings.Replace(whole[:userdb]+whole[end:], "mail_location = mbox", "#", 1)+blocks(t, "dovecot.md", "dovecot-quota")[0])
	s.Listening("143")
	stranger := s.LAN.Host("client.test")
	rcpt := func(size, want string) error { // a session of its own each: refusals add up
		conn, err := stranger.Dial(s.IP + ":25")
		if err != nil {
			return err
		}
		defer conn.Close()
		d, err := lan.NewDialogue(conn, "client.test")
		if err != nil {
			return err
		}
		if err := d.Expect("MAIL FROM:<amy@client.test> SIZE="+size, "250"); err != nil {
			return err
		}
		return d.Expect("RCPT TO:<bob@example.org>", want)
	}
	imap := func(want []string, sizes ...string) {
		t.Helper()
		out, err := stranger.Try(append([]string{"python3", "-c", fill, s.IP}, sizes...)...)
		for _, want := range want {
			if !strings.Contains(out, want) {
				t.Errorf("%v: %v, want %q in\n%s", sizes, err, want, out)
			}
		}
	}
	for size, want := range map[string]string{"2000000": "552 5.2.3", "900000": "250"} {
		if err := rcpt(size, want); err != nil {
			t.Errorf("SIZE=%s: %v", size, err)
		}
	}
	imap([]string{"append ('OK'", "append ('NO'", "OVERQUOTA"}, "600000", "600000")
	lan.Until(t, 60*time.Second, "the mailbox is counted anew", func() bool { return rcpt("900000", "452 4.2.2") == nil }) // an answer is kept for ten seconds
	imap([]string{"expunged OK"}, "0")
	lan.Until(t, 60*time.Second, "there is room again", func() bool { return rcpt("900000", "250") == nil })
}
