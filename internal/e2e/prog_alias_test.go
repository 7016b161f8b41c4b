//go:build e2e

package e2e

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// TestListManager is a mailing list in an alias, "|mlmmj-receive …", as
// Mailman's and Majordomo's are: bob subscribes, confirms, and gets what alice
// writes to the list.
func TestListManager(t *testing.T) {
	s := programSite(t, nil, nil)
	s.script("root", `mkdir -p /var/spool/mlmmj && ln -s `+s.path("aliases")+` /etc/aliases && touch /etc/aliases &&
		printf 'one.test\ncarol@one.test\nen\ny\ny\n' | mlmmj-make-ml -L tips -s /var/spool/mlmmj -c nobody -a >/dev/null && newaliases >/dev/null &&
		su -s /bin/sh nobody -c '/usr/bin/mlmmj-sub -L /var/spool/mlmmj/tips -a alice@one.test'`)

	s.login("bob", "Subject: please\n\n", `exec /usr/sbin/sendmail tips+subscribe@one.test`)
	confirm := s.awaits("bob", 1)
	to := regexp.MustCompile(`tips\+confsub-\S+@one\.test`).FindString(confirm.raw)
	if to == "" {
		t.Fatalf("the list doesn't say where to confirm:\n%s", confirm.raw)
	}
	s.login("bob", "Subject: yes\n\n", `exec /usr/sbin/sendmail "$1"`, to)
	s.awaits("bob", 2) // a welcome

	s.login("alice", programText, `exec s-nail -S ttycharset=utf-8 -s "$2" "$1"`, "tips@one.test", programSubject)
	m := s.awaits("bob", 3)
	if m.address("From") != "alice@one.test" || m.address("To") != "tips@one.test" || m.header("Subject") != programSubject ||
		!strings.HasPrefix(m.Header.Get("Return-Path"), "<tips+bounces-1-bob=one.test@") {
		t.Errorf("not alice's message from the list:\n%s", m.raw)
	}
	differ(t, "the text that bob got", []byte(m.text), []byte(programText+"\n")) // mlmmj begins a line before its final dot
	s.awaits("alice", 1)                                                         // her own
	s.drained(20 * time.Second)
	if log, _ := os.ReadFile(s.log); strings.Contains(string(log), "status=bounced") {
		t.Error("something bounced")
	}
}

// TestVacation is a program in a .forward: the message is in the mailbox, and
// who wrote is told once that alice is away.
func TestVacation(t *testing.T) {
	s := programSite(t, nil, nil)
	writeFile(t, s.path("home", "alice", ".forward"), `\alice, "|/usr/bin/vacation alice"`+"\n")
	writeFile(t, s.path("home", "alice", ".vacation.msg"), "Subject: away\n\nUntil Monday: $SUBJECT\n")
	for _, name := range []string{".forward", ".vacation.msg"} {
		os.Chown(filepath.Join(s.path("home", "alice"), name), 2001, 2001)
	}
	s.login("alice", "", "exec vacation -I")
	s.login("bob", "To: alice@one.test\nSubject: first\n\nhello\n", "exec /usr/sbin/sendmail -t")
	m := s.awaits("bob", 1)
	s.login("bob", "To: alice@one.test\nSubject: second\n\nhello\n", "exec /usr/sbin/sendmail -t")
	s.awaits("alice", 2)
	if m.header("Subject") != "away" || !strings.Contains(m.text, "Until Monday: ") || !strings.Contains(m.raw, "\nReceived: from alice (uid 2001)\n") {
		t.Errorf("vacation's answer:\n%s", m.raw)
	}
	s.drained(20 * time.Second)
	if n := len(s.messages("bob")); n != 1 {
		t.Errorf("bob was told %d times", n)
	}
}

// awaits waits for the nth message of a user and parses it.
func (s *site) awaits(user string, n int) message {
	s.t.Helper()
	until(s.t, 20*time.Second, user+" has another message", func() bool { return len(s.messages(user)) >= n })
	return parseMessage(s.t, s.messages(user)[n-1])
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
			writeFile(t, s.path("home", user, name), text)
			s.run("chown", user, s.path("home", user, name))
			os.Chmod(s.path("home", user, name), 0o600)
		}
	}
	s.login("bob", programText, `exec s-nail -S ttycharset=utf-8 -s "$2" alice "$1"`, "mail@one.test", programSubject)
	for _, user := range []string{"bob", "carol"} {
		for n := range 2 {
			m := s.awaits(user, n+1)
			text := strings.TrimRight(m.text, "\n") + "\n" // procmail adds an empty line
			differ(t, user+"'s copy", []byte(text), []byte(programText))
		}
	}
	s.drained(20 * time.Second)
	for _, user := range []string{"bob", "carol"} {
		if n := len(s.messages(user)); n != 2 {
			t.Errorf("%s has %d messages, want 2", user, n)
		}
	}
}
