package alias

import (
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
)

// circles is what is found in a text, as newaliases does it.
func circles(text string) []string {
	entries, _ := Parse(strings.NewReader(text))
	first := map[string]int{}
	for _, e := range entries {
		if first[Key(e.Name)] == 0 {
			first[Key(e.Name)] = e.Line
		}
	}
	entries = slices.DeleteFunc(entries, func(e Entry) bool { return first[Key(e.Name)] != e.Line })
	f := Finder{Local: func(domain string) bool { return domain == "us.example" }}
	for _, e := range entries {
		f.Add(e)
	}
	lines := f.Suspects()
	var found []string
	for _, c := range f.Find(slices.DeleteFunc(entries, func(e Entry) bool { return !lines[e.Line] })) {
		found = append(found, fmt.Sprintf("%d: %s %v", c.Line, strings.Join(c.Names, "->"), c.Alone))
	}
	return found
}

func TestFinder(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{"root: admins\nadmins: alice, root\n", "1: root->admins->root false"},
		{"a: B@us.example\nb: A\n", "1: a->b->a true"},
		{"a: b\n\nb: \"|x\", C, a\nc: b\n", "1: a->b->a false"},
		{"x: a\na: b\nb: a\ny: x, b\n", "2: a->b->a true"},
		{"a: b\nb: a, c\nc: d\nd: c\n", "1: a->b->a true; 3: c->d->c true"}, // one leads to the other, and nobody is there
		{"alice: alice, bob\nbob: bob\n", ""},
		{"a: \\b\nb: a\n", ""},
		{"a: b@x.example\nb: a\n", ""},
		{"a: b\nb: c\nc: d\nd: alice\n", ""},
		{"a: alice\na: b\nb: a\n", ""}, // the first line of a name counts
		{"", ""},
	} {
		if got := strings.Join(circles(tt.text), "; "); got != tt.want {
			t.Errorf("%q: %s, want %s", tt.text, got, tt.want)
		}
	}
}

// A chain of any length is no circle, and takes no longer, and no stack, for being
// long.
func TestFinderChain(t *testing.T) {
	defer debug.SetMaxStack(debug.SetMaxStack(8 << 20))
	var text strings.Builder
	const n = 100000
	for i := range n {
		fmt.Fprintf(&text, "n%d: n%d\n", i, i+1)
	}
	if got := circles(text.String()); got != nil {
		t.Errorf("found %v", got)
	}
	fmt.Fprintf(&text, "n%d: n%d\n", n, n/2)
	if got := circles(text.String()); len(got) != 1 || !strings.HasPrefix(got[0], fmt.Sprintf("%d: n%d->", n/2+1, n/2)) {
		t.Errorf("found %d circles", len(got))
	}
}
