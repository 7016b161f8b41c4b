package applets

import (
	"encoding/json"
	"iter"
	"strings"
	"testing"
	"time"

	"postoffice/internal/control"
	"postoffice/internal/smtp"
	"postoffice/spool"
)

func listOf(messages ...control.Message) iter.Seq2[control.Message, error] {
	return func(yield func(control.Message, error) bool) {
		for _, m := range messages {
			if !yield(m, nil) {
				return
			}
		}
	}
}

// TestMailqText is the original's layout (original.md 1.5).
func TestMailqText(t *testing.T) {
	at := time.Date(2026, 11, 24, 12, 30, 0, 0, time.Local)
	deferred := control.Message{ID: "HOH1EMTUA2UONG", Size: 388, Arrived: at, Sender: "a@b.example", State: control.Deferred,
		Recipients: []control.Recipient{
			{Address: "done@x.example", State: "delivered"},
			{Address: "c@x.example", State: "pending", Attempts: 2, Next: at.Add(time.Hour), Reply: "451 4.7.1 " + strings.Repeat("later ", 20)},
		}}
	held := control.Message{ID: "HOH1EMU5ZW18ZQ", Size: 20_480, Arrived: at, State: control.Held, Reason: "an administrator asked",
		Recipients: []control.Recipient{{Address: "d@x.example", State: "pending"}}}
	dropped := control.Message{ID: "maildrop", Size: 30, Arrived: at, Sender: "joe", State: control.Dropped, Reason: "2 messages of joe in maildrop/"}
	corrupt := control.Message{ID: "HOH1EMU5ZW18ZR", State: control.Corrupt, Reason: "first line torn"}
	for _, tt := range []struct {
		name string
		list iter.Seq2[control.Message, error]
		want string
	}{
		{"empty", listOf(), "Mail queue is empty.\n"},
		{"maildrop", listOf(dropped), "Mail queue is empty.\n2 messages of joe in maildrop/, the oldest since 12:30 24-Nov-2026\n"},
		{"one", listOf(deferred), `   Mail Queue (1 request)
 --ID--  --Size-- -----Queued------ ------Sender/Recipient------
 HOH1EMTUA2UONG     388  12:30 24-Nov-2026 <a@b.example>
                  (451 4.7.1 later later later later later later later later l...)
                                    c@x.example
                  (next try 13:30 24-Nov-2026, tried 2 times)
`},
		{"held and corrupt", listOf(held, corrupt), `   Mail Queue (2 requests)
 --ID--  --Size-- -----Queued------ ------Sender/Recipient------
!HOH1EMU5ZW18ZQ   20.00K 12:30 24-Nov-2026 <>
                  (held: an administrator asked)
                                    d@x.example
 HOH1EMU5ZW18ZR (damaged, kept in corrupt/: first line torn)
`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var b strings.Builder
			if err := listText(&b, tt.list); err != nil || b.String() != tt.want {
				t.Errorf("got %v\n%s\nwant\n%s", err, b.String(), tt.want)
			}
		})
	}
}

// TestMailqJSON has the fields that the manual promises.
func TestMailqJSON(t *testing.T) {
	var b strings.Builder
	m := control.Message{ID: "HOH1EMTUA2UONG", Size: 3, Sender: "", State: control.Active,
		Recipients: []control.Recipient{{Address: "a@b.example", State: "pending", Attempts: 1}}}
	if err := listJSON(&b, listOf(m, m)); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(b.String()), "\n")
	if len(lines) != 2 {
		t.Fatalf("%d lines, want 2:\n%s", len(lines), b.String())
	}
	var got map[string]any
	if err := json.Unmarshal([]byte(lines[0]), &got); err != nil {
		t.Fatal(err)
	}
	for _, field := range []string{"id", "size", "arrived", "sender", "state", "recipients"} {
		if _, ok := got[field]; !ok {
			t.Errorf("no field %q in %s", field, lines[0])
		}
	}
}

// TestHistory: the newest note about a recipient is what mailq shows of him.
func TestHistory(t *testing.T) {
	at := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	key := func(i int) spool.Key { return spool.Key{Index: i} }
	snap := &spool.Snapshot{
		Recipients: []spool.Recipient{
			{Target: spool.Target{Path: smtp.Path{Local: "a", Domain: "x.example"}, State: spool.Pending}, Key: key(0)},
			{Target: spool.Target{Path: smtp.Path{Local: "b", Domain: "x.example"}, State: spool.Delivered}, Key: key(1)},
			{Target: spool.Target{Path: smtp.Path{Local: "list"}, State: spool.Expanded}, Key: key(2)},
		},
		Notes: []spool.Note{
			{Time: at, Attempt: 1, Err: "connection refused", Next: at.Add(5 * time.Minute)},
			{Time: at.Add(time.Minute), Keys: []spool.Key{key(0)}, Attempt: 2, Reply: smtp.Reply{Code: 451, Text: "later"}, Next: at.Add(time.Hour)},
		},
	}
	h := newHistory(snap)
	rcpts := h.recipients()
	if len(rcpts) != 2 {
		t.Fatalf("%d recipients, want 2: an expanded one is shown by what it stands for", len(rcpts))
	}
	if got := rcpts[0]; got.Attempts != 2 || got.Reply != "451 later" || !got.Next.Equal(at.Add(time.Hour)) {
		t.Errorf("pending recipient: %+v", got)
	}
	if got := rcpts[1]; got.State != "delivered" || !got.Next.IsZero() {
		t.Errorf("delivered recipient: %+v", got)
	}
	if !h.next.Equal(at.Add(time.Hour)) {
		t.Errorf("next attempt %v", h.next)
	}
	if events := h.events(); len(events) != 2 || events[1].Address != "a@x.example" {
		t.Errorf("events: %+v", events)
	}
}
