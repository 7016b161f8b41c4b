//go:build e2e

package flow

import (
	"bufio"
	"strings"
	"testing"
	"time"

	"postoffice/internal/e2e/lan"
)

// crowd has users open connections that say nothing more than first, and returns
// how many were served: what came begins with want.
func crowd(t *testing.T, path, first, want string, tries map[int]int) (served map[int]int) {
	t.Helper()
	served = map[int]int{}
	limit := time.Now().Add(20 * time.Second)
	for uid, n := range tries {
		for range n {
			conn, err := lan.DialAs(t, uid, path)
			if err != nil {
				t.Fatalf("uid %d: %v", uid, err)
			}
			conn.SetDeadline(limit)
			conn.Write([]byte(first)) // one that is refused has perhaps closed already
			if line, _ := bufio.NewReader(conn).ReadString('\n'); strings.HasPrefix(line, want) {
				served[uid]++
			}
		}
	}
	return served
}

// TestA81Crowd: two users who open 500 connections each, and 300 uids without an
// account, have their shares of submission, of control and of watching, and others
// are served at once, root too.
func TestA81Crowd(t *testing.T) {
	const alice, carol, contained = 2001, 2003, 300_000
	one, _ := limited(t)
	one.Serve()
	hostile := map[int]int{alice: 500, carol: 500}
	for i := range 300 {
		hostile[contained+i] = 1
	}
	few := map[int]int{alice: 100, carol: 100}
	for _, tt := range []struct {
		socket, first, want string
		tries               map[int]int
		most                int // of one user, of those who came first
		work                func()
	}{
		{"submission", "", "220 ", hostile, 250, func() {
			one.Submit("bob", "Subject: from bob\n\n", "bob")
			one.Says("", "Subject: from root\n\n", "sendmail", "bob")
			lan.Until(t, 20*time.Second, "bob has both", func() bool {
				return lan.Contains(one.Mailbox("bob"), "Subject: from bob\n") && lan.Contains(one.Mailbox("bob"), "Subject: from root\n")
			})
			if n := len(lan.ReadDir(t, one.Path("queue", "maildrop"))); n != 0 {
				t.Errorf("%d messages had to go into maildrop/", n)
			}
		}},
		{"control", "{\"do\":\"watch\"}\n", "{\"watched\"", few, 16, func() {
			for _, user := range []string{"bob", ""} {
				if code, out, said := one.Says(user, "", "mailq"); code != 0 {
					t.Errorf("mailq of %q: code %d, %s%s", user, code, out, said)
				}
				if code, _, said := one.Says(user, "Subject: watched\n\n", "sendmail", "--wait=20s", "bob"); code != 0 {
					t.Errorf("sendmail --wait of %q: code %d, %s", user, code, said)
				}
			}
		}},
	} {
		served := crowd(t, one.Path("run", tt.socket), tt.first, tt.want, tt.tries)
		together := 0
		for uid, n := range served {
			if uid >= contained {
				together += n
			}
		}
		if served[alice] > tt.most || served[carol] > tt.most || together > tt.most || served[alice]+served[carol] == 0 {
			t.Errorf("%s: alice has %d, carol %d, uids without an account %d, want at most %d each", tt.socket, served[alice], served[carol], together, tt.most)
		}
		tt.work()
	}
}
