//go:build e2e

package flow

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"postoffice/internal/e2e/lan"
)

// TestA81QueuedMail: bob's mail to a host that is down fills a spool of 64 MB no further
// than his share, and he is told so. The mail of others, to there and to here, his
// reports and what others have left in maildrop/ go on, also when the server starts
// anew; when his mail is removed, he may send again, and what he has left is taken.
func TestA81QueuedMail(t *testing.T) {
	l := lan.New(t)
	l.DNS("one.test. IN A 10.77.0.2", "one.test. IN MX 10 one.test.", "down.test. IN A 10.77.0.3", "down.test. IN MX 10 down.test.")
	one := l.Host("one.test").Install()
	l.Host("down.test") // nothing listens there
	stranger := l.Host("client.test")
	one.Tmpfs(one.Path("queue"), "size=64m,mode=700,uid=901,gid=901")
	p := one.Serve()
	body := strings.Repeat(strings.Repeat("x", 62)+"\n", 16<<10) // a megabyte
	send := func(user, subject, to string) (code int, said string) {
		t.Helper()
		code, _, said = one.Says(user, "Subject: "+subject+"\n\n"+body, "sendmail", to)
		return code, said
	}
	refused := func() {
		t.Helper()
		code, said := send("bob", "too much", "x@down.test")
		for _, word := range []string{"452 4.3.1", "messages of yours with", "mailq", "postoffice queue remove"} {
			if code != 75 || !strings.Contains(said, word) {
				t.Errorf("bob has his share: exit code %d, said %q, want 75 and %q", code, said, word)
			}
		}
		if left := lan.ReadDir(t, one.Path("queue", "maildrop")); len(left) != 0 {
			t.Errorf("%v is in maildrop/", left)
		}
	}
	others := func(when string) {
		t.Helper()
		if code, said := send("carol", when, "x@down.test"); code != 0 {
			t.Errorf("%s: carol's mail to down.test: exit code %d, said %q", when, code, said)
		}
		if err := sendFrom(stranger, one, "Subject: "+when+"\n\n"+body); err != nil {
			t.Errorf("%s: a stranger's: %v", when, err)
		}
		lan.Until(t, 20*time.Second, "alice has the stranger's message", func() bool {
			return lan.Contains(one.Mailbox("alice"), "Subject: "+when+"\n")
		})
	}

	n, ids := -1, []string(nil)
	for code := 0; code == 0 && n < 64; n++ {
		if code, _ = send("bob", "one of many", "x@down.test"); n == 0 {
			for _, e := range lan.ReadDir(t, one.Path("queue", "queue")) {
				ids = append(ids, e.Name())
			}
		}
	}
	if n < 20 || n > 27 { // 54 MB are above minfree, and the ballast and others have some
		t.Errorf("%d messages of bob's are taken, want half of 54 MB", n)
	}
	refused()
	others("at first")
	wantQueue(one, 0, "", "bounce", ids[0])
	lan.Until(t, 20*time.Second, "bob has his report", func() bool { return lan.Contains(one.Mailbox("bob"), "returned by an administrator") })
	for code := 0; code == 0; {
		code, _ = send("bob", "one more", "x@down.test")
	}

	p.Stop()
	p = one.Serve()
	refused()
	others("after the start")

	p.Stop()
	one.Submit("bob", "Subject: left by bob\n\n"+body, "bob")
	one.Submit("carol", "Subject: left by carol\n\n"+body, "alice")
	one.Serve()
	lan.Until(t, 20*time.Second, "alice has what carol left", func() bool { return lan.Contains(one.Mailbox("alice"), "Subject: left by carol\n") })
	if left := lan.ReadDir(t, one.Path("queue", "maildrop")); len(left) != 1 {
		t.Errorf("%d files are in maildrop/, want bob's", len(left))
	}

	wantQueue(one, 0, "", "remove", "--from", "bob*")
	if code, said := send("bob", "again", "carol"); code != 0 {
		t.Errorf("when his mail is removed: exit code %d, said %q", code, said)
	}
	one.Applet("runq")
	lan.Until(t, 20*time.Second, "bob has what he left", func() bool { return lan.Contains(one.Mailbox("bob"), "Subject: left by bob\n") })
	if lan.Contains(one.Mailbox("bob"), "Subject: too much\n") || !lan.Says(one.Log, fmt.Sprintf("drop not picked up client=%q", "uid 2002")) {
		t.Error("something is delivered that was refused, or the log doesn't say why a drop stays")
	}
}
