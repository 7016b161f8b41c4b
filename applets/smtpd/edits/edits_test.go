package edits

import (
	"fmt"
	"io"
	"strings"
	"testing"

	"postoffice/internal/smtp"
)

const letter = "Received: ours\nSubject: one\nX-Two: 2\n\nbody\n"

type text struct{ *strings.Reader }

func (t text) Size() int64 { return t.Reader.Size() }

// TestReader has what each change makes of a message, one after the other.
func TestReader(t *testing.T) {
	for _, tt := range []struct {
		name string
		do   func(e *Edits) error
		want string
	}{
		{"nothing", func(e *Edits) error { return nil }, letter},
		{"add", func(e *Edits) error { return e.Add("X-New", " a\n\tb") }, "Received: ours\nSubject: one\nX-Two: 2\nX-New: a\n\tb\n\nbody\n"},
		{"insert", func(e *Edits) error { return e.Insert(0, "X-New", " a") }, "X-New: a\n" + letter},
		{"insert below ours", func(e *Edits) error { return e.Insert(1, "X-New", "a") }, "Received: ours\nX-New:a\nSubject: one\nX-Two: 2\n\nbody\n"},
		{"change", func(e *Edits) error { return e.Change("subject", 1, " b") }, "Received: ours\nsubject: b\nX-Two: 2\n\nbody\n"},
		{"delete", func(e *Edits) error { return e.Delete("x-two", 1) }, "Received: ours\nSubject: one\n\nbody\n"},
		{"body", func(e *Edits) error { e.Body = text{strings.NewReader("other\n")}; return nil }, "Received: ours\nSubject: one\nX-Two: 2\n\nother\n"},
		{"all", func(e *Edits) error {
			e.Body = text{strings.NewReader("other\n")}
			e.Add("X-New", " a")
			e.Delete("X-Two", 1)
			return e.Change("X-New", 1, " c")
		}, "Received: ours\nSubject: one\nX-New: c\n\nother\n"},
	} {
		e := &Edits{}
		if err := tt.do(e); err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		for range 2 { // as often as is wanted
			got, err := io.ReadAll(e.Reader(strings.NewReader(letter), int64(len(letter))))
			if string(got) != tt.want || err != nil {
				t.Errorf("%s: got %q, %v, want %q", tt.name, got, err, tt.want)
			}
		}
	}
}

// TestRefused has changes that would break the header, or hold too much.
func TestRefused(t *testing.T) {
	for _, tt := range []struct{ name, value, want string }{
		{"", " x", "the field has no name"},
		{"A:B", " x", "the field's name"},
		{"A B", " x", "the field's name"},
		{"A\nB", " x", "the field's name"},
		{"A\x00", " x", "the field's name"},
		{strings.Repeat("A", 200), " x", "the field's name"},
		{"A", " x\nB: y", "a line end without a blank"},
		{"A", " x\n", "a line end without a blank"},
		{"A", " x\r\nB: y", "a line end without a blank"},
		{"A", " x\ry", "control character"},
		{"A", " x\x00y", "control character"},
		{"A", " " + strings.Repeat("x", 1<<20), "more than 1048576 octets"},
		{"A", strings.Repeat(" x\n", 1<<19) + " y", "more than 1048576 octets"},
	} {
		e := &Edits{}
		if err := e.Add(tt.name, tt.value); err == nil || !strings.Contains(err.Error(), tt.want) || e.Any() {
			t.Errorf("%.20q: %.20q: got %v, want %s", tt.name, tt.value, err, tt.want)
		}
	}
	e := &Edits{}
	n := 0
	for ; e.Add("A", " x") == nil; n++ {
	}
	if n > maxOctets/each || e.octets > maxOctets {
		t.Errorf("%d changes with %d octets are held", n, e.octets)
	}
}

// TestRecipients takes recipients away and adds them, in their order.
func TestRecipients(t *testing.T) {
	p := func(local, domain string) smtp.Path { return smtp.Path{Local: local, Domain: domain} }
	all := []smtp.Recipient{{Path: p("a", "b.example")}, {Path: p("c", "b.example")}}
	e := &Edits{}
	e.DeleteRecipient(p("a", "B.example"))
	e.AddRecipient(smtp.Recipient{Path: p("d", "b.example")})
	e.AddRecipient(smtp.Recipient{Path: p("c", "B.EXAMPLE")})
	e.DeleteRecipient(p("d", "b.example"))
	e.AddRecipient(smtp.Recipient{Path: p("d", "b.example")})
	got := e.Recipients(all)
	if len(got) != 2 || got[0].Path.Local != "c" || got[1].Path.Local != "d" || all[0].Path.Local != "a" {
		t.Errorf("got %v", got)
	}
}

// TestManyRecipients: of a message for 100,000 each may be taken away, and others added, in no
// time that grows with their square.
func TestManyRecipients(t *testing.T) {
	const n = 100_000
	e := &Edits{For: n}
	var all []smtp.Recipient
	for i := range n {
		path := smtp.Path{Local: fmt.Sprint("user", i), Domain: "far.example"}
		all = append(all, smtp.Recipient{Path: path})
		if err := e.DeleteRecipient(path); err != nil {
			t.Fatal(err)
		}
	}
	if err := e.AddRecipient(smtp.Recipient{Path: smtp.Path{Local: "quarantine", Domain: "us.example"}}); err != nil {
		t.Fatal(err)
	}
	if got := e.Recipients(all); len(got) != 1 || got[0].Path.Local != "quarantine" || e.Added() != 1 {
		t.Errorf("%d get it, %d are added", len(got), e.Added())
	}
}
