package message

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
)

// TestFields has what is a field, what ends a header, and where the reader
// stands then.
func TestFields(t *testing.T) {
	long := strings.Repeat("x", 300)
	for _, tt := range []struct {
		name, in string
		want     []string // name, value
		rest     string
	}{
		{"the plain case", "A: 1\nB: 2\n\nC: 3\n", []string{"A", "1", "B", "2"}, "\nC: 3\n"},
		{"folded lines", "A: 1\n 2\n\t3\n \nB:\n", []string{"A", "1\n 2\n\t3", "B", ""}, ""},
		{"blanks before the colon", "A \t: 1\n\n", []string{"A", "1"}, "\n"},
		{"nothing", "", nil, ""},
		{"no header", "\nA: 1\n", nil, "\nA: 1\n"},
		{"a blank first", " A: 1\n", nil, " A: 1\n"},
		{"a line that is none", "A: 1\nB b: 2\nC: 3\n", []string{"A", "1"}, "B b: 2\nC: 3\n"},
		{"From_ line", "From a Mon Jan\nA: 1\n", nil, "From a Mon Jan\nA: 1\n"},
		{"octets outside ASCII in the name", "A\xe4: 1\n", nil, "A\xe4: 1\n"},
		{"octets outside ASCII in the value", "A: \xe4\n\n", []string{"A", "\xe4"}, "\n"},
		{"no last line end", "A: 1", []string{"A", "1"}, ""},
		{"no last line end, folded", "A: 1\n ", []string{"A", "1"}, ""},
		{"a name of 300 octets", long + ": 1\n", nil, long + ": 1\n"},
		{"cut at the limit", "A: " + long + "\n " + long + "\nB: 1\n\n", []string{"A", long[:97] + "+", "B", "1"}, "\n"},
		{"longer than the buffer", "A: " + strings.Repeat("y", 10_000) + "\nB: 1\n\n", []string{"A", strings.Repeat("y", 97) + "+", "B", "1"}, "\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, src := range []io.Reader{strings.NewReader(tt.in), iotest.OneByteReader(strings.NewReader(tt.in))} {
				r := bufio.NewReaderSize(src, maxName)
				var got []string
				for f, err := range Fields(r, 100) {
					if err != nil {
						t.Fatal(err)
					}
					value := string(f.Value())
					if f.Cut {
						value += "+"
					}
					got = append(got, string(f.Name()), value)
				}
				if diff := cmp.Diff(tt.want, got); diff != "" {
					t.Errorf("%.40q (-want +got):\n%s", tt.in, diff)
				}
				if rest, _ := io.ReadAll(r); string(rest) != tt.rest {
					t.Errorf("%.40q: the rest is %.40q, want %.40q", tt.in, rest, tt.rest)
				}
			}
		})
	}
}

// TestFieldsEndless: of a field that has no end the beginning comes.
func TestFieldsEndless(t *testing.T) {
	for f, err := range Fields(bufio.NewReader(io.MultiReader(strings.NewReader("A: "), zeros{})), 10) {
		if string(f.Name()) != "A" || !f.Cut || err != nil {
			t.Errorf("%q, %v", f.Text, err)
		}
		break
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

// TestFieldsError: the source's error comes last, wherever it strikes.
func TestFieldsError(t *testing.T) {
	broken := errors.New("broken")
	for _, in := range []string{"", "A", "A: 1", "A: 1\n", "A: 1\n ", "A: 1\n 2\nB"} {
		var last error
		for _, err := range Fields(bufio.NewReader(io.MultiReader(strings.NewReader(in), iotest.ErrReader(broken))), 100) {
			last = err
		}
		if last != broken {
			t.Errorf("after %q: %v", in, last)
		}
	}
}

// TestHeader is a header in memory.
func TestHeader(t *testing.T) {
	const in = "To: a\nBCC : b\n c\nto:d\n\nbody"
	r := bufio.NewReader(strings.NewReader(in))
	h, err := ReadHeader(r, 1000)
	if err != nil || h.String() != in[:len(in)-5] {
		t.Fatalf("%q, %v", h, err)
	}
	if got := h.Without("bcc", "x").String(); got != "To: a\nto:d\n" {
		t.Errorf("without Bcc: %q", got)
	}
	var values []string
	for v := range h.Values("bcc", "to") {
		values = append(values, v)
	}
	if diff := cmp.Diff([]string{" a\n", " b\n c\n", "d\n"}, values); diff != "" {
		t.Errorf("values (-want +got):\n%s", diff)
	}
	if !h.Has("bcc") || h.Has("b") || (Header)(nil).Has("bcc") {
		t.Errorf("Has: %v %v", h.Has("bcc"), h.Has("b"))
	}
	if _, err := ReadHeader(bufio.NewReader(strings.NewReader(in)), 21); !errors.Is(err, ErrTooLong) {
		t.Errorf("limit 21: %v", err)
	}
	if got, err := ReadHeader(bufio.NewReader(strings.NewReader(in)), 22); err != nil || len(got) != 3 {
		t.Errorf("limit 22: %v, %v", got, err)
	}
	if got := fmt.Sprint(Header(nil)); got != "" {
		t.Errorf("no header: %q", got)
	}
}
