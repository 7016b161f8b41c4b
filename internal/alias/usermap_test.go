package alias

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// isUser knows bob, joe and x1; "down" can't be looked up now.
func isUser(name string) (string, bool, error) {
	if name == "down" {
		return "", false, errors.New("no answer")
	}
	i := slices.IndexFunc([]string{"bob", "joe", "x1"}, func(n string) bool { return strings.EqualFold(n, name) })
	if i < 0 {
		return "", false, nil
	}
	return strings.ToLower(name), true, nil
}

// TestUsermap: which of its entries gives which names what.
func TestUsermap(t *testing.T) {
	for _, tt := range []struct {
		name    string
		entries []string
		asked   string
		want    Mapping // Entry left out
		none    bool
		err     string
	}{
		{name: "personal file", entries: []string{"~-*:~/.alias"}, asked: "bob-lists", want: Mapping{User: "bob", Files: []string{".alias"}}},
		{name: "file, else the user", entries: []string{"~-*:~/.alias,~/etc/more,~"}, asked: "joe-x-y",
			want: Mapping{User: "joe", Files: []string{".alias", "etc/more"}, Then: &Target{Path: addr("joe", "").Path}}},
		{name: "the user", entries: []string{"mr-~:~"}, asked: "mr-BOB", want: Mapping{User: "bob", Then: &Target{Path: addr("bob", "").Path}}},
		{name: "text", entries: []string{"info*:carol@x.example"}, asked: "info-old", want: Mapping{Then: &Target{Path: addr("carol", "x.example").Path}}},
		{name: "first target that yields", entries: []string{"a:b,c"}, asked: "a", want: Mapping{Then: &Target{Path: addr("b", "").Path}}},
		{name: "program with a comma", entries: []string{`log-*:"|/bin/log a,b",c`}, asked: "log-1", want: Mapping{Then: &Target{Kind: Program, Text: "/bin/log a,b"}}},
		{name: "mailbox", entries: []string{`a:\bob`}, asked: "a", want: Mapping{Then: &Target{Kind: Mailbox, Path: addr("bob", "").Path}}},

		{name: "star at the end needs one", entries: []string{"a*:x"}, asked: "a", none: true},
		{name: "star alone needs one", entries: []string{"*:x"}, asked: "q", want: Mapping{Then: &Target{Path: addr("x", "").Path}}},
		{name: "star at the start may be empty", entries: []string{"*a:x"}, asked: "a", want: Mapping{Then: &Target{Path: addr("x", "").Path}}},
		{name: "star in the middle may be empty", entries: []string{"a*b:x"}, asked: "ab", want: Mapping{Then: &Target{Path: addr("x", "").Path}}},
		{name: "greedy", entries: []string{"*-~:~"}, asked: "joe-bob-joe", want: Mapping{User: "joe", Then: &Target{Path: addr("joe", "").Path}}},
		{name: "greedy gives back", entries: []string{"*-~-*:~"}, asked: "x-bob-joe-y", want: Mapping{User: "joe", Then: &Target{Path: addr("joe", "").Path}}},
		{name: "gives back until it is a user", entries: []string{"*-~-*:~"}, asked: "x-bob-nobody-y", want: Mapping{User: "bob", Then: &Target{Path: addr("bob", "").Path}}},
		{name: "case counts", entries: []string{"a-~:~"}, asked: "A-bob", none: true},
		{name: "the whole run", entries: []string{"~*:~"}, asked: "bobby", none: true},
		{name: "digits", entries: []string{"~:~"}, asked: "x1", want: Mapping{User: "x1", Then: &Target{Path: addr("x1", "").Path}}},
		{name: "no user", entries: []string{"~-*:~"}, asked: "nobody-x", none: true},
		{name: "all of the name", entries: []string{"ab:x"}, asked: "abc", none: true},
		{name: "first matching entry only", entries: []string{"~-*:~/f", "*:x"}, asked: "bob-x", want: Mapping{User: "bob", Files: []string{"f"}}},
		{name: "next entry where no user", entries: []string{"~-*:~/f", "*:x"}, asked: "eve-x", want: Mapping{Then: &Target{Path: addr("x", "").Path}}},
		{name: "nothing configured", asked: "a", none: true},
		{name: "no name", entries: []string{"*:x"}, none: true},

		{name: "unknown now", entries: []string{"~-*:~"}, asked: "down-x", err: "no answer"},
		{name: "bad target, matching", entries: []string{`a*:"x`}, asked: "ab", err: "usermap a*:\"x: a quote that does not end"},
		{name: "bad target, not matching", entries: []string{`a*:"x`, "b:c"}, asked: "b", want: Mapping{Then: &Target{Path: addr("c", "").Path}}},
		{name: "bad pattern", entries: []string{"~~:x", "b:c"}, asked: "b", err: "~ once"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			u, _ := ParseUsermap(tt.entries)
			m, ok, err := u.Match(tt.asked, isUser)
			m.Entry = ""
			if diff := cmp.Diff(tt.want, m); diff != "" || ok == (tt.none || tt.err != "") || (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
				t.Errorf("%q of %q: ok %v, error %v, want %q, (-want +got)\n%s", tt.asked, tt.entries, ok, err, tt.err, diff)
			}
		})
	}
}

func TestUsermapErrors(t *testing.T) {
	for _, tt := range []struct{ entry, want string }{
		{"x", "want pattern:"}, {":x", "want pattern:"}, {"a:", "no targets"}, {"a: , ", "no targets"},
		{"a:~", "needs a ~ in the pattern"}, {"a*:~/f", "needs a ~ in the pattern"},
		{"~:~/", "no file in a home directory"}, {"~:~/../x", "no file in a home directory"}, {"~:~/a//b", "no file in a home directory"},
		{"~:~/./x", "no file in a home directory"}, {"~:~/a/..", "no file in a home directory"},
		{"****:x", "at most 3 times"}, {"a:b\x01", "control octet"}, {"a:|", "names nothing"}, {"a::include:/x", "only the alias file"},
	} {
		_, err := ParseUsermap([]string{"good:x", tt.entry})
		if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), tt.entry) {
			t.Errorf("%q: %v, want %q and the entry", tt.entry, err, tt.want)
		}
	}
	if _, err := ParseUsermap([]string{"a:b", "~-*:~/.alias,~"}); err != nil {
		t.Errorf("good entries: %v", err)
	}
}

// FuzzUsermap: what matches can be put together again: the literals of the
// pattern are in the name in their order, and a user that was named is there.
func FuzzUsermap(f *testing.F) {
	for _, s := range []string{"~-*:~/.alias,~", "*:x", "a*b:\\c", "*-~:~", "*~*:~", "**a:y"} {
		f.Add(s, "bob-x")
		f.Add(s, "a-joe")
	}
	f.Fuzz(func(t *testing.T, entry, name string) {
		u, err := ParseUsermap([]string{entry})
		m, ok, merr := u.Match(name, isUser)
		if ok && (err != nil || merr != nil) {
			t.Fatalf("%q matches %q: %v, in spite of %v, %v", entry, name, m, err, merr)
		}
		if !ok {
			return
		}
		pattern, _, _ := strings.Cut(entry, ":")
		rest := name
		for _, part := range strings.FieldsFunc(pattern, func(r rune) bool { return r == '*' || r == '~' }) {
			_, behind, found := strings.Cut(rest, part)
			if !found {
				t.Fatalf("%q has not the %q of %q", name, part, pattern)
			}
			rest = behind
		}
		if strings.Contains(pattern, "~") != (m.User != "") || !strings.Contains(Key(name), m.User) {
			t.Errorf("%q of %q names %q", name, entry, m.User)
		}
		if len(m.Files) == 0 && m.Then == nil {
			t.Errorf("%q of %q leads nowhere", name, entry)
		}
		for _, file := range m.Files {
			if strings.HasPrefix(file, "/") || strings.Contains("/"+file+"/", "/../") {
				t.Errorf("%q: file %q is not below a home directory", entry, file)
			}
		}
	})
}
