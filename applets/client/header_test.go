package client

import (
	"bufio"
	"errors"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"postoffice/applets/cmdline"
	"postoffice/applets/server"
	"postoffice/applets/sysexits"
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
			for _, p := range recipients(&cmdline.Env{Stderr: io.Discard}, h).paths {
				to = append(to, p.String())
			}
			if diff := cmp.Diff(tt.to, to); diff != "" {
				t.Errorf("%q: recipients (-want +got):\n%s", tt.in, diff)
			}
			body, _ := io.ReadAll(r)
			if got := h.Without("Bcc", "Resent-Bcc").String() + string(body); got != tt.rest {
				t.Errorf("%q goes on as %q, want %q", tt.in, got, tt.rest)
			}
		})
	}
}

// TestHeaderTooLong: the header is held in memory, so it has an end, and the
// error says which code to expect.
func TestHeaderTooLong(t *testing.T) {
	_, err := readHeader(bufio.NewReader(strings.NewReader("To: " + strings.Repeat("a@x.example, ", maxHeader/13+1) + "\n\n")))
	if e := (*cmdline.ExitError)(nil); !errors.As(err, &e) || e.Code != sysexits.DataErr {
		t.Errorf("got %v, want exit code %d", err, sysexits.DataErr)
	}
}

// TestFullName is sendmail -F: a name is never more than a name (A67), and the
// field stands in the header, whatever that was.
func TestFullName(t *testing.T) {
	me, err := server.Login(os.Getuid())
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ name, full, sender, in, want string }{
		{"the plain case", "Joe Doe", "a@b.example", "Subject: s\n\nb\n", "Subject: s\nFrom: \"Joe Doe\" <a@b.example>\n\nb\n"},
		{"a name that starts a field", "x\nX-Injected: \"y\"", "a@b.example", "Subject: s\n", "Subject: s\nFrom: \"x X-Injected: \\\"y\\\"\" <a@b.example>\n"},
		{"a name that is an address", "X <y@z.example>", "a@b.example", "\nb\n", "From: \"X <y@z.example>\" <a@b.example>\n\nb\n"},
		{"the same outside ASCII", "\u00d6 <y@z.example>", "a@b.example", "\nb\n", "From: =?utf-8?q?=C3=96_=3Cy=40z=2Eexample=3E?= <a@b.example>\n\nb\n"},
		{"a From field that is there", "Joe", "a@b.example", "From: else@b.example\n\nb\n", "From: else@b.example\n\nb\n"},
		{"no header", "Joe", "a@b.example", "hello\nthere\n", "From: \"Joe\" <a@b.example>\n\nhello\nthere\n"},
		{"no header, a blank first", "Joe", "a@b.example", " hello\n", "From: \"Joe\" <a@b.example>\n\n hello\n"},
		{"an empty line first", "Joe", "a@b.example", "\nFrom: x\n", "From: \"Joe\" <a@b.example>\n\nFrom: x\n"},
		{"nothing at all", "Joe", "a@b.example", "", "From: \"Joe\" <a@b.example>\n"},
		{"no empty line behind the header", "Joe", "a@b.example", "To: x@y.example\nhello\n", "To: x@y.example\nFrom: \"Joe\" <a@b.example>\n\nhello\n"},
		{"nobody", "Joe", "<>", "Subject: s\n", "Subject: s\nFrom: \"Joe\" <" + me + ">\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			env := &cmdline.Env{Stdin: strings.NewReader(tt.in), Args: []string{"bob"}}
			l, err := SendOptions{FullName: cmdline.Given(tt.full), Sender: cmdline.Given(tt.sender)}.letter(env)
			if err != nil {
				t.Fatal(err)
			}
			text, err := l.text()
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(text)
			if string(got) != tt.want || err != nil {
				t.Errorf("got %q, %v, want %q", got, err, tt.want)
			}
		})
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
		if p, err := (SendOptions{Sender: cmdline.Given(tt.sender)}).from(); err != nil || p.String() != tt.want {
			t.Errorf("-f %q: %q, %v, want %q", tt.sender, p, err, tt.want)
		}
	}
	for _, bad := range []string{"a@b\nX: y", "a b@c.example", "a@b.example, c@d.example", "a@b.example\x00", "\u00a0", "\u0085", "\u00a0<>", "a@b.example\u00a0"} {
		if p, err := (SendOptions{Sender: cmdline.Given(bad)}).from(); cmdline.ExitStatus(err) != sysexits.Usage {
			t.Errorf("-f %q: %q, %v, want exit code %d", bad, p, err, sysexits.Usage)
		}
	}
}
