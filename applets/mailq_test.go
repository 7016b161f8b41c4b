package applets

import (
	"encoding/json"
	"iter"
	"regexp"
	"strings"
	"testing"
	"time"

	"postoffice/applets/control"
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

// TestMailqText is the original's layout, which programs read.
func TestMailqText(t *testing.T) {
	at := time.Date(2026, 11, 24, 12, 30, 0, 0, time.Local)
	deferred := control.Message{ID: "HOH1EMTUA2UONG", Size: 388, Arrived: at, Sender: "a@b.example", State: control.Deferred,
		Recipients: []control.Recipient{
			{Address: "done@x.example", State: "delivered"},
			{Address: "c@x.example", State: "pending", Attempts: 2, Next: at.Add(time.Hour), TLS: "TLS 1.3 TLS_AES_128_GCM_SHA256", Reply: "451 4.7.1 " + strings.Repeat("later ", 20)},
		}}
	held := control.Message{ID: "HOH1EMU5ZW18ZQ", Size: 20_480, Arrived: at, State: control.Held, Reason: "an administrator asked",
		Recipients: []control.Recipient{{Address: "d@x.example", State: "pending"}}}
	dropped := control.Message{ID: "maildrop", Size: 30, Arrived: at, Sender: "joe", State: control.Dropped, Files: 2, Reason: "2 messages of joe in maildrop/"}
	corrupt := control.Message{ID: "HOH1EMU5ZW18ZR", State: control.Corrupt, Reason: "first line torn"}
	for _, tt := range []struct {
		name string
		list iter.Seq2[control.Message, error]
		want string
	}{
		{"empty", listOf(), "Mail queue is empty.\n"},
		{"maildrop", listOf(dropped), "2 messages of joe in maildrop/, the oldest since 12:30 24-Nov-2026\n                Total requests: 2\n-- 0 Kbytes in 2 Requests.\n"},
		{"one", listOf(deferred), `   Mail Queue (1 request)
 --ID--  --Size-- -----Queued------ ------Sender/Recipient------
 HOH1EMTUA2UONG     388  12:30 24-Nov-2026 <a@b.example>
                  (451 4.7.1 later later later later later later later later l...)
                  (over TLS 1.3 TLS_AES_128_GCM_SHA256)
                                    c@x.example
                  (next try 13:30 24-Nov-2026, tried 2 times)
                Total requests: 1
-- 0 Kbytes in 1 Request.
`},
		{"held and corrupt", listOf(held, corrupt), `   Mail Queue (2 requests)
 --ID--  --Size-- -----Queued------ ------Sender/Recipient------
!HOH1EMU5ZW18ZQ   20.00K 12:30 24-Nov-2026 <>
                  (held: an administrator asked)
                                    d@x.example
 HOH1EMU5ZW18ZR (damaged, kept in corrupt/: first line torn)
                Total requests: 2
-- 20 Kbytes in 2 Requests.
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

// TestMailqCounted: check_mailq of the monitoring plugins finds the number of
// messages with -M sendmail, which takes a line "Total Requests" with blanks in
// front, and with -M postfix, which wants the number in the last line.
func TestMailqCounted(t *testing.T) {
	sendmail := regexp.MustCompile(`(?mi)^\s+Total\sRequests:\s(\d+)$`)
	postfix := regexp.MustCompile(`Kbytes in (\d+).*\n$`)
	m := control.Message{ID: "HOH1EMTUA2UONG", Size: 1000, State: control.Active, Recipients: []control.Recipient{{Address: "a@b.example", State: "pending"}}}
	dropped := control.Message{ID: "maildrop", State: control.Dropped, Files: 3, Reason: "3 messages of joe in maildrop/"}
	for _, tt := range []struct {
		list iter.Seq2[control.Message, error]
		want string
	}{
		{listOf(m), "1"},
		{listOf(m, m, m, m, m, m), "6"},
		{listOf(m, dropped), "4"},
		{listOf(dropped), "3"},
	} {
		var b strings.Builder
		if err := listText(&b, tt.list); err != nil {
			t.Fatal(err)
		}
		for name, re := range map[string]*regexp.Regexp{"sendmail": sendmail, "postfix": postfix} {
			if got := re.FindStringSubmatch(b.String()); got == nil || got[1] != tt.want {
				t.Errorf("-M %s: %q, want %s in\n%s", name, got, tt.want, b.String())
			}
		}
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
