package client

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// TestInput: what programs write becomes lines of the spool, and no
// second message (A2, A67).
func TestInput(t *testing.T) {
	long := strings.Repeat("x", 70_000)
	for _, tt := range []struct {
		name, in, want string
		dots           bool
	}{
		{"as it is", "Subject: a\n\nb\n", "Subject: a\n\nb\n", true},
		{"CR LF", "a\r\nb\r\n", "a\nb\n", true},
		{"a lone CR is a space", "a\rb\n\rc\r \r\n", "a b\n c  \n", true},
		{"CR CR LF is one line end", "Subject: a\r\r\n\r\r\nb\r\r\r\n", "Subject: a\n\nb\n", true},
		{"more CRs than anybody puts there", "a" + strings.Repeat("\r", maxCR+2) + "\nb", "a  \nb\n", true},
		{"line ends of all kinds", "Subject: a\r\nTo: b\n\r\nc\r\r\n\nd\r\n", "Subject: a\nTo: b\n\nc\n\nd\n", true},
		{"CR at the end", "a\r", "a \n", true},
		{"no last line end", "a\nb", "a\nb\n", true},
		{"nothing", "", "", true},
		{"a dot ends it", "a\n.\nb\n", "a\n", false},
		{"a dot with CR LF ends it", "a\r\n.\r\nb\n", "a\n", false},
		{"-i: a dot is content", "a\n.\nb\n", "a\n.\nb\n", true},
		{"two dots are content", "..\n.a\n. \n", "..\n.a\n. \n", false},
		{"a dot without a line end is content", "a\n.", "a\n.\n", false},
		{"From line of a mailbox", "From x y\nSubject: a\n\nFrom here\n", "Subject: a\n\nFrom here\n", true},
		{"several From lines", "From a\nFrom b\r\nSubject: a\n\nFrom here\n", "Subject: a\n\nFrom here\n", true},
		{">From behind From", "From a\n>From b remote from c\n>>From d\nhello\n", "hello\n", true},
		{">From in front of a header", ">From a\r\n>From b\r\nSubject: a\r\n\r\n>From c\r\n", "Subject: a\n\n>From c\n", true},
		{">From in front of From", ">From a\r\r\nFrom b\n>From c\nSubject: a\r\n\r\r\nb\r\n", "Subject: a\n\nb\n", true},
		{">From in front of From and text", ">From a\nFrom b\nhello\n", ">From a\nFrom b\nhello\n", true},
		{">From in front of text is text", ">From the manual:\nhello\n", ">From the manual:\nhello\n", true},
		{">From alone is text", ">From the manual", ">From the manual\n", true},
		{">From and an empty line is text", ">From the manual\n\nSubject: a\n", ">From the manual\n\nSubject: a\n", true},
		{"a long >From line is text", ">From " + long + "\nSubject: a\n", ">From " + long + "\nSubject: a\n", true},
		{"From and >From that are words", "Fromage\n", "Fromage\n", true},
		{"a quoted line", "> From a\nSubject: a\n", "> From a\nSubject: a\n", true},
		{"long From line", "From " + long + "\na\n", "a\n", true},
		{"only a From line", "From x", "", true},
		{"NUL stays", "a\x00b\n", "a\x00b\n", true},
		{"long line", long + "\n" + long, long + "\n" + long + "\n", true},
		{"a dot with CR CR LF ends it", "a\r\r\n.\r\r\nb\n", "a\n", false},
		{"a dot behind a long line ends it", long + "\n.\nb\n", long + "\n", false},
		{"a dot at the end of a long line is content", long + ".\nb\n", long + ".\nb\n", false},
		{"CR at the edge of the buffer", strings.Repeat("x", 32<<10-1) + "\r\ny\r", strings.Repeat("x", 32<<10-1) + "\ny \n", true},
		{"lone CR at the edge", strings.Repeat("x", 32<<10-1) + "\ry\n", strings.Repeat("x", 32<<10-1) + " y\n", true},
		{"CR CR LF at the edge", strings.Repeat("x", 32<<10-1) + "\r\r\ny\r", strings.Repeat("x", 32<<10-1) + "\ny \n", true},
		{"dot at the edge", strings.Repeat("x", 32<<10-1) + ".\n", strings.Repeat("x", 32<<10-1) + ".\n", false},
		{"dot behind the edge is content", strings.Repeat("x", 32<<10) + ".\ny\n", strings.Repeat("x", 32<<10) + ".\ny\n", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, r := range []io.Reader{strings.NewReader(tt.in), iotest.OneByteReader(strings.NewReader(tt.in))} {
				got, err := io.ReadAll(newInput(r, tt.dots))
				if err != nil || string(got) != tt.want {
					t.Errorf("%.60q: got %.60q (%d octets), %v, want %.60q (%d octets)", tt.in, got, len(got), err, tt.want, len(tt.want))
				}
			}
		})
	}
}

// TestInputError: a message that can't be read to its end is not one.
func TestInputError(t *testing.T) {
	broken := io.MultiReader(strings.NewReader("Subject: a\n\nhalf"), iotest.ErrReader(io.ErrUnexpectedEOF))
	if _, err := io.ReadAll(newInput(broken, true)); err != io.ErrUnexpectedEOF {
		t.Errorf("got %v, want %v", err, io.ErrUnexpectedEOF)
	}
}

// FuzzInput: whatever comes in, only whole lines without CR come out, the same
// in one piece or octet by octet, and again unchanged when read a second time.
func FuzzInput(f *testing.F) {
	f.Add("From x\r\na\rb\r\n.\r\n", true)
	f.Add(".\n", false)
	f.Add("a\r", false)
	f.Fuzz(func(t *testing.T, in string, dots bool) {
		out, err := io.ReadAll(newInput(strings.NewReader(in), dots))
		if err != nil {
			t.Fatal(err)
		}
		if bytes.IndexByte(out, '\r') >= 0 || len(out) > 0 && out[len(out)-1] != '\n' {
			t.Errorf("%q gave %q", in, out)
		}
		piecemeal, _ := io.ReadAll(newInput(iotest.OneByteReader(strings.NewReader(in)), dots))
		if !bytes.Equal(out, piecemeal) {
			t.Errorf("%q: in one piece %q, octet by octet %q", in, out, piecemeal)
		}
		if bytes.HasPrefix(out, []byte("From ")) {
			return
		}
		if again, _ := io.ReadAll(newInput(bytes.NewReader(out), true)); !bytes.Equal(out, again) {
			t.Errorf("%q gave %q, and that %q", in, out, again)
		}
	})
}
