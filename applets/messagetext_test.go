package applets

import (
	"errors"
	"strings"
	"testing"
	"time"
	"unicode"

	"postoffice/applets/control"
)

// TestMessageText: mailq ID says in sentences what was tried and what follows.
func TestMessageText(t *testing.T) {
	at := time.Date(2026, 11, 24, 12, 0, 0, 0, time.Local)
	m := control.Message{ID: "HOH1EMTUA2UONG", Size: 388, Arrived: at, Sender: "a@b.example", State: control.Deferred, RequireTLS: true,
		Recipients: []control.Recipient{
			{Address: "c@x.example", State: "pending", Attempts: 2, Next: at.Add(20 * time.Minute)},
			{Address: "d@x.example", State: "delivered"},
		},
		History: []control.Note{
			{Time: at.Add(time.Second), For: []control.Range{{0, 0}}, Attempt: 1, Relay: "mx.x.example[192.0.2.1]:25", Err: "connect: connection refused"},
			{Time: at.Add(time.Minute), Event: "held", Err: "an administrator asked"},
			{Time: at.Add(5 * time.Minute), For: []control.Range{{0, 0}}, Attempt: 2, Relay: "mx.x.example[192.0.2.1]:25", TLS: "TLS 1.3 TLS_AES_128_GCM_SHA256", Reply: "451 4.7.1 come back later"},
		}}
	var b strings.Builder
	if err := messageText(&b, m, 72*time.Hour, at.Add(10*time.Minute)); err != nil {
		t.Fatal(err)
	}
	want := `Message HOH1EMTUA2UONG of 388 octets from <a@b.example> arrived at 12:00:00 on 24 November 2026.
It goes over TLS alone, to servers that do the same (REQUIRETLS).

c@x.example: still to be delivered.
  At 12:00:01 on 24 November 2026 attempt 1 was made with mx.x.example[192.0.2.1]:25 and failed: connect: connection refused
  At 12:01:00 on 24 November 2026 it was held: an administrator asked
  At 12:05:00 on 24 November 2026 attempt 2 was made with mx.x.example[192.0.2.1]:25 over TLS 1.3 TLS_AES_128_GCM_SHA256, which said: 451 4.7.1 come back later
  The next attempt is at 12:20:00 on 24 November 2026, in 10m0s.
  If an attempt after 12:00:00 on 27 November 2026 fails too, the message is returned.

d@x.example: delivered.
  At 12:01:00 on 24 November 2026 it was held: an administrator asked
`
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
	b.Reset()
	if err := messageText(&b, control.Message{ID: "X", State: control.Corrupt, Reason: "first line torn"}, 0, at); err != nil || !strings.Contains(b.String(), "first line torn") {
		t.Errorf("corrupt: %v, %q", err, b.String())
	}
}

// TestMessageTextPrivate: who has no part in a message is told that it is there.
func TestMessageTextPrivate(t *testing.T) {
	at := time.Date(2026, 11, 24, 12, 0, 0, 0, time.Local)
	m := control.Message{ID: "HOH1EMTUA2UONG", Size: 388, Arrived: at, State: control.Held, Private: true, Recipients: []control.Recipient{}}
	var text, list strings.Builder
	err := errors.Join(messageText(&text, m, time.Hour, at), listText(&list, listOf(m)))
	const want = "Message HOH1EMTUA2UONG of 388 octets arrived at 12:00:00 on 24 November 2026 and is held. It is not yours, so that no more is shown to you.\n"
	if err != nil || text.String() != want {
		t.Errorf("got %q, %v, want %q", text.String(), err, want)
	}
	if !strings.Contains(list.String(), "!HOH1EMTUA2UONG     388  12:00 24-Nov-2026 (not yours)\n") {
		t.Errorf("list:\n%s", list.String())
	}
}

// TestShowJSON: programs read an entry for each recipient that a note speaks of,
// and no recipient that others stand for.
func TestShowJSON(t *testing.T) {
	at := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	m := control.Message{ID: "A", Arrived: at, State: control.Deferred,
		Recipients: []control.Recipient{{Address: "team", State: "expanded"}, {Address: "a", State: "pending"}, {Address: "b", State: "pending"}},
		History:    []control.Note{{Time: at, Event: "held", Err: "x\u009b"}, {Time: at, For: []control.Range{{0, 0}, {2, 7}}, Attempt: 1}},
	}
	for _, tt := range []struct {
		history []control.Note
		want    string
	}{
		{m.History, `,"history":[{"time":"2026-11-24T12:00:00Z","event":"held","err":"x\u009b"},{"time":"2026-11-24T12:00:00Z","address":"team","attempt":1},{"time":"2026-11-24T12:00:00Z","address":"b","attempt":1}]`},
		{nil, ""},
		{[]control.Note{{Time: at, For: []control.Range{{-3, -1}, {9, 8}}}}, ""},
	} {
		var b strings.Builder
		m.History = tt.history
		want := `{"id":"A","size":0,"arrived":"2026-11-24T12:00:00Z","sender":"","state":"deferred","recipients":[{"address":"a","state":"pending","attempts":0},{"address":"b","state":"pending","attempts":0}]` + tt.want + "}\n"
		if err := showJSON(&b, m); err != nil || b.String() != want {
			t.Errorf("got\n%s, %v, want\n%s", b.String(), err, want)
		}
	}
}

// TestA25Messages: what a server says of a message can't drive the terminal, nor
// make a line of its own.
func TestA25Messages(t *testing.T) {
	const bad = "x\x1b[2J\n\u009b\x9by"
	m := control.Message{ID: bad, Sender: bad, State: control.Held, Reason: bad,
		Recipients: []control.Recipient{{Address: bad, State: "pending", Attempts: 1, Relay: bad, TLS: bad, Reply: bad}, {Address: bad, State: bad}},
		History:    []control.Note{{Event: bad, Err: bad}, {Relay: bad, TLS: bad, Reply: bad}, {Err: bad}},
	}
	var b strings.Builder
	now := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	for _, state := range []string{control.Held, control.Deferred, control.Corrupt, control.Dropped} {
		m.State = state
		if err := errors.Join(messageText(&b, m, time.Hour, now), listText(&b, listOf(m)), showJSON(&b, m), listJSON(&b, listOf(m))); err != nil {
			t.Fatal(err)
		}
	}
	for line := range strings.Lines(b.String()) {
		if line == "" || strings.HasPrefix(line, "y") || strings.ContainsFunc(line[:len(line)-1], func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Errorf("shown: %q", line)
		}
	}
}
