package idn

import (
	"strings"
	"testing"
)

func TestToASCII(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"b\u00fccher.example", "xn--bcher-kva.example"},
		{"B\u00dcCHER.Example", "xn--bcher-kva.example"},
		{"www.\u65e5\u672c\u8a9e\u3002example", "www.xn--wgv71a119e.example"},
		{"\u043f\u0440\u0438\u0432\u0435\u0442.\u0440\u0444", "xn--b1agh1afp.xn--p1ai"},
		{"\u4ed6\u4eec\u4e3a\u4ec0\u4e48\u4e0d\u8bf4\u4e2d\u6587", "xn--ihqwcrb4cv8a8dqg056pqjye"}, // RFC 3492 section 7.1
		{strings.Repeat("\u00fc", 10) + strings.Repeat("a", 10) + ".example", "xn--aaaaaaaaaa-8dbaaaaaaaaa.example"},
		{"b\xfccher.example", ""},
	} {
		if got, err := ToASCII(tt.in); got != tt.want && tt.want != "" || (err == nil) != (tt.want != "") {
			t.Errorf("%q: %q, %v, want %q", tt.in, got, err, tt.want)
		}
	}
}

// TestAsLogin has what is the same in each build: what the tables change is in
// applets/logins/accounts.
func TestAsLogin(t *testing.T) {
	for _, name := range []string{"", "bob+x@us.example", "j\u00fcrgen@us.example", "\xff"} {
		if got := AsLogin(name); got != name {
			t.Errorf("%q becomes %q", name, got)
		}
	}
}
