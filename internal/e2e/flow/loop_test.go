//go:build e2e

package flow

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"postoffice/internal/e2e/lan"
	"postoffice/internal/testenv"
)

// TestForwardedBouncesEnd: a .forward that sends everything on with the sender
// that it came from, to an address that the relay refuses, makes no loop of
// bounces: that of a bounce is the null sender, whose failures nobody hears of
// (A59).
func TestForwardedBouncesEnd(t *testing.T) {
	l := lan.New(t)
	l.DNS("one.test. IN A 10.77.0.2")
	sink := &testenv.Sink{Answer: func(ev testenv.Event) testenv.Action {
		if ev.Verb == "RCPT" {
			return testenv.Action{Reply: "550 5.1.1 no such user"}
		}
		return testenv.Action{}
	}}
	relay := l.Host("two.test")
	go sink.Serve(relay.Listen("25"))
	t.Cleanup(sink.Close)
	s := l.Host("one.test").Install("relay-host=[" + relay.IP + "]:25")
	forward := s.Path("home", "alice", ".forward")
	lan.WriteFile(t, forward, fmt.Sprintf(`"|%s -C %s -i -f \"$SENDER\" dead@far.example"`+"\n", lan.Applet("sendmail"), s.Config))
	if err := os.Chown(forward, lan.Alice.UID, lan.Alice.GID); err != nil {
		t.Fatal(err)
	}
	s.Serve()
	s.Submit("bob", "Subject: to one who has moved\n\nhello\n", "alice")
	s.Submit("alice", "Subject: to herself\n\nhello\n", "alice")
	lan.Until(t, 20*time.Second, "bob has a bounce", func() bool { return lan.Contains(s.Mailbox("bob"), "dead@far.example") })
	s.Drained(30 * time.Second)
	log, err := os.ReadFile(s.Log)
	if err != nil {
		t.Fatal(err)
	}
	// Of each of the two: itself, what the program sends, and the report about that.
	// alice's report is sent on once more, the postmaster hears of that, and it is
	// the end.
	if got := strings.Count(string(log), "message queued"); got != 8 {
		t.Errorf("%d messages, want 8:\n%s", got, log)
	}
}
