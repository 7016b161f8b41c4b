package smtp

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"unicode/utf8"
)

// unfold takes out the folds of WriteData: CR LF before a blank, where the line
// before is one that had to end; a space of ours where text was cut.
func unfold(wire string) string {
	var b strings.Builder
	lines := strings.Split(strings.TrimSuffix(wire, "\r\n.\r\n"), "\r\n")
	for i, line := range lines {
		b.WriteString(line)
		if i+1 < len(lines) && !strings.HasPrefix(lines[i+1], " ") && !strings.HasPrefix(lines[i+1], "\t") {
			b.WriteByte('\n')
		}
	}
	return b.String() + "\n"
}

func send(t *testing.T, stored string) string {
	t.Helper()
	var want string
	sources := []io.Reader{strings.NewReader(stored), iotest.HalfReader(strings.NewReader(stored)), iotest.DataErrReader(strings.NewReader(stored))}
	if len(stored) < 10000 {
		sources = append(sources, iotest.OneByteReader(strings.NewReader(stored)))
	}
	for _, src := range sources {
		var wire strings.Builder
		if err := WriteData(&wire, src); err != nil {
			t.Fatal(err)
		}
		if want != "" && wire.String() != want {
			t.Fatalf("%.100q: the wire depends on how the message is read", stored)
		}
		want = wire.String()
	}
	return want
}

func TestA6Folding(t *testing.T) {
	x := func(n int) string { return strings.Repeat("x", n) }
	for _, tt := range []struct{ name, stored, wire string }{
		{"998 octets", x(998) + "\n", x(998) + "\r\n.\r\n"},
		{"998 octets and a dot", "." + x(997) + "\n", ".." + x(997) + "\r\n.\r\n"},
		{"999 octets", x(999) + "\n", x(998) + "\r\n x\r\n.\r\n"},
		{"998 octets without end", x(998), x(998) + "\r\n.\r\n"},
		{"999 octets without end", x(999), x(998) + "\r\n x\r\n.\r\n"},
		{"two folds", x(998+997) + "y\n", x(998) + "\r\n " + x(997) + "\r\n y\r\n.\r\n"},
		{"dot at the fold", x(998) + ".\n", x(998) + "\r\n .\r\n.\r\n"},
		{"From at the fold", x(998) + "From y\n", x(998) + "\r\n From y\r\n.\r\n"},
		{"field at the fold", x(998) + "X-I: y\n", x(998) + "\r\n X-I: y\r\n.\r\n"},
		{"blank at the edge", x(998) + " y\n", x(998) + "\r\n y\r\n.\r\n"},
		{"blank before the edge", x(900) + " " + x(200) + "\n", x(900) + "\r\n " + x(200) + "\r\n.\r\n"},
		{"TAB before the edge", x(900) + "\t" + x(200) + "\n", x(900) + "\r\n\t" + x(200) + "\r\n.\r\n"},
		{"last blank of several", "a b c " + x(900) + " d  e" + x(200) + "\n", "a b c " + x(900) + " d \r\n e" + x(200) + "\r\n.\r\n"},
		{"field name alone", "Subject: " + x(995) + "\n", "Subject:\r\n " + x(995) + "\r\n.\r\n"},
		{"leading blanks are no place", "  " + x(1000) + "\n", "  " + x(996) + "\r\n " + x(4) + "\r\n.\r\n"},
		{"trailing blanks are no place", x(500) + " " + x(490) + strings.Repeat(" ", 20) + "\n", x(500) + "\r\n " + x(490) + strings.Repeat(" ", 20) + "\r\n.\r\n"},
		{"blanks only", strings.Repeat(" ", 1000) + "\n", strings.Repeat(" ", 998) + "\r\n  \r\n.\r\n"},
		{"UTF-8", x(997) + "\u20ac\n", x(997) + "\r\n \u20ac\r\n.\r\n"},
		{"no UTF-8", x(990) + strings.Repeat("\x80", 10) + "\n", x(990) + strings.Repeat("\x80", 8) + "\r\n \x80\x80\r\n.\r\n"},
		{"A2 stray CR", "a\rb\r\n" + x(998) + "\r\n", "a b\r\n" + x(998) + "\r\n.\r\n"},
		{"A2 CR at the end", "a\r", "a \r\n.\r\n"},
		{"A2 two CR", "a\r\r\n", "a \r\n.\r\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := send(t, tt.stored); got != tt.wire {
				t.Errorf("%.50q: got %.1200q, want %.1200q", tt.stored, got, tt.wire)
			}
		})
	}
}

func TestA6LongLines(t *testing.T) {
	for _, n := range []int{5000, 32766, 32767, 32768, 32769, 1000000} {
		words := strings.Repeat("word ", n/5)
		for _, tt := range []struct {
			name, stored string
			blanks       bool // each place to fold has one
		}{
			{"header words", "Subject: " + words + "end.\n", true},
			{"header octets", "Subject: " + strings.Repeat("y", n) + ".\n", false},
			{"body words", "S: x\n\n" + words + ".\n", true},
			{"body octets", "S: x\n\n" + strings.Repeat("y", n) + ".\n.\nFrom z\n", false},
			{"body dots", "S: x\n\n" + strings.Repeat(".", n) + "\n", false},
			{"no end", "S: x\n\n" + strings.Repeat("y", n) + ".", false},
		} {
			wire := send(t, tt.stored)
			for line := range strings.SplitSeq(wire, "\r\n") {
				if len(strings.TrimPrefix(line, ".")) > maxTextLine {
					t.Fatalf("%s, %d: line of %d octets", tt.name, n, len(line))
				}
			}
			got, want := unfold(wire), strings.TrimSuffix(tt.stored, "\n")+"\n"
			if !tt.blanks { // spaces of ours stay where text was cut
				got = strings.ReplaceAll(got, " ", "")
				want = strings.ReplaceAll(want, " ", "")
			}
			got = strings.ReplaceAll(got, "\n.", "\n") // the dots that were added
			if tt.name == "body octets" {
				want = strings.Replace(want, ".\n.\n", ".\n\n", 1)
				got = strings.Replace(got, ".\n.\n", ".\n\n", 1)
			}
			if tt.name == "body dots" {
				got = strings.Replace(got, "\n\n", "\n\n.", 1)
			}
			if tt.name == "body dots" && strings.Count(got, ".") != n+1 || tt.name != "body dots" && got != want {
				t.Errorf("%s, %d: unfolded %d octets, want %d", tt.name, n, len(got), len(want))
			}
			var exact bytes.Buffer
			if err := WriteDataExact(&exact, strings.NewReader(tt.stored)); err != nil {
				t.Fatal(err)
			}
			if stored, rest, _ := read(t, exact.String(), 4096); stored != want && tt.blanks || rest != "" {
				t.Errorf("%s, %d: exact gives %d octets, want %d", tt.name, n, len(stored), len(want))
			}
		}
	}
}

func TestWriteDataErrors(t *testing.T) {
	disk, pipe := errors.New("input/output error"), errors.New("broken pipe")
	long := strings.Repeat("line\n", 100000)
	var wire bytes.Buffer
	err := WriteData(&wire, io.MultiReader(strings.NewReader(long), iotest.ErrReader(disk)))
	var source *SourceError
	if !errors.As(err, &source) || !errors.Is(err, disk) {
		t.Errorf("got %v, want a SourceError", err)
	}
	if strings.HasSuffix(wire.String(), "\r\n.\r\n") {
		t.Error("the end was sent although the message could not be read")
	}
	if err := WriteData(failWriter{pipe}, strings.NewReader(long)); err != pipe {
		t.Errorf("got %v, want the connection's error", err)
	}
	if err := WriteData(shortWriter{}, strings.NewReader(long)); err != io.ErrShortWrite {
		t.Errorf("got %v, want io.ErrShortWrite", err)
	}
	if err := WriteData(io.Discard, emptyReader{}); !errors.Is(err, io.ErrNoProgress) {
		t.Errorf("got %v, want io.ErrNoProgress", err)
	}
}

type emptyReader struct{}

func (emptyReader) Read([]byte) (int, error) { return 0, nil }

// What we accept the next server must see the same, to the same end; and what
// we fold has no long line, no bare CR or LF, and every octet in order.
func FuzzData(f *testing.F) {
	for _, s := range []string{
		"a\r\n.\r\n", ".\r\n", "..\r\n.\r\n", "a\n.\n\r\n.\r\nNOOP\r\n", "\r\r\n.\r\r\n.\r\n", "\r\n.\x00\r\n.\r\n", "x\r.\r\r\n.\r\n",
		strings.Repeat("x ", 600) + "\r\n.\r\n", strings.Repeat("\u20ac", 700) + "\r\n.\r\n",
	} {
		f.Add(s, uint16(len(s)))
	}
	f.Fuzz(func(t *testing.T, in string, size uint16) {
		var msg strings.Builder
		src := bufio.NewReaderSize(strings.NewReader(in), int(size))
		info, err := ReadData(&msg, src, DataOptions{})
		if err != nil {
			return // refused is always safe
		}
		stored := msg.String()
		if strings.Contains(stored, "\r") || stored != "" && !strings.HasSuffix(stored, "\n") || info.Octets != int64(len(stored)) {
			t.Fatalf("%q: stored %q, %+v", in, stored, info)
		}
		left, _ := io.ReadAll(src)
		if _, want, ok := strings.Cut("\r\n"+in, "\r\n.\r\n"); !ok || string(left) != want {
			t.Fatalf("%q: left %q, want %q", in, left, want)
		}
		checkOutput(t, stored)
		wire := send(t, stored)
		for line := range strings.SplitSeq(strings.TrimSuffix(wire, "\r\n"), "\r\n") {
			if len(line) > maxTextLine+1 || strings.ContainsAny(line, "\r\n") {
				t.Fatalf("%q: sent line of %d octets: %q", stored, len(line), line)
			}
		}
		folded, rest, _ := read(t, wire, 4096)
		if rest != "" {
			t.Fatalf("%q: ended early, left %q", stored, rest)
		}
		clean := strings.NewReplacer(" ", "", "\n", "")
		if clean.Replace(folded) != clean.Replace(stored) {
			t.Errorf("%q: folded to %q", stored, folded)
		}
		if utf8.ValidString(stored) != utf8.ValidString(folded) {
			t.Errorf("%q: UTF-8 cut in %q", stored, folded)
		}
	})
}

func FuzzPath(f *testing.F) {
	for _, s := range []string{"<>", "<a@b.example> SIZE=1", `<"a\"b c"@[IPv6:::1]>`, "<@r:.a..@x>", "<postmaster>", "<a@[1.2.3.4]>"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, arg string) {
		p, rest, err := ParsePath(arg)
		if err != nil {
			if p != (Path{}) || rest != "" {
				t.Fatalf("%q: %v, but also %q %q", arg, err, p, rest)
			}
			return
		}
		again, none, err := ParsePath("<" + p.String() + ">")
		if err != nil || again != p || none != "" {
			t.Fatalf("%q: got %+v, which prints as %q and parses to %+v, %v", arg, p, p, again, err)
		}
		if bare, err := ParseAddress(p.String()); !p.IsNull() && (err != nil || bare != p) {
			t.Fatalf("%q: got %+v, bare %+v, %v", arg, p, bare, err)
		}
		if !isPrintable(p.String()) || len(p.String()) > maxPath-2 {
			t.Fatalf("%q: got %q", arg, p)
		}
		if params, err := ParseParams(rest); err == nil {
			var words []string
			for _, q := range params {
				words = append(words, q.String())
			}
			if same, err := ParseParams(strings.Join(words, " ")); err != nil || len(same) != len(params) {
				t.Fatalf("%q: parameters %q, again %q, %v", arg, params, same, err)
			}
		}
	})
}

// A reply read, written and read again is the same reply; what is written
// keeps A12.
func FuzzReply(f *testing.F) {
	for _, s := range []string{
		"250 ok\r\n", "250-2.0.0 a\r\n250 2.0.0 b\r\n", "550-a\r\n550 5.1.1 b\r\n", "354 go\r\n", "250-a\x1b\r\n250 \xe9\r\n",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, wire string) {
		first, err := ReadReply(bufio.NewReader(strings.NewReader(wire)))
		if err != nil {
			return
		}
		out := string(first.Append(nil))
		for line := range strings.SplitAfterSeq(out, "\r\n") {
			if line != "" && (len(line) > maxReplyLine || !isPrintable(strings.TrimSuffix(line, "\r\n"))) {
				t.Fatalf("%q written as %q", wire, out)
			}
		}
		if !isPrintable(first.String()) {
			t.Fatalf("%q printed as %q", wire, first.String())
		}
		second, err := ReadReply(bufio.NewReader(strings.NewReader(out)))
		if strings.Count(out, "\n") > maxReplyLines {
			return // broken lines are more lines
		}
		if err != nil {
			t.Fatalf("%q written as %q: %v", wire, out, err)
		}
		third, err := ReadReply(bufio.NewReader(bytes.NewReader(second.Append(nil))))
		if err != nil || third != second || second.Code != first.Code {
			t.Fatalf("%q: %+v, then %+v, then %+v, %v", wire, first, second, third, err)
		}
		if strings.Count(out, "\n") == strings.Count(first.Text, "\n")+1 && Masked(strings.ReplaceAll(first.Text, "\n", "|"), '?', IsPrintable) != strings.ReplaceAll(second.Text, "\n", "|") {
			t.Fatalf("%q: text %q became %q", wire, first.Text, second.Text)
		}
		if first.Status != "" && second.Status != first.Status {
			t.Fatalf("%q: status %q became %q", wire, first.Status, second.Status)
		}
	})
}
