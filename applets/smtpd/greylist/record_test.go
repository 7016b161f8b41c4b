package greylist

import (
	"errors"
	"strings"
	"testing"
)

func TestRecord(t *testing.T) {
	for _, tt := range []struct {
		text string
		want Record
		same bool // String gives the text back
	}{
		{"1700003600 1700000000", Record{Allowed: 1700003600, Last: 1700000000}, true},
		{"* 1700000000", Record{Forbidden: true, Last: 1700000000}, true},
		{"1700003590 1700000000\x00", Record{Allowed: 1700003590, Last: 1700000000}, false},
		{"  5\t6 ", Record{Allowed: 5, Last: 6}, false},
		{"3 4 first=1 passed=4 tries=2", Record{Allowed: 3, Last: 4, First: 1, Passed: 4, Tries: 2}, true},
		{"3 4 hand", Record{Allowed: 3, Last: 4, Hand: true}, true},
		{"* 4 hand", Record{Forbidden: true, Last: 4, Hand: true}, true},
		{"3 4 from-a-later-version=7 first=1", Record{Allowed: 3, Last: 4, First: 1}, false},
		{"3 4 tries=4000000000", Record{Allowed: 3, Last: 4, Tries: maxTries}, false},
		{"2147483647 2147483648", Record{Allowed: 1<<31 - 1, Last: 1 << 31}, true}, // S124: also after 2038
	} {
		got, err := ParseRecord(tt.text)
		if got != tt.want || err != nil {
			t.Errorf("%q: %+v, %v, want %+v", tt.text, got, err, tt.want)
		}
		if s := got.String(); tt.same && s != tt.text {
			t.Errorf("%q prints as %q", tt.text, s)
		}
	}
	for _, text := range []string{
		"", "1", "*", "* *", "-1 2", "1 -2", "1 x", "x 1", "1099511627776 1", "1 2 first=x", "1 2 passed=-1", "1 2 tries=x",
		"9223372036854775808 1", "1 2 " + strings.Repeat("a", maxRecord),
	} {
		if got, err := ParseRecord(text); !errors.Is(err, ErrRecord) {
			t.Errorf("%q: %+v, %v, want ErrRecord", text, got, err)
		}
	}
}

// FuzzRecord: what is read prints as text that is read as the same, and that fits.
func FuzzRecord(f *testing.F) {
	for _, s := range []string{"1 2", "* 2", "1 2 first=3 passed=4 tries=5 hand", "1 2\x00", "1 2 x=y"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		r, err := ParseRecord(in)
		if err != nil {
			if r != (Record{}) {
				t.Errorf("%q: %+v beside %v", in, r, err)
			}
			return
		}
		text := r.String()
		again, err := ParseRecord(text)
		if err != nil || again != r {
			t.Errorf("%q is %+v, prints as %q, which is %+v, %v", in, r, text, again, err)
		}
		if strings.ContainsAny(text, "\t\n\r\x00") {
			t.Errorf("%q prints as %q, which can't stand behind a key and a tab", in, text)
		}
	})
}
