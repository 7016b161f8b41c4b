//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// unserved is a site whose server has run once, so that its queue is made, and
// has ended.
func unserved(t *testing.T) *site {
	l := newLAN(t)
	l.dns("one.test. IN A 10.77.0.2")
	one := l.host("one.test").install()
	p := one.serve()
	until(t, 20*time.Second, "the server is ready", func() bool { return contains(one.log, "server ready") })
	p.stop()
	return one
}

// script runs shell commands as an account of the host.
func (h *host) script(user, commands string) {
	h.t.Helper()
	if out, err := h.as(context.Background(), user, "sh", "-c", commands).CombinedOutput(); err != nil {
		h.t.Fatalf("as %s: %s: %v\n%s", user, commands, err, out)
	}
}

// TestMaildrop is A70: with the server down a message is left as a file, with
// no right of anybody's but the caller's, and is delivered as his when the
// server runs again.
func TestMaildrop(t *testing.T) {
	one := unserved(t)
	one.submit("alice", "Subject: left by alice\n\nhello\n", "bob")
	one.submit("alice", "Subject: with a sender\n\n", "-f", "carol@one.test", "bob@one.test")
	one.submit("alice", "To: carol\nBcc: bob\nSubject: from the header\n\n", "-t")
	one.submit("alice", "Subject: to nobody\n\n", "nobody-here")
	for user, more := range map[string]string{"alice": "--no-new-privs", "2999": "--no-new-privs"} {
		cmd := one.command(t.Context(), "setpriv", "--reuid", user, "--regid", "2001", "--clear-groups", more, applet("sendmail"), "-C", one.cf, "bob")
		cmd.Stdin = strings.NewReader("Subject: no new rights for " + user + "\n\n")
		if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
			t.Errorf("setpriv %s as %s: %v\n%s", more, user, err, out)
		}
	}
	drops := readDir(t, one.path("queue", "maildrop"))
	if len(drops) != 6 {
		t.Errorf("%d files lie in maildrop/, want 6", len(drops))
	}
	for _, e := range drops {
		info, err := e.Info()
		if err != nil || info.Mode() != 0o640 || info.Sys().(*syscall.Stat_t).Gid != 901 {
			t.Errorf("%s has mode %v, %v", e.Name(), info.Mode(), err)
		}
	}
	for _, closed := range []string{"ls queue", "ls queue/maildrop", "ls queue/queue", "cat queue/lock", "cat queue/maildrop/" + drops[0].Name()} {
		if out, err := one.as(t.Context(), "carol", "sh", "-c", "cd "+one.Dir+" && "+closed).CombinedOutput(); err == nil {
			t.Errorf("carol may %s:\n%s", closed, out)
		}
	}

	one.serve()
	for _, subject := range []string{"left by alice", "with a sender", "from the header", "no new rights for alice", "no new rights for 2999"} {
		until(t, 20*time.Second, "bob has "+subject, func() bool { return contains(one.mailbox("bob"), "Subject: "+subject+"\n") })
	}
	for _, want := range []string{"Return-Path: <alice@one.test>\n", "Return-Path: <carol@one.test>\n", "Return-Path: <uid-2999@one.test>\n",
		"Received: from alice (uid 2001)\n", "Received: from uid-2999 (uid 2999)\n", "\nMessage-ID: <", "\nDate: "} {
		if !contains(one.mailbox("bob"), want) {
			t.Errorf("bob's mailbox lacks %q", want)
		}
	}
	if contains(one.mailbox("bob"), "Bcc:") {
		t.Error("a Bcc field was sent")
	}
	until(t, 20*time.Second, "alice hears of the recipient who isn't", func() bool { return contains(one.mailbox("alice"), "nobody-here") })
	one.drained(10 * time.Second)
	if left := readDir(t, one.path("queue", "maildrop")); len(left) != 0 {
		t.Errorf("%v stays in maildrop/", left)
	}
}

// TestMaildropOnePass: root's runq takes in what lies there. Where no
// maildrop/ is, there is one line and 75.
func TestMaildropOnePass(t *testing.T) {
	one := unserved(t)
	one.submit("alice", "Subject: for a pass\n\n", "bob")
	one.applet("runq")
	if !contains(one.mailbox("bob"), "Subject: for a pass\n") {
		t.Error("runq did not deliver what was left")
	}
	if err := os.Remove(one.path("queue", "maildrop")); err != nil {
		t.Fatal(err)
	}
	cmd := one.as(t.Context(), "alice", applet("sendmail"), "-C", one.cf, "bob")
	cmd.Stdin = strings.NewReader("Subject: nowhere to go\n\n")
	out, err := cmd.CombinedOutput()
	if e := (*exec.ExitError)(nil); !errors.As(err, &e) || e.ExitCode() != 75 || !strings.Contains(string(out), "hint: ask root to start it: postoffice smtpd") {
		t.Errorf("without maildrop/: %v\n%s", err, out)
	}
}

// TestA69Hostile: what users put into maildrop/ besides messages discloses
// nothing, and keeps nobody's mail waiting.
func TestA69Hostile(t *testing.T) {
	one := unserved(t)
	drop := one.path("queue", "maildrop")
	const secret = "root:$6$secret-hash"
	writeFile(t, one.path("shadow"), secret+"\n")
	os.Chmod(one.path("shadow"), 0o640)
	for name, link := range map[string]func(string, string) error{"HARD": os.Link, "SOFT": os.Symlink} { // protected_hardlinks keeps alice from the first
		if err := link(one.path("shadow"), filepath.Join(drop, name)); err != nil {
			t.Fatal(err)
		}
	}
	one.script("alice", fmt.Sprintf(`cd %s && umask 027 && mkfifo FIFO && mkdir DIR && ln -s /etc/shadow LINK && truncate -s 1T SPARSE && echo 'To: bob' >WRONG &&
		printf 'postoffice drop 1\nfrom <bob>\nto <bob>\n\nSubject: forged\n\n' >FORGED`, drop))
	one.script("carol", fmt.Sprintf(`cd %s && umask 027 && for i in $(seq 400); do printf 'postoffice drop 1\nto <carol>\n\nSubject: flood\n\n' >F$i; done`, drop))
	one.submit("alice", "Subject: honest\n\n", "bob")
	grow := one.start(one.as(t.Context(), "alice", "sh", "-c", fmt.Sprintf(
		`cd %s && umask 027 && exec 3>GROWS && printf 'postoffice drop 1\nto <bob>\n\nSubject: growing\n\n' >&3 && while echo more >&3; do :; done`, drop)))
	until(t, 10*time.Second, "the file grows", func() bool { return contains(filepath.Join(drop, "GROWS"), "more") })

	one.serve()
	until(t, 20*time.Second, "bob has the honest message", func() bool { return contains(one.mailbox("bob"), "Subject: honest\n") })
	until(t, 60*time.Second, "the flood is through", func() bool {
		b, _ := os.ReadFile(one.mailbox("carol"))
		return strings.Count(string(b), "Subject: flood\n") == 400
	})
	grow.stop()
	until(t, 20*time.Second, "the forger's message has come", func() bool { return contains(one.mailbox("bob"), "Subject: forged\n") })
	if !contains(one.mailbox("bob"), "Received: from alice (uid 2001)\n") {
		t.Error("the owner of the forged message isn't named")
	}
	names := map[string]bool{}
	for _, e := range readDir(t, drop) {
		names[e.Name()] = true
	}
	for _, name := range []string{"HARD", "SOFT", "FIFO", "DIR", "LINK", "SPARSE"} { // the last is more than its owner may have in corrupt/
		if !names[name] {
			t.Errorf("%s was taken away", name)
		}
		delete(names, name)
	}
	if len(names) > 0 {
		t.Errorf("%v stay in maildrop/", names)
	}
	// WRONG; GROWS too, unless the writer paused while it was read, and then
	// what stood there by then is sent, once.
	until(t, 20*time.Second, "two files are set aside, or one and the other is sent", func() bool {
		b, _ := os.ReadFile(one.mailbox("bob"))
		return strings.Count(string(b), "Subject: growing\n")+len(readDir(t, one.path("queue", "corrupt"))) == 2
	})
	for _, name := range []string{one.log, one.mailbox("alice"), one.mailbox("bob"), one.mailbox("carol")} {
		if contains(name, "secret-hash") {
			t.Errorf("%s discloses the file that was linked", name)
		}
	}
	if !contains(one.log, "drop not picked up") || !contains(one.log, "drop set aside") {
		t.Error("the log says nothing of it")
	}
}
