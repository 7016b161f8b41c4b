package spool

import (
	"errors"
	"io"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"postoffice/internal/disk"
	"postoffice/internal/disk/crashfs"
	"postoffice/internal/smtp"
	"postoffice/spool/envelope"
)

const text = "Subject: x\n\nhello\n"

// TestLife takes a message through everything that can happen to one.
func TestLife(t *testing.T) {
	q, _ := tempQueue(t)
	env := envelopeFor(3)
	env.Params = []smtp.Param{{Name: "BODY", Value: "8BITMIME"}}
	id := accept(t, q, env, text)
	m := claim(t, q, id)
	if got := body(t, m); got != text || m.Size() != int64(len(text)) {
		t.Errorf("data %q, size %d", got, m.Size())
	}
	if _, err := q.Claim(id); !errors.Is(err, ErrBusy) {
		t.Errorf("second claim: %v, want ErrBusy", err)
	}
	if err := m.Record([]envelope.Key{key(0, 0)}, envelope.Delivered); err != nil {
		t.Fatal(err)
	}
	if err := m.Note(envelope.Note{Time: arrived, Keys: []envelope.Key{key(0, 1), key(0, 2)}, Attempt: 1, Reply: smtp.Reply{Code: 450, Status: "4.2.0", Text: "later\nplease"}, Next: arrived}); err != nil {
		t.Fatal(err)
	}
	owner := path("owner-list@example.org")
	if err := m.Expand(key(0, 1), envelope.Expansion{Via: envelope.Via{Source: envelope.FromList, Name: "my list"}, Owner: "bob", ReversePath: &owner, Targets: []envelope.Target{
		{Path: path("a@example.net")},
		{Kind: envelope.Mailbox, Path: path("b")},
		{Kind: envelope.Program, Agent: &envelope.Agent{Source: envelope.FromUsermap, Name: "list"}},
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
	want := []envelope.Key{key(0, 2), key(1, 0), key(1, 1), key(1, 2)}
	if got := pendingKeys(m); !slices.Equal(got, want) {
		t.Errorf("pending %v, want %v", got, want)
	}
	for r := range m.Pending() {
		if same, ok := m.Recipient(r.Key); !ok || !reflect.DeepEqual(same, r) {
			t.Errorf("Recipient(%v): %v %v, want %v", r.Key, same, ok, r)
		}
		if r.Key.Block == 1 && (r.Via != (envelope.Via{Source: envelope.FromList, Name: "my list"}) || r.Owner != "bob") {
			t.Errorf("recipient %v: by %v", r.Key, r.Via)
		}
		if r.Key.Block == 1 && (r.ReversePath != owner || r.Parent != key(0, 1)) {
			t.Errorf("recipient %v: reverse-path %v, parent %v", r.Key, r.ReversePath, r.Parent)
		}
	}
	for _, k := range []envelope.Key{envelope.NoKey, key(0, 3), key(2, 0), key(1, -1)} {
		if r, ok := m.Recipient(k); ok {
			t.Errorf("Recipient(%v): %v, want none", k, r)
		}
	}
	if err := m.Record(want, envelope.Bounced); err != nil {
		t.Fatal(err)
	}
	if err := m.Finish(); err != nil {
		t.Fatal(err)
	}
	if n := entries(t, q); n != [numLocations]int{} {
		t.Errorf("left over: %v", n)
	}
	if _, err := q.Claim(id); !errors.Is(err, ErrGone) {
		t.Errorf("claim of a finished message: %v, want ErrGone", err)
	}
}

func TestHoldRelease(t *testing.T) {
	q, _ := tempQueue(t)
	id := accept(t, q, envelopeFor(1), text)
	if err := claim(t, q, id).Hold("looks odd"); err != nil {
		t.Fatal(err)
	}
	if _, err := q.Claim(id); !errors.Is(err, ErrGone) {
		t.Errorf("claim of a held message: %v", err)
	}
	s, err := q.Read(id)
	if err != nil || s.Location != Held || s.Reason != "looks odd" || len(s.Recipients) != 1 {
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
	id := accept(t, q, envelopeFor(1000), big)
	m := claim(t, q, id)
	if got := body(t, m); got != big || len(pendingKeys(m)) != 1000 {
		t.Errorf("%d octets, %d pending", len(got), len(pendingKeys(m)))
	}
}

// TestInstead reads a message back while it is written, in the buffer and in the file, and
// takes another in under its ID, which the first has in tmp/.
func TestInstead(t *testing.T) {
	for _, octets := range []int{0, 1, 100, bufferSize, bufferSize + 1, 3*bufferSize + 7} {
		q, dir := tempQueue(t)
		text := strings.Repeat("0123456\n", octets/8+1)[:octets]
		first, err := q.Create(envelopeFor(3))
		if err != nil {
			t.Fatal(err)
		}
		for piece := range slices.Chunk([]byte(text), 1000) {
			if _, err := first.Write(piece); err != nil {
				t.Fatal(err)
			}
		}
		got, err := io.ReadAll(io.NewSectionReader(first, 0, int64(octets)+1))
		if string(got) != text || err != nil {
			t.Fatalf("%d octets: %d came back, %v", octets, len(got), err)
		}
		second, err := first.Instead(envelopeFor(1))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(second, "X-New: yes\n"+text); err != nil {
			t.Fatal(err)
		}
		id := first.ID()
		if err := errors.Join(first.Abort(), second.Commit()); err != nil {
			t.Fatal(err)
		}
		if second.ID() != id {
			t.Errorf("%d octets: the ID was %s and is %s", octets, id, second.ID())
		}
		m := claim(t, q, id)
		if got := body(t, m); got != "X-New: yes\n"+text || len(m.Envelope().Recipients) != 1 {
			t.Errorf("%d octets: got %d", octets, len(got))
		}
		if left, err := os.ReadDir(dir + "/tmp"); len(left) > 0 || err != nil {
			t.Errorf("%d octets: tmp/ has %v, %v", octets, left, err)
		}
	}
}

// TestQueueWithoutLocksR27: where locks keep nobody out mail is accepted, and nobody
// gets the queue lock; where they do again, as on another mount, it is delivered.
func TestQueueWithoutLocksR27(t *testing.T) {
	f := crashfs.New()
	f.SetClock(still)
	f.SetLockless()
	q, err := reopen(f, still)
	if err != nil {
		t.Fatal(err)
	}
	accept(t, q, envelopeFor(1), letterOf(token("a", 1, 100, false)))
	if _, err := q.TryLock(); !errors.Is(err, disk.ErrNoLocks) {
		t.Errorf("TryLock: %v, want ErrNoLocks", err)
	}
	if _, err := q.Lock(t.Context()); !errors.Is(err, disk.ErrNoLocks) {
		t.Errorf("Lock: %v, want ErrNoLocks", err)
	}
	if n := entries(t, q)[Active]; n != 1 {
		t.Errorf("%d messages, want the one that was accepted", n)
	}
}
