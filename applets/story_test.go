package applets

import (
	"strings"
	"testing"
	"time"

	"postoffice/internal/control"
	"postoffice/internal/smtp"
	"postoffice/spool"
)

// TestTell: mailq ID says in sentences what was tried and what follows.
func TestTell(t *testing.T) {
	at := time.Date(2026, 11, 24, 12, 0, 0, 0, time.Local)
	m := control.Message{ID: "HOH1EMTUA2UONG", Size: 388, Arrived: at, Sender: "a@b.example", State: control.Deferred,
		Recipients: []control.Recipient{
			{Address: "c@x.example", State: "pending", Attempts: 2, Next: at.Add(20 * time.Minute)},
			{Address: "d@x.example", State: "delivered"},
		},
		History: []control.Event{
			{Time: at.Add(time.Second), Address: "c@x.example", Attempt: 1, Relay: "mx.x.example[192.0.2.1]:25", Err: "connect: connection refused"},
			{Time: at.Add(time.Minute), Event: "held", Err: "an administrator asked"},
			{Time: at.Add(5 * time.Minute), Address: "c@x.example", Attempt: 2, Relay: "mx.x.example[192.0.2.1]:25", Reply: "451 4.7.1 come back later"},
		}}
	var b strings.Builder
	if err := tell(&b, m, 72*time.Hour, at.Add(10*time.Minute)); err != nil {
		t.Fatal(err)
	}
	want := `Message HOH1EMTUA2UONG of 388 octets from <a@b.example> arrived at 12:00:00 on 24 November 2026.

c@x.example: still to be delivered.
  At 12:00:01 on 24 November 2026 attempt 1 was made with mx.x.example[192.0.2.1]:25 and failed: connect: connection refused
  At 12:01:00 on 24 November 2026 it was held: an administrator asked
  At 12:05:00 on 24 November 2026 attempt 2 was made with mx.x.example[192.0.2.1]:25, which said: 451 4.7.1 come back later
  The next attempt is at 12:20:00 on 24 November 2026, in 10m0s.
  If an attempt after 12:00:00 on 27 November 2026 fails too, the message is returned.

d@x.example: delivered.
  At 12:01:00 on 24 November 2026 it was held: an administrator asked
`
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
	b.Reset()
	if err := tell(&b, control.Message{ID: "X", State: control.Corrupt, Reason: "first line torn"}, 0, at); err != nil || !strings.Contains(b.String(), "first line torn") {
		t.Errorf("corrupt: %v, %q", err, b.String())
	}
}

// A failure that the reply names already isn't told twice.
func TestWords(t *testing.T) {
	reply := smtp.Reply{Code: 450, Status: "4.3.0", Text: "program ended with exit code 75"}
	for _, tt := range []struct{ err, want string }{
		{"", "450 4.3.0 program ended with exit code 75"},
		{"program ended with exit code 75", "450 4.3.0 program ended with exit code 75"},
		{"no space", "450 4.3.0 program ended with exit code 75 (no space)"},
	} {
		if got := words(spool.Note{Reply: reply, Err: tt.err}); got != tt.want {
			t.Errorf("%q, want %q", got, tt.want)
		}
	}
}
