//go:build e2e

package programs

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"postoffice/internal/e2e/lan"
)

// TestListManager is a mailing list in an alias, "|mlmmj-receive …", as
// Mailman's and Majordomo's are: bob subscribes, confirms, and gets what alice
// writes to the list.
func TestListManager(t *testing.T) {
	s := programSite(t, nil, nil)
	s.Script("root", `mkdir -p /var/spool/mlmmj && ln -s `+s.Path("aliases")+` /etc/aliases && touch /etc/aliases &&
		printf 'one.test\ncarol@one.test\nen\ny\ny\n' | mlmmj-make-ml -L tips -s /var/spool/mlmmj -c nobody -a >/dev/null && newaliases >/dev/null &&
		su -s /bin/sh nobody -c '/usr/bin/mlmmj-sub -L /var/spool/mlmmj/tips -a alice@one.test'`)

	login(s, "bob", "Subject: please\n\n", `exec /usr/sbin/sendmail tips+subscribe@one.test`)
	confirm := awaits(s, "bob", 1)
	to := regexp.MustCompile(`tips\+confsub-\S+@one\.test`).FindString(confirm.Raw)
	if to == "" {
		t.Fatalf("the list doesn't say where to confirm:\n%s", confirm.Raw)
	}
	login(s, "bob", "Subject: yes\n\n", `exec /usr/sbin/sendmail "$1"`, to)
	awaits(s, "bob", 2) // a welcome

	login(s, "alice", lan.ProgramText, `exec s-nail -S ttycharset=utf-8 -s "$2" "$1"`, "tips@one.test", programSubject)
	m := awaits(s, "bob", 3)
	if m.Address("From") != "alice@one.test" || m.Address("To") != "tips@one.test" || m.Field("Subject") != programSubject ||
		!strings.HasPrefix(m.Header.Get("Return-Path"), "<tips+bounces-1-bob=one.test@") {
		t.Errorf("not alice's message from the list:\n%s", m.Raw)
	}
	lan.Differ(t, "the text that bob got", []byte(m.Text), []byte(lan.ProgramText+"\n")) // mlmmj begins a line before its final dot
	awaits(s, "alice", 1)                                                                // her own
	s.Drained(20 * time.Second)
	if log, _ := os.ReadFile(s.Log); strings.Contains(string(log), "status=bounced") {
		t.Error("something bounced")
	}
}

// TestVacation is a program in a .forward: the message is in the mailbox, and
// who wrote is told once that alice is away.
func TestVacation(t *testing.T) {
	s := programSite(t, nil, nil)
	lan.WriteFile(t, s.Path("home", "alice", ".forward"), `\alice, "|/usr/bin/vacation alice"`+"\n")
	lan.WriteFile(t, s.Path("home", "alice", ".vacation.msg"), "Subject: away\n\nUntil Monday: $SUBJECT\n")
	for _, name := range []string{".forward", ".vacation.msg"} {
		os.Chown(filepath.Join(s.Path("home", "alice"), name), 2001, 2001)
	}
	login(s, "alice", "", "exec vacation -I")
	login(s, "bob", "To: alice@one.test\nSubject: first\n\nhello\n", "exec /usr/sbin/sendmail -t")
	m := awaits(s, "bob", 1)
	login(s, "bob", "To: alice@one.test\nSubject: second\n\nhello\n", "exec /usr/sbin/sendmail -t")
	awaits(s, "alice", 2)
	if m.Field("Subject") != "away" || !strings.Contains(m.Text, "Until Monday: ") || !strings.Contains(m.Raw, "\nReceived: from alice (uid 2001)\n") {
		t.Errorf("vacation's answer:\n%s", m.Raw)
	}
	s.Drained(20 * time.Second)
	if n := len(s.Messages("bob")); n != 1 {
		t.Errorf("bob was told %d times", n)
	}
}

// awaits waits for the nth message of a user and parses it.
func awaits(s *lan.Site, user string, n int) lan.Message {
	s.T.Helper()
	lan.Until(s.T, 20*time.Second, user+" has another message", func() bool { return len(s.Messages(user)) >= n })
	return lan.ParseMessage(s.T, s.Messages(user)[n-1])
}

// TestFiltersForward has procmail and maildrop, which Debian gives set-id bits,
// run sendmail: by then they are their user alone, and sendmail serves them.
func TestFiltersForward(t *testing.T) {
	s := programSite(t, nil, nil)
	for user, files := range map[string]map[string]string{
		"alice": {".forward": "|/usr/bin/procmail\n", ".procmailrc": ":0 c\n! carol\n\n:0\n! bob@one.test\n"},
		"mail":  {".forward": "|/usr/bin/maildrop\n", ".mailfilter": "cc \"! carol\"\nto \"! bob@one.test\"\n"},
	} {
		for name, text := range files {
			lan.WriteFile(t, s.Path("home", user, name), text)
			s.Run("chown", user, s.Path("home", user, name))
			os.Chmod(s.Path("home", user, name), 0o600)
		}
	}
	login(s, "bob", lan.ProgramText, `exec s-nail -S ttycharset=utf-8 -s "$2" alice "$1"`, "mail@one.test", programSubject)
	for _, user := range []string{"bob", "carol"} {
		for n := range 2 {
			m := awaits(s, user, n+1)
			text := strings.TrimRight(m.Text, "\n") + "\n" // procmail adds an empty line
			lan.Differ(t, user+"'s copy", []byte(text), []byte(lan.ProgramText))
		}
	}
	s.Drained(20 * time.Second)
	for _, user := range []string{"bob", "carol"} {
		if n := len(s.Messages(user)); n != 2 {
			t.Errorf("%s has %d messages, want 2", user, n)
		}
	}
}
