package milter

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"postoffice/internal/smtp"
	"postoffice/internal/testenv/testfilter"
)

// end has a filter of these terms say octets at the end of a message.
func end(t *testing.T, f *testfilter.Filter, octets string, o Options, body io.Writer) (r Result, err error) {
	t.Helper()
	f.Answers = map[byte]string{'E': octets}
	run(t, f, o, func(t *testing.T, c *Conn, dialed error) {
		if err = dialed; err == nil {
			c.Mail("<a@c.example>", nil, nil)
			r, err = c.End(nil, body)
		}
	})
	return r, err
}

func path(local, domain string) smtp.Path { return smtp.Path{Local: local, Domain: domain} }

// TestEdits: each edit as a value.
func TestEdits(t *testing.T) {
	word := testfilter.Number
	for _, tt := range []struct {
		packet string
		want   Edit
	}{
		{reply('h', "X-Spam\x00yes\x00"), Edit{Kind: AddHeader, Name: "X-Spam", Value: " yes"}},
		{reply('h', "X-Spam\x00yes"), Edit{Kind: AddHeader, Name: "X-Spam", Value: " yes"}},
		{reply('h', "X\x00\x00"), Edit{Kind: AddHeader, Name: "X", Value: " "}},
		{reply('h', "X\x00a\n\tb\r\n c\x00"), Edit{Kind: AddHeader, Name: "X", Value: " a\n\tb\n c"}},
		{reply('h', "X\x00\xff%s\x00"), Edit{Kind: AddHeader, Name: "X", Value: " \xff%s"}},
		{reply('i', word(0)+"X\x00y\x00"), Edit{Kind: InsertHeader, Name: "X", Value: " y"}},
		{reply('i', word(5)+"X\x00y\x00"), Edit{Kind: InsertHeader, Index: 5, Name: "X", Value: " y"}},
		{reply('m', word(2)+"X\x00y\x00"), Edit{Kind: ChangeHeader, Index: 2, Name: "X", Value: " y"}},
		{reply('m', word(0)+"X\x00y\x00"), Edit{Kind: ChangeHeader, Index: 1, Name: "X", Value: " y"}},
		{reply('m', word(3)+"X\x00\x00"), Edit{Kind: DeleteHeader, Index: 3, Name: "X"}},
		{reply('+', "<b@us.example>\x00"), Edit{Kind: AddRcpt, Path: path("b", "us.example")}},
		{reply('+', "b@us.example\x00"), Edit{Kind: AddRcpt, Path: path("b", "us.example")}},
		{reply('+', "<root>\x00"), Edit{Kind: AddRcpt, Path: path("root", "")}},
		{reply('2', "<b@us.example>\x00NOTIFY=NEVER\x00"), Edit{Kind: AddRcpt, Path: path("b", "us.example"), Params: []smtp.Param{{Name: "NOTIFY", Value: "NEVER"}}}},
		{reply('2', "<b@us.example>\x00"), Edit{Kind: AddRcpt, Path: path("b", "us.example")}},
		{reply('-', "<b@us.example>\x00"), Edit{Kind: DeleteRcpt, Path: path("b", "us.example")}},
		{reply('e', "<>\x00"), Edit{Kind: ChangeFrom}},
		{reply('e', "<c@us.example>\x00RET=HDRS ENVID=x\x00"), Edit{Kind: ChangeFrom, Path: path("c", "us.example"),
			Params: []smtp.Param{{Name: "RET", Value: "HDRS"}, {Name: "ENVID", Value: "x"}}}},
		{reply('q', "looks\nbad\x00"), Edit{Kind: Quarantine, Value: `looks\x0abad`}},
		{reply('q', strings.Repeat("x", 10_000)), Edit{Kind: Quarantine, Value: smtp.Printable(strings.Repeat("x", 10_000), maxReason)}},
	} {
		r, err := end(t, &testfilter.Filter{}, tt.packet+reply('c', ""), Options{}, nil)
		if want := (Result{Edits: []Edit{tt.want}}); err != nil || !cmp.Equal(r, want) {
			t.Errorf("%q: %v %s", tt.packet, err, cmp.Diff(want, r))
		}
	}
	r, err := end(t, &testfilter.Filter{Protocol: leadingBlank}, reply('h', "X\x00y\x00")+reply('h', "X\x00 y\x00")+reply('a', ""), Options{}, nil)
	if want := (Result{Verdict: Verdict{Action: Accept}, Edits: []Edit{{Name: "X", Value: "y"}, {Name: "X", Value: " y"}}}); err != nil || !cmp.Equal(r, want) {
		t.Errorf("with leading blanks: %v %s", err, cmp.Diff(want, r))
	}
}

// TestA64RefusedEdits: what would break a message isn't made, and told; what else the
// filter wants of it is.
func TestA64RefusedEdits(t *testing.T) {
	word := testfilter.Number
	for _, tt := range []struct{ packet, want string }{
		{reply('h', "\x00y\x00"), "add a header field: the field has no name"},
		{reply('h', "X:\x00y\x00"), `add a header field: the field's name "X:" has a ":" in it`},
		{reply('h', "X\nY\x00y\x00"), `has a "\n" in it`},
		{reply('h', "X \x00y\x00"), `has a " " in it`},
		{reply('h', "X\xe4\x00y\x00"), `has a "\xe4" in it`},
		{reply('h', strings.Repeat("n", 101)+"\x00y\x00"), "which is over 100"},
		{reply('h', "X\x00y\nZ: z\x00"), "line end without a blank"},
		{reply('h', "X\x00y\n\x00"), "line end without a blank"},
		{reply('h', "X\x00y\n\nbody\x00"), "line end without a blank"},
		{reply('h', "X\x00y\r\n.\r\n\x00"), "line end without a blank"},
		{reply('h', "X\x00y\rZ: z\x00"), "CR without LF"},
		{reply('h', "X\x00y\r\r\n z\x00"), "CR without LF"},
		{reply('h', "X\x00\xff\x01%s\x00"), "control character"},
		{reply('h', "X\x00y\n \t\n z\x00"), "line of blanks alone"},
		{reply('h', "X\x00y\x00z\x00"), "3 strings"},
		{reply('h', "X\x00y\x00\x00"), "3 strings"},
		{reply('h', "X"), "1 strings"},
		{reply('h', ""), "1 strings"},
		{reply('h', "X\x00"+strings.Repeat("y", 64<<10)), "which is over 65536"},
		{reply('h', "X\x00"+strings.Repeat("y", 1<<20-3)), "which is over 65792"},
		{reply('i', "\x00\x00"), "insert a header field: its number is cut off"},
		{reply('i', word(1<<31)+"X\x00y\x00"), "its number is -2147483648"},
		{reply('m', word(0xffffffff)+"X\x00y\x00"), "its number is -1"},
		{reply('m', word(1)+"X:Y\x00y\x00"), "change a header field: "},
		{reply('m', word(1)+"\x00\x00"), "no name"},
		{reply('+', "<b@us.example>\r\nRCPT TO:<c@us.example>\x00"), "add a recipient: the address"},
		{reply('+', "<b@us.example\r\n>\x00"), "the address"},
		{reply('+', "<b@us.example>\x00x\x00"), "has a NUL"},
		{reply('+', "<b@us.example> NOTIFY=NEVER\x00"), "has more behind it"},
		{reply('+', "<>\x00"), "the null path is no recipient"},
		{reply('+', "\x00"), "the address"},
		{reply('-', "b c@us.example\x00"), "delete a recipient: the address"},
		{reply('2', "<b@us.example>\x00NOTIFY=SOMETIMES\x00"), "the parameter NOTIFY"},
		{reply('2', "<b@us.example>\x00A=\r\nB=\x00"), "the parameters"},
		{reply('2', "<b@us.example>\x00A\x00B\x00"), "3 strings"},
		{reply('2', "<>\x00"), "the null path is no recipient"},
		{reply('e', "<a@us.example"), "change the sender: the address"},
		{reply('e', "\x00"), "the address"},
		{reply('e', "<a@us.example>\x00RET=ALL\x00x\x00"), "3 strings"},
		{reply('q', "a\x00b\x00"), "its reason has a NUL"},
	} {
		r, err := end(t, &testfilter.Filter{}, tt.packet+reply('h', "X\x00y\x00")+reply('c', ""), Options{}, nil)
		if err != nil || len(r.Refused) != 1 || !strings.Contains(r.Refused[0], tt.want) {
			t.Errorf("%.60q: %q, %v, want %q", tt.packet, r.Refused, err, tt.want)
		}
		if want := []Edit{{Name: "X", Value: " y"}}; !cmp.Equal(r.Edits, want) {
			t.Errorf("%.60q: %s", tt.packet, cmp.Diff(want, r.Edits))
		}
		if len(r.Refused) == 1 && (len(r.Refused[0]) > 300 || strings.ContainsAny(r.Refused[0], "\r\n\x00")) {
			t.Errorf("%.60q: the text is %q", tt.packet, r.Refused[0])
		}
	}
}

// TestA64NotAgreed: an edit that the filter didn't ask for at the start isn't made.
func TestA64NotAgreed(t *testing.T) {
	word := testfilter.Number
	for _, tt := range []struct {
		packet string
		needs  uint32
	}{
		{reply('h', "X\x00y\x00"), mayAddHeaders},
		{reply('i', word(0)+"X\x00y\x00"), mayAddHeaders},
		{reply('m', word(1)+"X\x00y\x00"), mayChangeHeaders},
		{reply('+', "<b@us.example>\x00"), mayAddRcpt},
		{reply('2', "<b@us.example>\x00"), mayAddRcptParams},
		{reply('-', "<b@us.example>\x00"), mayDeleteRcpt},
		{reply('e', "<>\x00"), mayChangeFrom},
		{reply('b', "new\r\n"), mayReplaceBody},
		{reply('q', "why\x00"), mayQuarantine},
	} {
		for _, actions := range []uint32{tt.needs, allActions &^ tt.needs} {
			var body bytes.Buffer
			r, err := end(t, &testfilter.Filter{Actions: actions}, tt.packet+tt.packet+reply('c', ""), Options{}, &body)
			edits, refused := 2, 0
			if actions != tt.needs {
				edits, refused = 0, 2
			}
			if tt.needs == mayReplaceBody {
				edits, refused = edits/2, refused/2
			}
			if err != nil || len(r.Edits) != edits || len(r.Refused) != refused || actions != tt.needs && body.Len() > 0 {
				t.Errorf("%.40q with actions %#x: %+v, %v", tt.packet, actions, r, err)
			}
		}
	}
}

// TestEditsCountForTheMessage: edits come with any verdict, in their order.
func TestEditsInOrder(t *testing.T) {
	r, err := end(t, &testfilter.Filter{}, reply('q', "one")+reply('b', "two")+reply('p', "")+reply('h', "Three\x00x")+reply('b', "four")+reply('d', ""), Options{}, io.Discard)
	want := Result{Verdict: Verdict{Action: Discard}, Edits: []Edit{{Kind: Quarantine, Value: "one"}, {Kind: ReplaceBody}, {Kind: AddHeader, Name: "Three", Value: " x"}}}
	if err != nil || !cmp.Equal(r, want) {
		t.Errorf("%v %s", err, cmp.Diff(want, r))
	}
}

// TestNewBody: a body comes in the form of the spool, however it is cut.
func TestNewBody(t *testing.T) {
	for _, tt := range []struct {
		pieces []string
		want   string
	}{
		{[]string{""}, ""},
		{[]string{"one\r\ntwo\r\n"}, "one\ntwo\n"},
		{[]string{"one\r", "", "\ntwo"}, "one\ntwo\n"},
		{[]string{"one\ntwo\n"}, "one\ntwo\n"},
		{[]string{"a\rb\x00\r\n.\r\n"}, "a b\x00\n.\n"},
		{[]string{strings.Repeat("x", 1<<20-1), "\r\n"}, strings.Repeat("x", 1<<20-1) + "\n"},
	} {
		octets := ""
		for _, piece := range tt.pieces {
			octets += reply('b', piece)
		}
		var body bytes.Buffer
		r, err := end(t, &testfilter.Filter{}, octets+reply('c', ""), Options{}, &body)
		if err != nil || !cmp.Equal(r, Result{Edits: []Edit{{Kind: ReplaceBody}}}) || body.String() != tt.want {
			t.Errorf("%.40q: %+v, %v, %.40q, want %.40q", tt.pieces, r, err, body.String(), tt.want)
		}
	}
}

type fullDisk struct{ err error }

func (f fullDisk) Write([]byte) (int, error) { return 0, f.err }

// TestBodyWriter: a disk that is full is no failure of the filter's.
func TestBodyWriter(t *testing.T) {
	full := errors.New("no space left on device")
	octets := reply('h', "X\x00y") + reply('b', strings.Repeat("x\r\n", 100_000)) + reply('q', "why") + reply('c', "")
	r, err := end(t, &testfilter.Filter{}, octets, Options{}, fullDisk{full})
	if err != nil || !errors.Is(r.BodyErr, full) || len(r.Edits) != 2 || r.Edits[1].Kind != Quarantine {
		t.Errorf("%+v, %v", r, err)
	}
}

// TestA64Bounds: more edits than a message has room for are a failure, in bounded
// memory.
func TestA64Bounds(t *testing.T) {
	for _, tt := range []struct {
		name, octets, want string
	}{
		{"1,001 edits", strings.Repeat(reply('h', "X\x00y\x00"), 1001), "more than 1000 edits"},
		{"1,001 refused edits", strings.Repeat(reply('h', ":\x00y\x00"), 1001), "more than 1000 edits"},
		{"1,001 empty pieces", strings.Repeat(reply('b', ""), 1001), "more than 1000 edits"},
		{"512 KiB of edits", strings.Repeat(reply('h', "X\x00"+strings.Repeat("y", 60<<10)), 9), "more than 524288 octets"},
		{"a body of 1 MB and 1", strings.Repeat(reply('b', strings.Repeat("x", 1000)), 1001), "more than 1000000 octets"},
	} {
		_, err := end(t, &testfilter.Filter{}, tt.octets+reply('c', ""), Options{MaxBody: 1_000_000}, io.Discard)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
	if _, err := end(t, &testfilter.Filter{}, strings.Repeat(reply('h', "X\x00y\x00"), 1000)+reply('c', ""), Options{}, nil); err != nil {
		t.Errorf("1,000 edits: %v", err)
	}
	run(t, &testfilter.Filter{Forgets: true, Answers: map[byte]string{'E': strings.Repeat(reply('-', "<someone@far.example>\x00"), 6000) + reply('c', "")}}, Options{}, func(t *testing.T, c *Conn, err error) {
		if err == nil {
			_, err = c.Mail("<>", nil, nil)
		}
		for range 5000 {
			if err == nil {
				_, err = c.Rcpt("<someone@far.example>", nil, nil)
			}
		}
		if err != nil {
			t.Fatal(err)
		}
		if r, err := c.End(nil, nil); err != nil || len(r.Edits) != 6000 {
			t.Errorf("of 5,000 recipients: %d edits, %v", len(r.Edits), err)
		}
	})
}
