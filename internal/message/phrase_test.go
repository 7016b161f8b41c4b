package message

import (
	"net/mail"
	"strings"
	"testing"
)

// TestPhrase: a name is never more than a name, whatever is in it.
func TestPhrase(t *testing.T) {
	for _, tt := range []struct{ name, want string }{
		{"Joe Doe", `"Joe Doe"`},
		{`J. "\" Doe`, `"J. \"\\\" Doe"`},
		{"X <y@z.example>", `"X <y@z.example>"`},
		{"x\r\nX-Injected: y\x00", `"x  X-Injected: y "`},
		{"J\u00f6e", "=?utf-8?q?J=C3=B6e?="},
		{"J\u00f6 <y@z.example>, (x) \"q\"_=?.", "=?utf-8?q?J=C3=B6_=3Cy=40z=2Eexample=3E=2C_=28x=29_=22q=22=5F=3D=3F=2E?="},
		{"J\xf6e", `"J?e"`},
		{"\u00f6\xff\n", "=?utf-8?q?=C3=B6=3F_?="},
		{"", `""`},
		{strings.Repeat("\u00f6", 11) + "x", "=?utf-8?q?" + strings.Repeat("=C3=B6", 10) + "?=\n =?utf-8?q?=C3=B6x?="},
	} {
		got := Phrase(tt.name)
		if got != tt.want {
			t.Errorf("%q: %s, want %s", tt.name, got, tt.want)
		}
		for line := range strings.Lines(got) {
			if len(strings.TrimSpace(line)) > 75 {
				t.Errorf("%q: a line of %d octets", tt.name, len(line))
			}
		}
	}
}

// FuzzPhrase: another reader sees one address, ours, with the name.
func FuzzPhrase(f *testing.F) {
	f.Add("X <y@z>")
	f.Add("\u00f6 <y@z>, a@b (c) \"d\\")
	f.Fuzz(func(t *testing.T, name string) {
		if strings.ContainsRune(name, '\\') || name == "" {
			return // net/mail's own quirks
		}
		a, err := mail.ParseAddress(strings.ReplaceAll(Phrase(name), "\n", "") + " <joe@us.example>")
		if err != nil || a.Address != "joe@us.example" {
			t.Fatalf("%q as %q is read as %v, %v", name, Phrase(name), a, err)
		}
		want := strings.Map(func(r rune) rune {
			if r < ' ' || r == 0x7f {
				return ' '
			}
			return r
		}, strings.ToValidUTF8(name, "?"))
		if strings.TrimSpace(a.Name) != strings.TrimSpace(want) {
			t.Errorf("%q as %q is read as %q", name, Phrase(name), a.Name)
		}
	})
}
