package message

import (
	"bufio"
	"strings"
	"testing"
)

// TestAuthServID: whoever stands in front is found however it is written, and what can't
// be read is nobody.
func TestAuthServID(t *testing.T) {
	for value, want := range map[string]string{
		" mx.example; spf=pass":                  "mx.example",
		" mx.example":                            "mx.example",
		" mx.example 1; none":                    "mx.example",
		"mx.example;none":                        "mx.example",
		" (a (nested) \\) one)\n\tmx.example; x": "mx.example",
		" \"mx.example\"; x":                     "mx.example",
		" \"mx.\\example\" ; x":                  "mx.example",
		" mx.example(c) (d)1; x":                 "mx.example",
		"":                                       "", " ": "", " (open mx.example; x": "", " \"open; x": "", " ; x": "", " two words; x": "", " \"\"; x": "",
	} {
		if id, ok := AuthServID(value); id != want && ok || ok != (want != "") {
			t.Errorf("%q: %q, %v, want %q", value, id, ok, want)
		}
	}
}

// TestSift: a field of which nothing is written is gone, and one that is too long to be
// looked at.
func TestSift(t *testing.T) {
	var out strings.Builder
	w := bufio.NewWriter(&out)
	e := NewEdit(w)
	e.Sift("X-A", 40, func(w *bufio.Writer, field []byte) error {
		if strings.Contains(string(field), "keep") {
			w.Write(field)
		}
		return nil
	})
	text := "X-A: keep\nX-B: drop\nx-a: drop\nX-A: keep" + strings.Repeat("\n\tlong", 20) + "\nX-C: c\nX-A:\n keep\n\nX-A: drop\n"
	for _, c := range []byte(text) {
		if _, err := e.Write([]byte{c}); err != nil {
			t.Fatal(err)
		}
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	w.Flush()
	if want := "X-A: keep\nX-B: drop\nX-C: c\nX-A:\n keep\n\nX-A: drop\n"; out.String() != want {
		t.Errorf("got %q, want %q", out.String(), want)
	}
}
