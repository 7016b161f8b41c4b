//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// boxSite is a site with a root file system of its own, where mailboxes are as
// the settings say.
func boxSite(t *testing.T, files map[string]string, settings ...string) *site {
	t.Helper()
	l := newLAN(t)
	l.dns("one.test. IN A 10.77.0.2", "one.test. IN MX 10 one.test.")
	h := l.host("one.test", user{"dovecot", 905, 905}, user{"dovenull", 906, 906})
	s := h.install(append([]string{"local-domains=one.test"}, settings...)...)
	s.ownRoot(files)
	return s
}

// from sends a message from alice; words are its recipients and text.
func (s *site) from(alice, subject, text string, to ...string) {
	s.t.Helper()
	s.login(alice, "Subject: "+subject+"\nTo: somebody\n\n"+text, `exec /usr/sbin/sendmail "$@"`, to...)
}

// inMaildir reads what is in a Maildir, new or seen, by the order of its names.
func inMaildir(t *testing.T, path string) []string {
	t.Helper()
	var all []string
	for _, sub := range []string{"new", "cur"} {
		entries, _ := os.ReadDir(filepath.Join(path, sub)) // none: no messages
		for _, e := range entries {
			b, err := os.ReadFile(filepath.Join(path, sub, e.Name()))
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, string(b))
		}
	}
	return all
}

const dovecotConf = `
protocols = lmtp
base_dir = /run/dovecot
log_path = LOG
mail_location = maildir:~/Maildir
ssl = no
first_valid_uid = 1
auth_username_format = %Ln
recipient_delimiter = +
lmtp_save_to_detail_mailbox = yes
lda_mailbox_autocreate = yes
userdb {
  driver = passwd
}
passdb {
  driver = static
  args = nopassword=y
}
service lmtp {
  unix_listener postoffice-lmtp {
    user = postoffice
    mode = 0600
  }
}
`

// TestDovecotLMTP: Dovecot keeps the mailboxes. It gets each message once, by
// way of a .forward and with the detail of an address too; while it is down
// mail waits, and the log says what to look at.
func TestDovecotLMTP(t *testing.T) {
	s := boxSite(t, nil, "mailbox=lmtp:/run/dovecot/postoffice-lmtp", "escape-from")
	conf := s.path("dovecot.conf")
	writeFile(t, conf, strings.Replace(dovecotConf, "LOG", s.path("dovecot.log"), 1))
	store := func() *process { return s.start(s.command(t.Context(), "dovecot", "-F", "-c", conf)) }
	t.Cleanup(func() {
		if t.Failed() {
			log, _ := os.ReadFile(s.path("dovecot.log"))
			t.Logf("Dovecot's log:\n%s", tail(string(log), 30))
		}
	})
	writeFile(t, s.path("home", "carol", ".forward"), "bob, \\carol\n")
	os.Chown(s.path("home", "carol", ".forward"), 2003, 2003)
	s.serve()

	s.from("alice", "before", "too early\n", "bob")
	until(t, 20*time.Second, "it is deferred", func() bool { return contains(s.log, "delivery deferred") })
	if !contains(s.log, "LMTP server at /run/dovecot/postoffice-lmtp (is it running") {
		t.Error("the log does not say what to look at")
	}
	dovecot := store()
	until(t, 20*time.Second, "Dovecot listens", func() bool {
		_, err := s.try("test", "-S", "/run/dovecot/postoffice-lmtp")
		return err == nil
	})
	s.applet("runq")
	s.drained(30 * time.Second)

	s.from("alice", "forwarded", "From the start\nlast\n", "carol")
	s.from("alice", "detailed", "text\n", "bob+lists")
	for i := range 40 {
		s.from("alice", fmt.Sprint("number ", i), strings.Repeat("line\n.\n", 100*i), "bob", "carol", "alice")
	}
	s.drained(60 * time.Second)
	for _, tt := range []struct {
		user string
		n    int
	}{{"alice", 40}, {"bob", 1 + 1 + 40}, {"carol", 1 + 40}} {
		got := inMaildir(t, s.path("home", tt.user, "Maildir"))
		if len(got) != tt.n {
			t.Errorf("%s has %d messages, want %d", tt.user, len(got), tt.n)
		}
		for _, m := range got {
			if !strings.Contains(m, "Return-Path: <alice@one.test>\n") || strings.Contains(m, "\nFrom ") || strings.HasPrefix(m, "From ") {
				t.Errorf("%s has %.500q", tt.user, m)
			}
		}
	}
	if got := inMaildir(t, s.path("home", "bob", "Maildir", ".lists")); len(got) != 1 || !strings.Contains(got[0], "Subject: detailed\n") {
		t.Errorf("bob+lists: %q", got)
	}
	dovecot.stop()
}

// TestMailerProcmail and TestMailerMaildrop: option mailer, with rules of the user's own. A
// .forward comes first.

func TestMailerProcmail(t *testing.T) {
	s := boxSite(t, nil, "mailer=/usr/bin/procmail -t -a ${extension}")
	s.filters(t, ".procmailrc", "MAILDIR=$HOME\nDEFAULT=$HOME/inbox\nLOGFILE=$HOME/log\nARG=$1\n"+
		":0:\n* ^Subject:.*sort me\nsorted\n"+
		":0:\n* ARG ?? list\nlists\n"+
		":0\n* ^Subject:.*not now\n* ! ? test -e $HOME/ready\n{\n EXITCODE=75\n HOST=_none_\n}\n"+
		":0\n* ^Subject:.*never\n{\n EXITCODE=77\n HOST=_none_\n}\n")
}

func TestMailerMaildrop(t *testing.T) {
	s := boxSite(t, nil, "mailer=/usr/bin/maildrop -d ${user} ${extension}")
	s.filters(t, ".mailfilter", `DEFAULT="$HOME/inbox"
if (/^Subject:.*sort me/)
	to "$HOME/sorted"
if ($1 eq "list")
	to "$HOME/lists"
if (/^Subject:.*not now/)
{
	`+"`test -e $HOME/ready`"+`
	if ($RETURNCODE != 0)
	{
		EXITCODE=75
		exit
	}
}
if (/^Subject:.*never/)
{
	EXITCODE=77
	exit
}
`)
}

// filters has bob's rules, in a file, sort his mail.
func (s *site) filters(t *testing.T, name, rules string) {
	t.Helper()
	home := s.path("home", "bob")
	for file, text := range map[string]string{name: rules, "../carol/.forward": "bob\n"} {
		writeFile(t, filepath.Join(home, file), text)
		os.Chmod(filepath.Join(home, file), 0o600)
	}
	os.Chown(filepath.Join(home, name), 2002, 2002)
	os.Chown(s.path("home", "carol", ".forward"), 2003, 2003)
	s.serve()
	s.from("alice", "plain", "From here\n", "bob")
	s.from("alice", "sort me", "text\n", "bob")
	s.from("alice", "detail", "text\n", "bob+list")
	s.from("alice", "for carol", "text\n", "carol")
	s.from("alice", "not now", "text\n", "bob")
	s.from("alice", "never", "text\n", "bob")
	until(t, 30*time.Second, "one waits and one is refused", func() bool {
		return contains(s.log, "delivery deferred") && contains(s.log, "message bounced")
	})
	writeFile(t, filepath.Join(home, "ready"), "")
	s.applet("runq")
	s.drained(30 * time.Second)
	for file, want := range map[string][]string{
		"inbox": {"plain", "for carol", "not now"}, "sorted": {"sort me"}, "lists": {"detail"},
	} {
		raw, _ := os.ReadFile(filepath.Join(home, file))
		if n := strings.Count("\n"+string(raw), "\nFrom alice@one.test "); n != len(want) {
			t.Errorf("%s has %d messages, want %q:\n%s", file, n, want, raw)
		}
		for _, subject := range want {
			if strings.Count(string(raw), "\nSubject: "+subject+"\n") != 1 {
				t.Errorf("%s has not %q once:\n%s", file, subject, raw)
			}
		}
	}
}
