//go:build e2e

package flow

import (
	"os"
	"strings"
	"testing"
	"time"

	"postoffice/internal/e2e/lan"
)

// TestForwardLoop: two servers whose alices forward to each other end that after
// one lap, by the Delivered-To of the one that sent it first, and the sender is
// told; a message with no way back passes through both.
func TestForwardLoop(t *testing.T) {
	l := lan.New(t)
	l.DNS("one.test. IN A 10.77.0.2", "one.test. IN MX 10 one.test.", "two.test. IN A 10.77.0.3", "two.test. IN MX 10 two.test.")
	one, two := l.Host("one.test").Install(), l.Host("two.test").Install()
	for _, f := range []struct {
		host      *lan.Site
		user, say string
	}{{one, "alice", "alice@two.test"}, {two, "alice", "alice@one.test"}, {one, "bob", "bob@two.test"}} {
		name := f.host.Path("home", f.user, ".forward")
		lan.WriteFile(t, name, f.say+"\n")
		for _, u := range lan.People {
			if u.Name == f.user {
				os.Chown(name, u.UID, u.GID)
			}
		}
	}
	one.Serve()
	two.Serve()
	one.Submit("carol", "Subject: round\n\n", "alice")
	one.Submit("carol", "Subject: straight on\n\n", "bob")
	lan.Until(t, 30*time.Second, "carol has a report", func() bool { return lan.Contains(one.Mailbox("carol"), "Status: 5.4.6") })
	lan.Until(t, 30*time.Second, "bob has the message", func() bool { return lan.Contains(two.Mailbox("bob"), "Subject: straight on") })
	one.Drained(10 * time.Second)
	two.Drained(10 * time.Second)
	if report := one.Messages("carol"); len(report) != 1 || strings.Count(report[0], "Delivered-To: alice@") != 1 || !strings.Contains(report[0], "\nStatus: 5.4.6\n") {
		t.Errorf("carol has %q, want a report about one lap", report)
	}
	for _, s := range []*lan.Site{one, two} {
		if got := s.Messages("alice"); len(got) > 0 {
			t.Errorf("alice has %q", got)
		}
	}
	if n := count(two.Log, "to=<alice@one.test>"); n != 1 {
		t.Errorf("two.test sent it back %d times, want once", n)
	}
	if got := two.Messages("bob"); len(got) != 1 || strings.Count(got[0], "Delivered-To: bob@one.test\n") != 1 {
		t.Errorf("bob has %q, with one Delivered-To of each server's", got)
	}
}
