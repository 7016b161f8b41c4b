package message

import (
	"strings"
	"testing"
)

// TestCheck: what would end a field or a header is told.
func TestCheck(t *testing.T) {
	for name, want := range map[string]string{
		"X-Name": "", strings.Repeat("n", maxName-1): "", "": "no name", strings.Repeat("n", maxName): "want fewer",
		"A:B": `a ":"`, "A B": `a " "`, "A\n": `a "\n"`, "A\x00": `a "\x00"`, "\xc3\xa9": `a "\xc3"`,
	} {
		if err := CheckName(name); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("name %.20q: %v, want %q", name, err, want)
		}
	}
	for value, want := range map[string]string{
		"": "", " a": "", "a\n b\n\tc": "", "\xc3\xa9": "", "a\tb": "",
		"a\nb": "without a blank", "a\n": "without a blank", "a\n\n b": "without a blank", "a\n \t\n b": "blanks alone",
		"a\rb": "CR without LF", "a\r\n b": "CR without LF", "a\x00": "control character", "a\x7f": "control character",
	} {
		if err := CheckValue(value); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("value %q: %v, want %q", value, err, want)
		}
	}
}
