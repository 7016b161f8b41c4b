package cmdline

import (
	"bytes"
	"encoding/json"
	"testing"
)

// TestA25Printed: no text of somebody else's drives a terminal, not by control
// characters of 7 or 8 bits, octets that are no UTF-8, or a turn of direction; and
// what is to be seen stays.
func TestA25Printed(t *testing.T) {
	for _, tt := range []struct{ in, text, json string }{
		{"plain ~", "plain ~", `"plain ~"`},
		{"grün 日本", "grün 日本", `"grün 日本"`},
		{"a\x1b[2J\r\nb\t\x00\x7f", "a?[2J??b???", `"a\u001b[2J\r\nb\t\u0000\u007f"`},
		{"\u009b2J\u0085", "?2J?", `"\u009b2J\u0085"`},
		{"\x9b2J\xff", "\ufffd2J\ufffd", `"\ufffd2J\ufffd"`},
		{"\u202ecod.exe\u2066\u200f", "?cod.exe??", `"\u202ecod.exe\u2066\u200f"`},
		{"\U000e0041\u2028", "??", `"\udb40\udc41\u2028"`},
	} {
		if got := Printed(tt.in); got != tt.text {
			t.Errorf("%q is shown as %q, want %q", tt.in, got, tt.text)
		}
		var b bytes.Buffer
		if err := PrintJSON(&b, tt.in); err != nil {
			t.Fatal(err)
		}
		want := tt.json
		if tt.in == "\x9b2J\xff" {
			want = "\"\\ufffd2J\\ufffd\"" // as json.Marshal replaces it
		}
		if got := b.String(); got != want+"\n" {
			t.Errorf("%q is %s in JSON, want %s", tt.in, got, want)
		}
		var back, plain string
		if err := json.Unmarshal(b.Bytes(), &back); err != nil {
			t.Fatal(err)
		}
		raw, _ := json.Marshal(tt.in)
		if err := json.Unmarshal(raw, &plain); err != nil || back != plain {
			t.Errorf("%s means %q, want %q, %v", b.String(), back, plain, err)
		}
	}
}
