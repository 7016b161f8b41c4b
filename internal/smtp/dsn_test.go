package smtp

import (
	"strings"
	"testing"
)

// TestCheckDSN: RFC 3461 section 4, and nothing that decodes to an octet which
// could begin a line (A22).
func TestCheckDSN(t *testing.T) {
	for _, tt := range []struct {
		in string
		ok bool
	}{
		{"RET=FULL", true},
		{"RET=hdrs", true},
		{"RET=BODY", false},
		{"RET", false},
		{"ENVID=QQ314159", true},
		{"ENVID=a+2Bb+3Dc+20d", true},
		{"ENVID=" + strings.Repeat("x", 100), true},
		{"ENVID=" + strings.Repeat("x", 101), false},
		{"ENVID", false},
		{"ENVID=x+0Aevil", false},
		{"ENVID=x+0D", false},
		{"ENVID=x+00", false},
		{"ENVID=x+09", false},
		{"ENVID=x+7F", false},
		{"ENVID=x+80", false},
		{"ENVID=x+FF", false},
		{"ENVID=x+2b", false},
		{"ENVID=x+2", false},
		{"ENVID=x+", false},
		{"ENVID=a=b", false},
		{"NOTIFY=NEVER", true},
		{"NOTIFY=Success,FAILURE,delay", true},
		{"NOTIFY=DELAY", true},
		{"NOTIFY=NEVER,FAILURE", false},
		{"NOTIFY=FAILURE,NEVER", false},
		{"NOTIFY=FAILURE,FAILURE", false},
		{"NOTIFY=FAILURE,", false},
		{"NOTIFY=,", false},
		{"NOTIFY=ALWAYS", false},
		{"NOTIFY", false},
		{"ORCPT=rfc822;joe@x.example", true},
		{"ORCPT=rfc822;joe+2Bx@x.example", true},
		{"ORCPT=x-a+b;c", true},
		{"ORCPT=rfc822;a+0Ab", false},
		{"ORCPT=rfc822;", false},
		{"ORCPT=;joe", false},
		{"ORCPT=joe@x.example", false},
		{"ORCPT=rfc 822;joe", false},
		{"ORCPT=rfc@822;joe", false},
		{"ORCPT=rfc822;" + strings.Repeat("x", 493), true},
		{"ORCPT=rfc822;" + strings.Repeat("x", 494), false},
		{"SIZE=1", false},
	} {
		name, value, _ := strings.Cut(tt.in, "=")
		if err := CheckDSN(Param{name, value}); (err == nil) != tt.ok {
			t.Errorf("%q: %v, want good: %v", tt.in, err, tt.ok)
		}
	}
}

func TestENVID(t *testing.T) {
	for _, tt := range []struct{ in, want string }{ // want "" is an error
		{"abc", "abc"},
		{"a+20b", "a+20b"},
		{"a b", "a+20b"},
		{"a+b=c", "a+2Bb+3Dc"},
		{"a\nX: y", ""},
		{"a\x00", ""},
		{"\xe9", ""},
		{"", ""},
		{strings.Repeat(" ", 34), ""},
	} {
		p, err := ENVID(tt.in)
		if err != nil {
			p.Value = ""
		}
		if p.Value != tt.want {
			t.Errorf("%q: got %q, %v, want %q", tt.in, p.Value, err, tt.want)
		}
	}
}

// FuzzXtext: what ENVID takes goes through MAIL as one parameter, is still
// good there, and decodes to printable ASCII.
func FuzzXtext(f *testing.F) {
	for _, s := range []string{"a b", "+0A", "+2B", "a=b", "x+", "\r\n", "~+7E"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		p, err := ENVID(in)
		if err != nil {
			return
		}
		params, err := ParseParams(" " + p.String())
		if err != nil || len(params) != 1 || params[0] != p {
			t.Fatalf("%q: %q is read as %q, %v", in, p, params, err)
		}
		if err := CheckDSN(params[0]); err != nil {
			t.Errorf("%q: %v", in, err)
		}
		for i := 0; i < len(p.Value); i++ {
			c := p.Value[i]
			if c == '+' {
				c = byte(hexDigit(p.Value[i+1])<<4 | hexDigit(p.Value[i+2]))
				i += 2
			}
			if c < ' ' || c > '~' {
				t.Errorf("%q: %q holds %#02x", in, p, c)
			}
		}
	})
}

// TestDecodeXtext: what is no xtext stays.
func TestDecodeXtext(t *testing.T) {
	if got := DecodeXtext("a+2Bb+40c+zz+4"); got != "a+b@c+zz+4" {
		t.Errorf("%q", got)
	}
}
