package local

import (
	"bytes"
	"io"
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"postoffice/internal/smtp"
)

var deliveryTime = time.Date(2026, 3, 7, 8, 9, 10, 0, time.UTC)

const added = "Return-Path: <a@b.example>\nDelivered-To: alice@us.example\n"

// TestFormatR10A27A24 covers the octets that decide where a message begins and
// ends in a mailbox.
func TestFormatR10A27A24(t *testing.T) {
	head := "From a@b.example Sat Mar  7 08:09:10 2026\n" + added
	for _, tt := range []struct{ name, in, want string }{
		{"plain", "Subject: x\n\nbody\n", "Subject: x\n\nbody\n\n"},
		{"R10 no final newline", "Subject: x\n\nbody", "Subject: x\n\nbody\n\n"},
		{"B1 empty message", "", "\n"},
		{"header only", "Subject: x\n", "Subject: x\n\n"},
		{"no header", "\nbody\n", "\nbody\n\n"},
		{"A24 begins with a space", " X: y\n\nb\n", "\n X: y\n\nb\n\n"},
		{"A24 begins with a tab", "\tX: y\n", "\n\tX: y\n\n"},
		{"A24 no field name", ": x\n", "\n: x\n\n"},
		{"A24 text at once", "hello\nReturn-Path: <x>\n", "\nhello\nReturn-Path: <x>\n\n"},
		{"A24 Return-Path removed", "Return-Path: <x@y>\n folded\n\tmore\nSubject: x\nreturn-path:z\n\nReturn-Path: kept\n", "Subject: x\n\nReturn-Path: kept\n\n"},
		{"body without an empty line", "Subject: x\nhello there\nReturn-Path: kept\n", "Subject: x\nhello there\nReturn-Path: kept\n\n"},
		{"From in the body stays", "S: x\n\nFrom here\n", "S: x\n\nFrom here\n\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := format(t, tt.in, EscapeNone); got != head+tt.want {
				t.Errorf("Format(%q):\n%q, want\n%q", tt.in, got, head+tt.want)
			}
		})
	}
}

func TestFormatEscapesFromA27(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"S: x\n\nFrom x\n>From y\n>>From z\n From w\nFromage\n>From", "S: x\n\n>From x\n>>From y\n>>>From z\n From w\nFromage\n>From\n\n"},
		{"From x\n", "\n>From x\n\n"}, // at the very start, B50
		{"S: x\n\nFrom ", "S: x\n\n>From \n\n"},
		{"S: x\n\n" + strings.Repeat(">", 100_000) + "From x\n", "S: x\n\n" + strings.Repeat(">", 100_001) + "From x\n\n"},
		{"S: x\n\n" + strings.Repeat("x", 100_000) + "From x\n", "S: x\n\n" + strings.Repeat("x", 100_000) + "From x\n\n"},
	} {
		_, got, _ := strings.Cut(format(t, tt.in, EscapeFiles), added)
		if got != tt.want {
			t.Errorf("%.60q: %.80q, want %.80q", tt.in, got, tt.want)
		}
	}
}

// TestFormsR60: what stands around the message in each form, and where lines are
// quoted, the first and the last line too.
func TestFormsR60(t *testing.T) {
	const (
		in      = "Return-Path: <x>\nS: x\n\nFrom 1\ntext\n>From 2\nFrom 3"
		plain   = "S: x\n\nFrom 1\ntext\n>From 2\nFrom 3\n"
		escaped = "S: x\n\n>From 1\ntext\n>>From 2\n>From 3\n"
		headed  = "From 1\n"
		from    = "From a@b.example Sat Mar  7 08:09:10 2026\n"
	)
	for _, tt := range []struct {
		form         Form
		front, after string
	}{
		{FormMbox, from + added, "\n"}, {FormProgram, from + added, ""}, {FormMaildir, added, ""}, {FormLMTP, "", ""},
	} {
		o := FormatOptions{
			Form: tt.form, Time: deliveryTime,
			ReversePath: smtp.Path{Local: "a", Domain: "b.example"}, DeliveredTo: smtp.Path{Local: "alice", Domain: "us.example"},
		}
		for _, c := range []struct {
			in, want string
			escape   bool
		}{{in, plain, false}, {in, escaped, true}, {headed, "\nFrom 1\n", false}, {headed, "\n>From 1\n", true}} {
			for _, e := range []Escape{EscapeFiles, EscapeAll, EscapeNone} {
				if (e == EscapeAll || e == EscapeFiles && tt.form == FormMbox) != c.escape {
					continue
				}
				var out strings.Builder
				o.Escape = e
				err := Format(&out, o, strings.NewReader(c.in))
				if want := tt.front + c.want + tt.after; out.String() != want || err != nil {
					t.Errorf("form %d, escape-from %v: %q, %v, want %q", tt.form, e, out.String(), err, want)
				}
			}
		}
	}
}

// TestEscaper: in whatever pieces a text comes, what begins like a From_ line
// behind a row of ">" gets one more, and nothing else is touched.
func TestEscaper(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	words := []string{"F", "Fr", "From", "From ", ">", ">>", "\n", "\n", "x", " "}
	like := regexp.MustCompile(`(?m)^>*From `)
	for range 5000 {
		var in string
		var out strings.Builder
		w := &escaper{w: nopCloser{&out}}
		for range r.IntN(20) {
			piece := words[r.IntN(len(words))]
			in += piece
			if n, err := io.WriteString(w, piece); n != len(piece) || err != nil {
				t.Fatal(n, err)
			}
		}
		w.Close()
		if want := like.ReplaceAllString(in, ">$0"); out.String() != want {
			t.Fatalf("%q: %q, want %q", in, out.String(), want)
		}
		first, rest, _ := strings.Cut(in, "\n")
		want := strings.TrimPrefix(in[:len(in)-len(rest)], first)
		want = first + want + like.ReplaceAllString(rest, ">$0")
		got, err := io.ReadAll(EscapeBehindFirst(iotest.HalfReader(strings.NewReader(in))))
		if string(got) != want || err != nil {
			t.Fatalf("behind the first line of %q: %q, %v, want %q", in, got, err, want)
		}
	}
}

type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }

func format(t *testing.T, in string, escape Escape) string {
	t.Helper()
	o := FormatOptions{FormMbox, smtp.Path{Local: "a", Domain: "b.example"}, smtp.Path{Local: "alice", Domain: "us.example"}, deliveryTime, escape}
	var out, piecemeal bytes.Buffer
	if err := Format(&out, o, strings.NewReader(in)); err != nil {
		t.Fatalf("Format(%q): %v", in, err)
	}
	if err := Format(&piecemeal, o, iotest.OneByteReader(strings.NewReader(in))); err != nil || piecemeal.String() != out.String() {
		t.Fatalf("Format(%.80q): in one piece\n%.200q, octet by octet\n%.200q, %v", in, out.String(), piecemeal.String(), err)
	}
	return out.String()
}

func TestFromLineIsOneWordA27(t *testing.T) {
	for _, tt := range []struct {
		from       smtp.Path
		line, path string
	}{
		{smtp.Path{}, "<>", "<>"},
		{smtp.Path{Local: "a From b Mon Jan", Domain: "x.example"}, `"a_From_b_Mon_Jan"@x.example`, `<"a From b Mon Jan"@x.example>`},
		{smtp.Path{Local: "a\nb", Domain: "x.example"}, "", ""},
		{smtp.Path{Local: "jörg", Domain: "x.example"}, `j__rg@x.example`, `<jörg@x.example>`},
	} {
		var out strings.Builder
		if err := Format(&out, FormatOptions{ReversePath: tt.from, Time: deliveryTime}, strings.NewReader("S: x\n\n")); err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(out.String(), "\n")
		if len(lines) != 7 || len(strings.Fields(lines[0])) != 7 || strings.ContainsAny(out.String(), "\r\x00") {
			t.Errorf("%q: %q: want a From_ line of seven words and six newlines", tt.from, lines)
		}
		if tt.line != "" && (strings.Fields(lines[0])[1] != tt.line || lines[1] != "Return-Path: "+tt.path) {
			t.Errorf("%q: %q, %q, want sender %q, path %q", tt.from, lines[0], lines[1], tt.line, tt.path)
		}
	}
}

func TestFormatReportsErrors(t *testing.T) {
	broken := iotest.ErrReader(io.ErrUnexpectedEOF)
	for _, in := range []string{"", "Subject: x", "Return-Path: x", "Subject: x\n\nbody", "Return-Path: x\n"} {
		err := Format(io.Discard, FormatOptions{Escape: EscapeFiles}, io.MultiReader(strings.NewReader(in), broken))
		if err != io.ErrUnexpectedEOF {
			t.Errorf("after %q: %v, want %v", in, err, io.ErrUnexpectedEOF)
		}
	}
	endless := io.MultiReader(strings.NewReader("S: x\n\n"), iotest.OneByteReader(zeros{}))
	if err := Format(full{}, FormatOptions{}, endless); err != errFull {
		t.Errorf("writer broken: %v, want %v", err, errFull)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

type full struct{}

var errFull = io.ErrShortBuffer

func (full) Write([]byte) (int, error) { return 0, errFull }

// FuzzFormat: between any two formatted messages a reader that believes in
// empty line and "From " finds the border, and with EscapeFiles no other; and
// nothing of the message is lost but Return-Path fields.
func FuzzFormat(f *testing.F) {
	f.Add("a@b", "Subject: x\n\nFrom me\n")
	f.Add("a b", "From \n>From ")
	f.Fuzz(func(t *testing.T, sender, in string) {
		in = strings.ReplaceAll(in, "\r", " ")
		o := FormatOptions{ReversePath: smtp.Path{Local: sender}, Time: deliveryTime, Escape: EscapeFiles}
		var out strings.Builder
		if err := Format(&out, o, strings.NewReader(in)); err != nil {
			t.Fatal(err)
		}
		got := out.String()
		if n := strings.Count("\n"+got, "\nFrom "); n != 1 {
			t.Errorf("%q: %d lines begin with From_ in %q", in, n, got)
		}
		if !strings.HasPrefix(got, "From ") || !strings.HasSuffix(got, "\n\n") {
			t.Errorf("%q: %q has no From_ line or no empty line", in, got)
		}
		o.Escape = EscapeNone
		out.Reset()
		if err := Format(&out, o, strings.NewReader(in)); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(strings.ToLower(in), "return-path") && !strings.Contains(out.String(), in) {
			t.Errorf("%q is not in %q", in, out.String())
		}
	})
}
