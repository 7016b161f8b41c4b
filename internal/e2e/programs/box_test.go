//go:build e2e

package programs

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postoffice/internal/e2e/lan"
)

// boxSite is a site with a root file system of its own, where mailboxes are as
// the settings say.
func boxSite(t *testing.T, files map[string]string, settings ...string) *lan.Site {
	t.Helper()
	l := lan.New(t)
	l.DNS("one.test. IN A 10.77.0.2", "one.test. IN MX 10 one.test.")
	h := l.Host("one.test", lan.Account("dovecot", 905), lan.Account("dovenull", 906))
	s := h.Install(append([]string{"local-domains=one.test"}, settings...)...)
	ownRoot(s, files)
	return s
}

// from sends a message from alice; words are its recipients and text.
func from(s *lan.Site, alice, subject, text string, to ...string) {
	s.T.Helper()
	login(s, alice, "Subject: "+subject+"\nTo: somebody\n\n"+text, `exec /usr/sbin/sendmail "$@"`, to...)
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
	conf := s.Path("dovecot.conf")
	lan.WriteFile(t, conf, strings.Replace(dovecotConf, "LOG", s.Path("dovecot.log"), 1))
	store := func() *lan.Process { return s.Start(s.Command(t.Context(), "dovecot", "-F", "-c", conf)) }
	t.Cleanup(func() {
		if t.Failed() {
			log, _ := os.ReadFile(s.Path("dovecot.log"))
			t.Logf("Dovecot's log:\n%s", lan.Tail(string(log), 30))
		}
	})
	lan.WriteFile(t, s.Path("home", "carol", ".forward"), "bob, \\carol\n")
	os.Chown(s.Path("home", "carol", ".forward"), 2003, 2003)
	s.Serve()

	from(s, "alice", "before", "too early\n", "bob")
	lan.Until(t, 20*time.Second, "it is deferred", func() bool { return lan.Contains(s.Log, "delivery deferred") })
	if !lan.Says(s.Log, "LMTP server at /run/dovecot/postoffice-lmtp (is it running") {
		t.Error("the log does not say what to look at")
	}
	dovecot := store()
	lan.Until(t, 20*time.Second, "Dovecot listens", func() bool {
		_, err := s.Try("test", "-S", "/run/dovecot/postoffice-lmtp")
		return err == nil
	})
	s.Applet("runq")
	s.Drained(30 * time.Second)

	from(s, "alice", "forwarded", "From the start\nlast\n", "carol")
	from(s, "alice", "detailed", "text\n", "bob+lists")
	for i := range 40 {
		from(s, "alice", fmt.Sprint("number ", i), strings.Repeat("line\n.\n", 100*i), "bob", "carol", "alice")
	}
	s.Drained(60 * time.Second)
	for _, tt := range []struct {
		user string
		n    int
	}{{"alice", 40}, {"bob", 1 + 1 + 40}, {"carol", 1 + 40}} {
		got := lan.InMaildir(t, s.Path("home", tt.user, "Maildir"))
		if len(got) != tt.n {
			t.Errorf("%s has %d messages, want %d", tt.user, len(got), tt.n)
		}
		for _, m := range got {
			if !strings.Contains(m, "Return-Path: <alice@one.test>\n") || strings.Contains(m, "\nFrom ") || strings.HasPrefix(m, "From ") {
				t.Errorf("%s has %.500q", tt.user, m)
			}
		}
	}
	if got := lan.InMaildir(t, s.Path("home", "bob", "Maildir", ".lists")); len(got) != 1 || !strings.Contains(got[0], "Subject: detailed\n") {
		t.Errorf("bob+lists: %q", got)
	}
	dovecot.Stop()
}

// TestMailerProcmail and TestMailerMaildrop: option mailer, with rules of the user's own. A
// .forward comes first.

func TestMailerProcmail(t *testing.T) {
	s := boxSite(t, nil, "mailer=/usr/bin/procmail -t -a ${extension}")
	filters(s, t, ".procmailrc", "MAILDIR=$HOME\nDEFAULT=$HOME/inbox\nLOGFILE=$HOME/log\nARG=$1\n"+
		":0:\n* ^Subject:.*sort me\nsorted\n"+
		":0:\n* ARG ?? list\nlists\n"+
		":0\n* ^Subject:.*not now\n* ! ? test -e $HOME/ready\n{\n EXITCODE=75\n HOST=_none_\n}\n"+
		":0\n* ^Subject:.*never\n{\n EXITCODE=77\n HOST=_none_\n}\n")
}

func TestMailerMaildrop(t *testing.T) {
	s := boxSite(t, nil, "mailer=/usr/bin/maildrop -d ${user} ${extension}")
	filters(s, t, ".mailfilter", `DEFAULT="$HOME/inbox"
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
func filters(s *lan.Site, t *testing.T, name, rules string) {
	t.Helper()
	home := s.Path("home", "bob")
	for file, text := range map[string]string{name: rules, "../carol/.forward": "bob\n"} {
		lan.WriteFile(t, filepath.Join(home, file), text)
		os.Chmod(filepath.Join(home, file), 0o600)
	}
	os.Chown(filepath.Join(home, name), 2002, 2002)
	os.Chown(s.Path("home", "carol", ".forward"), 2003, 2003)
	s.Serve()
	from(s, "alice", "plain", "From here\n", "bob")
	from(s, "alice", "sort me", "text\n", "bob")
	from(s, "alice", "detail", "text\n", "bob+list")
	from(s, "alice", "for carol", "text\n", "carol")
	from(s, "alice", "not now", "text\n", "bob")
	from(s, "alice", "never", "text\n", "bob")
	lan.Until(t, 30*time.Second, "one waits and one is refused", func() bool {
		return lan.Contains(s.Log, "delivery deferred") && lan.Contains(s.Log, "message bounced")
	})
	lan.WriteFile(t, filepath.Join(home, "ready"), "")
	s.Applet("runq")
	s.Drained(30 * time.Second)
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
