//go:build e2e

package peers

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"postoffice/internal/e2e/lan"
)

// moods are the ways in which smtp-sink serves, and what becomes of a recipient
// whose host is in that mood (A41, A53–A56).
var moods = []struct{ flags, state string }{
	{"", "delivered"},
	{"-e", "delivered"},       // HELO only
	{"-p", "delivered"},       // no PIPELINING
	{"-P", "delivered"},       // a greeting of stars
	{"-8", "delivered"},       // no 8BITMIME
	{"-E", "delivered"},       // no enhanced status codes
	{"-T 500", "delivered"},   // a small window
	{"-f EHLO", "delivered"},  // by HELO then
	{"-q QUIT", "delivered"},  // what comes after the dot changes nothing
	{"-Q QUIT", "delivered"},  //
	{"-f RSET", "delivered"},  //
	{"-r CONNECT", "pending"}, // 4xx anywhere is for later
	{"-r EHLO,HELO", "pending"},
	{"-r MAIL", "pending"},
	{"-r RCPT", "pending"},
	{"-r DATA", "pending"},
	{"-r .", "pending"},
	{"-f CONNECT", "pending"}, // 5xx to the host, not to the message
	{"-f EHLO,HELO", "pending"},
	{"-q CONNECT", "pending"}, // no answer is for later
	{"-q EHLO", "pending"},
	{"-q MAIL", "pending"},
	{"-q RCPT", "pending"},
	{"-q DATA", "pending"},
	{"-q .", "pending"},
	{"-Q MAIL", "pending"}, // 421
	{"-Q RCPT", "pending"},
	{"-Q DATA", "pending"},
	{"-Q .", "pending"},
	{"-f MAIL", "bounced"}, // 5xx to the message is for good
	{"-f RCPT", "bounced"},
	{"-f DATA", "bounced"},
	{"-f .", "bounced"},
}

// TestSinkMoods sends one message to as many hosts as smtp-sink has moods.
func TestSinkMoods(t *testing.T) {
	l := lan.New(t)
	records := []string{"one.test. IN A 10.77.0.2", "one.test. IN MX 10 one.test."}
	for i := range moods {
		records = append(records, fmt.Sprintf("m%d.test. IN A 10.77.0.%d", i, 100+i), fmt.Sprintf("m%d.test. IN MX 10 m%d.test.", i, i))
	}
	l.DNS(records...)
	one := l.Host("one.test").Install()
	sinks := l.Host("sinks.test")
	one.Serve()
	to := []string{"-i"}
	for i, mood := range moods {
		ip := fmt.Sprintf("10.77.0.%d", 100+i)
		lan.Sh(t, "ip", "-n", sinks.Namespace, "addr", "add", ip+"/24", "dev", "eth0")
		flags := append([]string{"-u", "root", "-D", sinks.Path(fmt.Sprintf("dump%d", i))}, strings.Fields(mood.flags)...)
		sinks.Start(sinks.Command(context.Background(), lan.PostfixTool(t, "smtp-sink", append(flags, ip+":25", "10")...)...))
		to = append(to, fmt.Sprintf("bob@m%d.test", i))
	}
	lan.Until(t, 20*time.Second, "all sinks listen", func() bool {
		return strings.Count(sinks.Run("ss", "-Hltn", "sport", "=", ":25"), ":25 ") >= len(moods)
	})

	one.Submit("alice", "Subject: to all moods\n\nhello \xe4\n"+strings.Repeat("long enough for a small window\n", 200), to...)
	var q queued
	lan.Until(t, 60*time.Second, "every host was tried", func() bool {
		for _, q = range queue(one) {
			if q.Sender == "alice@one.test" {
				return q.State == "deferred"
			}
		}
		return false
	})
	states := map[string]string{}
	replies := map[string]string{}
	for _, r := range q.Recipients {
		states[r.Address], replies[r.Address] = r.State, r.Reply
	}
	for i, mood := range moods {
		address := fmt.Sprintf("bob@m%d.test", i)
		if states[address] != mood.state {
			t.Errorf("smtp-sink %s: %q (%s), want %q", mood.flags, states[address], replies[address], mood.state)
		}
		// A message is taken when its dot is answered, and smtp-sink writes
		// down what it has by then.
		if got := lan.Contains(sinks.Path(fmt.Sprintf("dump%d", i)), "\nSubject: to all moods\n"); mood.state == "delivered" && !got {
			t.Errorf("smtp-sink %s: the message did not arrive", mood.flags)
		}
	}
	lan.Until(t, 20*time.Second, "alice has the report", func() bool { return lan.Contains(one.Mailbox("alice"), "Subject: to all moods") })
	if r := readReport(t, one.Mailbox("alice")); len(r.Status) != 1+4 {
		t.Errorf("the report is about %d recipients, want the 4 that were refused: %v", len(r.Status)-1, r.Status)
	}
}
