package alias

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseList(t *testing.T) {
	const text = "# mine\r\n\n \t\n\\alice, \"|IFS=' ' && exec /usr/bin/procmail -f- || exit 75 #alice\"\n" +
		"  # not mine either\n/home/alice/copy\n, :include:/etc/list\nBob <bob@b.example>"
	want := []ListItem{
		{box("alice"), 4},
		{Target{Kind: Program, Text: "IFS=' ' && exec /usr/bin/procmail -f- || exit 75 #alice"}, 4},
		{Target{Kind: File, Text: "/home/alice/copy"}, 6},
		{Target{Kind: Include, Text: "/etc/list"}, 7},
		{addr("bob", "b.example"), 8},
	}
	got, err := ParseList(strings.NewReader(text), 5)
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	for _, text := range []string{"\ufeff\"|prog\"\r\n", "\ufeff# mine\n|prog"} { // as Windows' editors write
		if got, err := ParseList(strings.NewReader(text), 1); err != nil || len(got) != 1 || got[0].Kind != Program {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
	if got, errs := Parse(strings.NewReader("\ufeffa: b\n")); len(errs) > 0 || len(got) != 1 || got[0].Name != "a" {
		t.Errorf("an alias behind a byte order mark: %v, %v", got, errs)
	}
	for _, tt := range []struct{ text, want string }{
		{"a\nb\nc\nd, e\nf\n", "line 5: more than 5 targets"},
		{"a\n\nb c\n", `line 3: "b c" is no address`},
		{"a\n\"|x\ny\"\n", "line 2: a quote that does not end"},
		{"a\x00", "line 1: a control octet"},
		{"a, (", "line 1: a comment that does not end"},
		{"~/Maildir/\n", `line 1: "~/Maildir/" is no address, and no file either`}, // it would be returned as unknown
		{"$HOME/mail", `line 1: "$HOME/mail" is no address, and no file either`},
		{"./Maildir/", `line 1: "./Maildir/" is no address, and no file either`},
		{":fail: gone", `line 1: ":fail: gone" names nothing: only :include:`},
		{"\ufeff\ufeffa", "line 1: "},
	} {
		if got, err := ParseList(strings.NewReader(tt.text), 5); err == nil || !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("%q: %v, %v, want %q", tt.text, got, err, tt.want)
		}
	}
}

func FuzzParseList(f *testing.F) {
	for _, s := range []string{
		"\\alice, bob@b.example\n", "\"|vacation alice\"\r\n\\alice", "# x\n/a b, \"#c\"", ":include:\"/x y\"\n\"#a\"@b.example",
		"|a \\\"b, c\\\" d", "\"|IFS=' ' && exec /usr/bin/procmail || exit 75 #u\"",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) { // what is printed is read as the same
		items, err := ParseList(strings.NewReader(in), 1000)
		if err != nil {
			return
		}
		var text strings.Builder
		for i := range items {
			text.WriteString(items[i].String() + "\n")
			items[i].Line = i + 1
		}
		again, err := ParseList(strings.NewReader(text.String()), 1000)
		if diff := cmp.Diff(items, again); diff != "" || err != nil {
			t.Errorf("%q printed as %q: %v (-first +again):\n%s", in, text.String(), err, diff)
		}
	})
}
