//go:build e2e

package flow

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"postoffice/internal/e2e/lan"
)

// unserved is a site whose server has run once, so that its queue is made, and
// has ended.
func unserved(t *testing.T) *lan.Site {
	l := lan.New(t)
	l.DNS("one.test. IN A 10.77.0.2")
	one := l.Host("one.test").Install()
	p := one.Serve()
	lan.Until(t, 20*time.Second, "the server is ready", func() bool { return lan.Contains(one.Log, "server ready") })
	p.Stop()
	return one
}

// TestMaildrop is A70: with the server down a message is left as a file, with
// no right of anybody's but the caller's, and is delivered as theirs when the
// server runs again.
func TestMaildrop(t *testing.T) {
	one := unserved(t)
	one.Submit("alice", "Subject: left by alice\n\nhello\n", "bob")
	one.Submit("alice", "Subject: with a sender\n\n", "-f", "carol@one.test", "bob@one.test")
	one.Submit("alice", "To: carol\nBcc: bob\nSubject: from the header\n\n", "-t")
	one.Submit("alice", "Subject: to nobody\n\n", "nobody-here")
	for user, more := range map[string]string{"alice": "--no-new-privs", "2999": "--no-new-privs"} {
		cmd := one.Command(t.Context(), "setpriv", "--reuid", user, "--regid", "2001", "--clear-groups", more, lan.Applet("sendmail"), "-C", one.Config, "bob")
		cmd.Stdin = strings.NewReader("Subject: no new rights for " + user + "\n\n")
		if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
			t.Errorf("setpriv %s as %s: %v\n%s", more, user, err, out)
		}
	}
	drops := lan.ReadDir(t, one.Path("queue", "maildrop"))
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
		if out, err := one.As(t.Context(), "carol", "sh", "-c", "cd "+one.Dir+" && "+closed).CombinedOutput(); err == nil {
			t.Errorf("carol may %s:\n%s", closed, out)
		}
	}

	one.Serve()
	for _, subject := range []string{"left by alice", "with a sender", "from the header", "no new rights for alice", "no new rights for 2999"} {
		lan.Until(t, 20*time.Second, "bob has "+subject, func() bool { return lan.Contains(one.Mailbox("bob"), "Subject: "+subject+"\n") })
	}
	for _, want := range []string{"Return-Path: <alice@one.test>\n", "Return-Path: <carol@one.test>\n", "Return-Path: <uid-2999@one.test>\n",
		"Received: from alice (uid 2001)\n", "Received: from uid-2999 (uid 2999)\n", "\nMessage-ID: <", "\nDate: "} {
		if !lan.Contains(one.Mailbox("bob"), want) {
			t.Errorf("bob's mailbox lacks %q", want)
		}
	}
	if lan.Contains(one.Mailbox("bob"), "Bcc:") {
		t.Error("a Bcc field was sent")
	}
	lan.Until(t, 20*time.Second, "alice hears of the recipient who isn't", func() bool { return lan.Contains(one.Mailbox("alice"), "nobody-here") })
	one.Drained(10 * time.Second)
	if left := lan.ReadDir(t, one.Path("queue", "maildrop")); len(left) != 0 {
		t.Errorf("%v stays in maildrop/", left)
	}
}

// TestMaildropOnePass: root's runq takes in what lies there. Where no
// maildrop/ is, there is one line and 75.
func TestMaildropOnePass(t *testing.T) {
	one := unserved(t)
	one.Submit("alice", "Subject: for a pass\n\n", "bob")
	one.Applet("runq")
	if !lan.Contains(one.Mailbox("bob"), "Subject: for a pass\n") {
		t.Error("runq did not deliver what was left")
	}
	if err := os.Remove(one.Path("queue", "maildrop")); err != nil {
		t.Fatal(err)
	}
	cmd := one.As(t.Context(), "alice", lan.Applet("sendmail"), "-C", one.Config, "bob")
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
	drop := one.Path("queue", "maildrop")
	const secret = "root:$6$secret-hash"
	lan.WriteFile(t, one.Path("shadow"), secret+"\n")
	os.Chmod(one.Path("shadow"), 0o640)
	for name, link := range map[string]func(string, string) error{"HARD": os.Link, "SOFT": os.Symlink} { // protected_hardlinks keeps alice from the first
		if err := link(one.Path("shadow"), filepath.Join(drop, name)); err != nil {
			t.Fatal(err)
		}
	}
	one.Script("alice", fmt.Sprintf(`cd %s && umask 027 && mkfifo FIFO && mkdir DIR && ln -s /etc/shadow LINK && truncate -s 1T SPARSE && echo 'To: bob' >WRONG &&
		printf 'postoffice drop 1\nfrom <bob>\nto <bob>\n\nSubject: forged\n\n' >FORGED`, drop))
	one.Script("carol", fmt.Sprintf(`cd %s && umask 027 && for i in $(seq 400); do printf 'postoffice drop 1\nto <carol>\n\nSubject: flood\n\n' >F$i; done`, drop))
	one.Submit("alice", "Subject: honest\n\n", "bob")
	grow := one.Start(one.As(t.Context(), "alice", "sh", "-c", fmt.Sprintf(
		`cd %s && umask 027 && exec 3>GROWS && printf 'postoffice drop 1\nto <bob>\n\nSubject: growing\n\n' >&3 && while echo more >&3; do :; done`, drop)))
	lan.Until(t, 10*time.Second, "the file grows", func() bool { return lan.Contains(filepath.Join(drop, "GROWS"), "more") })

	one.Serve()
	lan.Until(t, 20*time.Second, "bob has the honest message", func() bool { return lan.Contains(one.Mailbox("bob"), "Subject: honest\n") })
	lan.Until(t, 60*time.Second, "the flood is through", func() bool {
		b, _ := os.ReadFile(one.Mailbox("carol"))
		return strings.Count(string(b), "Subject: flood\n") == 400
	})
	grow.Stop()
	lan.Until(t, 20*time.Second, "the forger's message has come", func() bool { return lan.Contains(one.Mailbox("bob"), "Subject: forged\n") })
	if !lan.Contains(one.Mailbox("bob"), "Received: from alice (uid 2001)\n") {
		t.Error("the owner of the forged message isn't named")
	}
	names := map[string]bool{}
	for _, e := range lan.ReadDir(t, drop) {
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
	lan.Until(t, 20*time.Second, "two files are set aside, or one and the other is sent", func() bool {
		b, _ := os.ReadFile(one.Mailbox("bob"))
		return strings.Count(string(b), "Subject: growing\n")+len(lan.ReadDir(t, one.Path("queue", "corrupt"))) == 2
	})
	for _, name := range []string{one.Log, one.Mailbox("alice"), one.Mailbox("bob"), one.Mailbox("carol")} {
		if lan.Contains(name, "secret-hash") {
			t.Errorf("%s discloses the file that was linked", name)
		}
	}
	if !lan.Says(one.Log, "drop not picked up") || !lan.Says(one.Log, "drop set aside") {
		t.Error("the log says nothing of it")
	}
}

// TestMaildropRestored: after chown -R root of the queue, as a restore does it,
// and what the server's hint says, nothing that lay in maildrop/ is lost. Who
// left what root owns by then isn't known: it is held for root to look at and
// release.
func TestMaildropRestored(t *testing.T) {
	one := unserved(t)
	one.Submit("alice", "Subject: before the restore\n\n", "-f", "carol@one.test", "bob")
	one.Script("root", "chown -R root:root "+one.Path("queue"))
	one.Submit("alice", "Subject: after the restore\n\n", "bob")
	code, _, said := one.Says("", "", "smtpd", "-bD")
	if code != 77 {
		t.Fatalf("the server starts in a queue of root's, or ends with %d, want 77:\n%s", code, said)
	}
	hints := 0
	for line := range strings.Lines(said) {
		if n := strings.Index(line, ": find "); n >= 0 {
			one.Script("root", line[n+2:])
			hints++
		}
	}
	if hints != 2 {
		t.Fatalf("%d commands, want 2:\n%s", hints, said)
	}
	one.Serve()
	lan.Until(t, 20*time.Second, "bob has what alice still owned", func() bool { return lan.Contains(one.Mailbox("bob"), "Subject: after the restore\n") })
	lan.Until(t, 20*time.Second, "the other message is held", func() bool { return lan.Contains(one.Log, "message held") })
	if left := lan.ReadDir(t, one.Path("queue", "corrupt")); len(left) != 0 {
		t.Errorf("%v is set aside as damaged", left)
	}
	listed := one.Applet("mailq")
	for _, want := range []string{"carol@one.test", "bob", "root owns the file in maildrop/"} {
		if !strings.Contains(listed, want) {
			t.Errorf("mailq lacks %q:\n%s", want, listed)
		}
	}
	if lan.Contains(one.Mailbox("bob"), "before the restore") {
		t.Error("sent before root has released it")
	}
	id := lan.ReadDir(t, one.Path("queue", "hold"))[0].Name()
	wantQueue(one, 0, id+": released\n", "release", id)
	lan.Until(t, 20*time.Second, "bob has what was released", func() bool {
		return lan.Contains(one.Mailbox("bob"), "Return-Path: <carol@one.test>\n") && lan.Contains(one.Mailbox("bob"), "Subject: before the restore\n")
	})
}
