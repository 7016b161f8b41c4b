//go:build e2e

package flow

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"postoffice/internal/e2e/lan"
)

// TestRestartsCostNoSubmission: while a server is stopped and started again and
// again, every call of sendmail, root's and users', ends with 0, and its message
// is delivered.
func TestRestartsCostNoSubmission(t *testing.T) {
	const restarts, each = 6, 12 // submissions between two restarts
	one := lan.New(t).Host("one.test").Install("immediate=yes")
	p := one.Serve()
	var mu sync.Mutex
	sent := map[string]bool{} // tokens of the messages that were taken
	count := func() int {
		mu.Lock()
		defer mu.Unlock()
		return len(sent)
	}
	var over atomic.Bool
	var submitters sync.WaitGroup
	for n, user := range []string{"", "", "alice", "bob"} {
		submitters.Go(func() {
			for i := 0; !over.Load(); i++ {
				token := fmt.Sprintf("token-%d-%d", n, i)
				text := "Subject: restart\n\n" + token + "\n"
				if i%5 == 0 { // more than is kept in memory
					text += strings.Repeat("a line of a long message\n", 8000)
				}
				if code, _, said := one.Says(user, text, "sendmail", "-i", "alice"); code != 0 {
					t.Errorf("submission %d of %q: exit %d, %q", i, user, code, said)
					return
				}
				mu.Lock()
				sent[token] = true
				mu.Unlock()
			}
		})
	}
	for range restarts {
		goal := count() + each
		lan.Until(t, time.Minute, "more submissions", func() bool { return count() >= goal || t.Failed() })
		p.Stop()
		p = one.Serve()
	}
	defer func() {
		if t.Failed() {
			t.Logf("the queue at the end:\n%s", one.Applet("mailq"))
		}
	}()
	over.Store(true)
	submitters.Wait()
	lan.Until(t, time.Minute, "maildrop/ is empty and all is delivered", func() bool {
		out := one.Applet("mailq")
		return strings.Contains(out, "Mail queue is empty.") && !strings.Contains(out, "maildrop")
	})
	copies := map[string]int{}
	for _, m := range one.Messages("alice") {
		for _, word := range strings.Fields(m) {
			if strings.HasPrefix(word, "token-") {
				copies[word]++
			}
		}
	}
	for token := range copies {
		if !sent[token] {
			t.Errorf("%s was delivered, and not submitted", token)
		}
	}
	for token := range sent {
		if copies[token] == 0 {
			t.Errorf("%s was submitted, and not delivered", token)
		}
	}
	t.Logf("%d messages over %d restarts", len(sent), restarts)
}
