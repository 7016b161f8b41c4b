package applets

import (
	"bufio"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"postoffice/internal/sysexits"
)

// TestRecipientsFromHeader is sendmail -t: exactly the real addresses are used
// (R9, S23), Bcc goes, and what is sent again goes to the Resent- fields.
func TestRecipientsFromHeader(t *testing.T) {
	for _, tt := range []struct {
		name, in string
		to       []string
		rest     string // header and body that go on
	}{
		{"the plain case", "To: a@x.example\nSubject: s\n\nb\n", []string{"a@x.example"}, "To: a@x.example\nSubject: s\n\nb\n"},
		{"all three, Bcc goes with its folded lines", "To: a@x.example,\n b@x.example\nbcc: c@x.example,\n\td@x.example\nCc: \"e, f\" <e@x.example>\n\nb\n",
			[]string{"a@x.example", "b@x.example", "c@x.example", "d@x.example", "e@x.example"},
			"To: a@x.example,\n b@x.example\nCc: \"e, f\" <e@x.example>\n\nb\n"},
		{"R9 empty members, comments, groups, <>", "To: , (c) a@x.example (d, e@y.example),, <>, g: b@x.example, c@x.example;,\n\n", []string{"a@x.example", "b@x.example", "c@x.example"},
			"To: , (c) a@x.example (d, e@y.example),, <>, g: b@x.example, c@x.example;,\n\n"},
		{"the same address twice", "To: a@x.example\nCc: a@x.example\n\n", []string{"a@x.example"}, "To: a@x.example\nCc: a@x.example\n\n"},
		{"Resent fields alone", "To: a@x.example\nResent-To: b@x.example\nResent-Bcc: c@x.example\n\n", []string{"b@x.example", "c@x.example"}, "To: a@x.example\nResent-To: b@x.example\n\n"},
		{"blank before the colon", "To : a@x.example\n\n", []string{"a@x.example"}, "To : a@x.example\n\n"},
		{"no empty line", "To: a@x.example\nnot a field\nb\n", []string{"a@x.example"}, "To: a@x.example\nnot a field\nb\n"},
		{"no header", "hello\nTo: a@x.example\n", nil, "hello\nTo: a@x.example\n"},
		{"begins with a blank", " To: a@x.example\n", nil, " To: a@x.example\n"},
		{"bare names", "To: root, alice\n\n", []string{"root", "alice"}, "To: root, alice\n\n"},
		{"nothing", "", nil, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := bufio.NewReader(strings.NewReader(tt.in))
			h, err := readHeader(r)
			if err != nil {
				t.Fatal(err)
			}
			var to []string
			for _, p := range h.recipients() {
				to = append(to, p.String())
			}
			if diff := cmp.Diff(tt.to, to); diff != "" {
				t.Errorf("%q: recipients (-want +got):\n%s", tt.in, diff)
			}
			body, _ := io.ReadAll(r)
			if got := h.without("bcc", "resent-bcc").String() + string(body); got != tt.rest {
				t.Errorf("%q goes on as %q, want %q", tt.in, got, tt.rest)
			}
		})
	}
}

// TestHeaderTooLong: the header is held in memory, so it has an end, and the
// error says which code to expect.
func TestHeaderTooLong(t *testing.T) {
	_, err := readHeader(bufio.NewReader(strings.NewReader("To: " + strings.Repeat("a@x.example, ", 100_000) + "\n\n")))
	if e := (*exitError)(nil); !errors.As(err, &e) || e.code != sysexits.DataErr {
		t.Errorf("got %v, want exit code %d", err, sysexits.DataErr)
	}
}

// TestFullName is sendmail -F: a name cannot start a field of its own (A67).
func TestFullName(t *testing.T) {
	o := sendOptions{fullName: "x\nX-Injected: \"y\""}
	from, err := sendOptions{sender: "a@b.example"}.from()
	if err != nil {
		t.Fatal(err)
	}
	got := o.finish(header{"Subject: s\n"}, from).String()
	if want := "Subject: s\nFrom: \"x X-Injected: \\\"y\\\"\" <a@b.example>\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	kept := header{"From: else@b.example\n"}
	if got := o.finish(kept, from).String(); got != kept.String() {
		t.Errorf("a From field that is there became %q", got)
	}
}

// TestSender is sendmail -f: no octet of it can start a line (A67).
func TestSender(t *testing.T) {
	for _, tt := range []struct{ sender, want string }{
		{"a@b.example", "a@b.example"},
		{"<a@b.example>", "a@b.example"},
		{"<>", ""},
		{"alice", "alice"},
	} {
		if p, err := (sendOptions{sender: tt.sender}).from(); err != nil || p.String() != tt.want {
			t.Errorf("-f %q: %q, %v, want %q", tt.sender, p, err, tt.want)
		}
	}
	for _, bad := range []string{"a@b\nX: y", "a b@c.example", "a@b.example, c@d.example", "a@b.example\x00"} {
		if p, err := (sendOptions{sender: bad}).from(); exitStatus(err) != sysexits.Usage {
			t.Errorf("-f %q: %q, %v, want exit code %d", bad, p, err, sysexits.Usage)
		}
	}
}
