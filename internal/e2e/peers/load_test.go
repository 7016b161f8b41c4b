//go:build e2e

package peers

import (
	"context"
	"fmt"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"postoffice/internal/e2e/lan"
)

// load is how many messages travel, over how many sessions, to how many users.
const (
	loadMessages = 10_000
	loadSessions = 20
	loadUsers    = 1_000
)

// TestTenThousand sends 10,000 numbered messages over 20 sessions to 1,000
// users: each lies once, whole, in the right mailbox.
func TestTenThousand(t *testing.T) {
	l := lan.New(t)
	l.DNS("one.test. IN A 10.77.0.2", "one.test. IN MX 10 one.test.")
	users := make([]lan.User, loadUsers)
	for i := range users {
		users[i] = lan.Account(fmt.Sprintf("u%04d", i), 3000+i)
	}
	s := l.Host("one.test", users...).Install()
	client := l.Host("client.test")
	s.Serve()

	var wg sync.WaitGroup
	for session := range loadSessions {
		wg.Go(func() {
			if err := sendNumbered(client, s.IP+":25", session); err != nil {
				t.Errorf("session %d: %v", session, err)
			}
		})
	}
	wg.Wait()
	s.Drained(2 * time.Minute)

	seen := map[string]bool{}
	for _, u := range users {
		raw, err := os.ReadFile(s.Mailbox(u.Name))
		if err != nil {
			t.Error(err)
			continue
		}
		messages := numbered.FindAllStringSubmatch(string(raw), -1)
		if from := strings.Count("\n"+string(raw), "\n\nFrom writer@client.test "); from != len(messages)-1 {
			t.Errorf("%s: %d messages, but %d From_ lines behind an empty line", u.Name, len(messages), from)
		}
		for _, m := range messages {
			if m[1] != u.Name {
				t.Errorf("%s has message %s of %s", u.Name, m[2], m[1])
			}
			if seen[m[2]] {
				t.Errorf("message %s was delivered twice", m[2])
			}
			seen[m[2]] = true
		}
	}
	if len(seen) != loadMessages {
		t.Errorf("%d of %d messages arrived", len(seen), loadMessages)
	}
}

// numbered is a whole message of sendNumbered: its user, and its number at both ends.
var numbered = regexp.MustCompile(`(?m)^Subject: for (u\d+)\n\nfirst (\d+)\n(?:x+\n){20}last \d+\n\n`)

// sendNumbered sends a session's part of the messages.
func sendNumbered(from *lan.Host, address string, session int) error {
	conn, err := from.Dial(address)
	if err != nil {
		return err
	}
	defer conn.Close()
	d, err := lan.NewDialogue(conn, "client.test")
	if err != nil {
		return err
	}
	body := strings.Repeat(strings.Repeat("x", 70)+"\n", 20)
	for n := session; n < loadMessages; n += loadSessions {
		to := fmt.Sprintf("u%04d", n*7%loadUsers)
		text := fmt.Sprintf("Subject: for %s\n\nfirst %d\n%slast %d\n", to, n, body, n)
		if err := d.Send("writer@client.test", to+"@one.test", text); err != nil {
			return fmt.Errorf("message %d: %w", n, err)
		}
	}
	d.Quit()
	return nil
}

// TestTenThousandRelayed sends as many with smtp-source through us to
// smtp-sink: each recipient, numbered by smtp-source, is asked for once.
func TestTenThousandRelayed(t *testing.T) {
	l := lan.New(t)
	l.DNS("one.test. IN A 10.77.0.2", "sink.test. IN A 10.77.0.3", "sink.test. IN MX 10 sink.test.")
	s := l.Host("one.test").Install("trusted=10.77.0.4", "clients=100")
	sink := l.Host("sink.test")
	client := l.Host("client.test")
	dump := sink.Path("dump")
	sink.Start(sink.Command(context.Background(), lan.PostfixTool(t, "smtp-sink", "-u", "root", "-D", dump, sink.IP+":25", "1000")...))
	sink.Listening("25")
	s.Serve()

	client.Run(lan.PostfixTool(t, "smtp-source", "-N", "-s", fmt.Sprint(loadSessions), "-m", fmt.Sprint(loadMessages), "-l", "1024",
		"-M", "client.test", "-f", "writer@client.test", "-t", "x@sink.test", s.IP+":25")...)
	s.Drained(2 * time.Minute)
	raw, err := os.ReadFile(dump)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	for _, m := range regexp.MustCompile(`(?m)^X-Rcpt-Args: <(\d+)x@sink\.test>`).FindAllStringSubmatch(string(raw), -1) {
		seen[m[1]]++
	}
	for number, n := range seen {
		if n != 1 {
			t.Errorf("recipient %s got %d copies", number, n)
		}
	}
	if len(seen) != loadMessages {
		t.Errorf("%d of %d messages arrived", len(seen), loadMessages)
	}
}
