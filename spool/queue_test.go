package spool

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"

	"postoffice/internal/smtp"
)

const text = "Subject: x\n\nhello\n"

// TestLife takes a message through everything that can happen to one.
func TestLife(t *testing.T) {
	q, _ := tempQueue(t)
	env := envelope(3)
	env.Params = []smtp.Param{{Name: "BODY", Value: "8BITMIME"}}
	id := accept(t, q, env, text)
	m := claim(t, q, id)
	if got := body(t, m); got != text || m.Size() != int64(len(text)) {
		t.Errorf("data %q, size %d", got, m.Size())
	}
	if _, err := q.Claim(id); !errors.Is(err, ErrBusy) {
		t.Errorf("second claim: %v, want ErrBusy", err)
	}
	if err := m.Record([]Key{{0, 0}}, Delivered); err != nil {
		t.Fatal(err)
	}
	if err := m.Note(Note{Time: arrived, Keys: []Key{{0, 1}, {0, 2}}, Attempt: 1, Reply: smtp.Reply{Code: 450, Status: "4.2.0", Text: "later\nplease"}, Next: arrived}); err != nil {
		t.Fatal(err)
	}
	owner := path("owner-list@example.org")
	if err := m.Expand(Key{0, 1}, Expansion{Via: Via{FromAlias, "my list"}, ReversePath: &owner, Targets: []Target{
		{Path: path("a@example.net")},
		{Kind: Mailbox, Path: path("b")},
		{Kind: Program, Agent: &Agent{Source: FromUsermap, Name: "list"}},
	}}); err != nil {
		t.Fatal(err)
	}
	if err := m.Finish(); !errors.Is(err, ErrPending) {
		t.Errorf("Finish: %v, want ErrPending", err)
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}

	m = claim(t, q, id)
	want := []Key{{0, 2}, {1, 0}, {1, 1}, {1, 2}}
	if got := pendingKeys(m); !slices.Equal(got, want) {
		t.Errorf("pending %v, want %v", got, want)
	}
	for r := range m.Pending() {
		if same, ok := m.Recipient(r.Key); !ok || !reflect.DeepEqual(same, r) {
			t.Errorf("Recipient(%v): %v %v, want %v", r.Key, same, ok, r)
		}
		if r.Key.Block == 1 && r.Via != (Via{FromAlias, "my list"}) {
			t.Errorf("recipient %v: by %v", r.Key, r.Via)
		}
		if r.Key.Block == 1 && (r.ReversePath != owner || r.Parent != Key{0, 1}) {
			t.Errorf("recipient %v: reverse-path %v, parent %v", r.Key, r.ReversePath, r.Parent)
		}
	}
	for _, k := range []Key{NoKey, {0, 3}, {2, 0}, {1, -1}} {
		if r, ok := m.Recipient(k); ok {
			t.Errorf("Recipient(%v): %v, want none", k, r)
		}
	}
	if err := m.Record(want, Bounced); err != nil {
		t.Fatal(err)
	}
	if err := m.Finish(); err != nil {
		t.Fatal(err)
	}
	if n := entries(t, q); n != [numPlaces]int{} {
		t.Errorf("left over: %v", n)
	}
	if _, err := q.Claim(id); !errors.Is(err, ErrGone) {
		t.Errorf("claim of a finished message: %v, want ErrGone", err)
	}
}

func TestHoldRelease(t *testing.T) {
	q, _ := tempQueue(t)
	id := accept(t, q, envelope(1), text)
	if err := claim(t, q, id).Hold("looks odd"); err != nil {
		t.Fatal(err)
	}
	if _, err := q.Claim(id); !errors.Is(err, ErrGone) {
		t.Errorf("claim of a held message: %v", err)
	}
	s, err := q.Read(id)
	if err != nil || s.Place != Held || s.Reason != "looks odd" || len(s.Recipients) != 1 {
		t.Errorf("snapshot %+v, %v", s, err)
	}
	if err := q.Release(id); err != nil {
		t.Fatal(err)
	}
	if got := body(t, claim(t, q, id)); got != text {
		t.Errorf("data %q", got)
	}
}

func TestLargeMessage(t *testing.T) {
	q, _ := tempQueue(t)
	big := strings.Repeat("0123456789abcdef\n", 100_000)
	id := accept(t, q, envelope(1000), big)
	m := claim(t, q, id)
	if got := body(t, m); got != big || len(pendingKeys(m)) != 1000 {
		t.Errorf("%d octets, %d pending", len(got), len(pendingKeys(m)))
	}
}
