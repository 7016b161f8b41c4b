package local

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"postoffice/internal/alias"
	"postoffice/internal/smtp"
)

// linesOf are targets in one file.
func linesOf(targets ...alias.Target) []Line {
	var lines []Line
	for i, t := range targets {
		lines = append(lines, Line{Target: t, File: "/home/a b/.forward", Line: i + 1})
	}
	return lines
}

func TestLines(t *testing.T) {
	lines := linesOf(
		alias.Target{Kind: alias.Address, Path: smtp.Path{Local: "a,b", Domain: "x.example"}},
		alias.Target{Kind: alias.Address, Path: smtp.Path{Local: "bob"}},
		alias.Target{Kind: alias.Mailbox, Path: smtp.Path{Local: "alice"}},
		alias.Target{Kind: alias.Program, Text: `prog "a b", c	d \ (x)`},
		alias.Target{Kind: alias.File, Text: "/a, b"},
		alias.Target{Kind: alias.Include, Text: "/list"},
	)
	b, err := EncodeLines(lines)
	if err != nil {
		t.Fatal(err)
	}
	got, err := DecodeLines(bytes.NewReader(b))
	if err != nil || !slices.Equal(got, lines) {
		t.Errorf("%q: %+v, %v, want %+v", b, got, err, lines)
	}
	for i := range got {
		if got[i].Hash() != lines[i].Hash() {
			t.Errorf("%v: another hash than %v", got[i], lines[i])
		}
	}
}

// TestLinesLimits: what is too much, or can't be told from another line, is not
// sent, and what a user's process sends beyond that is not read.
func TestLinesLimits(t *testing.T) {
	many := slices.Repeat(linesOf(alias.Target{Path: smtp.Path{Local: "a"}}), MaxLines+1)
	long := linesOf(alias.Target{Kind: alias.Program, Text: strings.Repeat("x", maxLineBytes)})
	odd := linesOf(alias.Target{Path: smtp.Path{Local: "a"}})
	odd[0].File = "/a\tb"
	unnumbered := linesOf(alias.Target{Path: smtp.Path{Local: "a"}})
	unnumbered[0].Line = 0
	for _, lines := range [][]Line{many, long, odd, unnumbered, linesOf(alias.Target{Kind: alias.Program, Text: "a\nb"})} {
		if b, err := EncodeLines(lines); err == nil {
			t.Errorf("%d lines as %d octets, want an error", len(lines), len(b))
		}
	}
	for _, in := range []string{
		strings.Repeat("/f\t1\ta\n", MaxLines+1), "/f\t1\t|" + strings.Repeat("x", maxLineBytes) + "\n",
		"/f\t1\ta", "/f\t1\n", "/f\t0\ta\n", "/f\t01\ta\n", "/f\tx\ta\n", "/f\t1\ta, b\n", "/f\t1\t\n", "/f\t1\ta\x00\n", "\n",
	} {
		if got, err := DecodeLines(strings.NewReader(in)); err == nil {
			t.Errorf("%.40q is %d lines, want an error", in, len(got))
		}
	}
	got, err := DecodeLines(strings.NewReader(strings.Repeat("/f\t1\ta\n", MaxLines)))
	if err != nil || len(got) != MaxLines {
		t.Errorf("%d lines, %v, want %d", len(got), err, MaxLines)
	}
}

// FuzzLines: what is read as a list can be sent, and is read as the same again.
func FuzzLines(f *testing.F) {
	f.Add("/f\t1\ta@b.example\n/f\t2\t\\bob\n")
	f.Add("/f\t1\t\"|prog 'a	b'\"\n/f\t2\t:include:\"/a b\"\n")
	f.Fuzz(func(t *testing.T, in string) {
		lines, err := DecodeLines(strings.NewReader(in))
		if err != nil {
			return
		}
		b, err := EncodeLines(lines)
		if err != nil {
			t.Fatalf("%q is %+v, which can't be sent: %v", in, lines, err)
		}
		again, err := DecodeLines(bytes.NewReader(b))
		if err != nil || fmt.Sprint(again) != fmt.Sprint(lines) || !slices.Equal(again, lines) {
			t.Errorf("%q is %+v, sent as %q and read as %+v, %v", in, lines, b, again, err)
		}
	})
}
