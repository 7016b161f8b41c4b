package alias

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"postoffice/internal/smtp"
)

func addr(local, domain string) Target {
	return Target{Kind: Address, Path: smtp.Path{Local: local, Domain: domain}}
}

func box(name string) Target { return Target{Kind: Mailbox, Path: smtp.Path{Local: name}} }

// write makes an alias file that is old enough to be kept in memory.
func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	old := time.Now().Add(-time.Hour)
	if err := os.Chtimes(path, old, old); err != nil {
		t.Fatal(err)
	}
}

func TestLookup(t *testing.T) {
	const file = `# comment: not an alias
root:	alice
Postmaster : root
two: alice,
	bob@example.org
# a comment inside a value
   , carol

list: alice, "Bob, the builder"@example.org, Carol Smith <carol@example.net>, dave (on leave)
self: \self, copy@example.org
quoted: "\\bob"
"odd name": alice
prog: "|/usr/bin/prog -f \"x, y\""
bare: |/usr/bin/prog arg , alice
prog2: | "/usr/bin/prog arg"
file: /var/log/mail copy
inc: :include:/etc/list
inc2: :INCLUDE: "/etc/a list"
case: first
CASE: second
twice: one
twice: two
first;second: alice
empty:
commas: alice,, ,bob,
idn: a@bücher.example, a@far.example.
Jörg: дa@far.example, "ü x"
`
	path := filepath.Join(t.TempDir(), "aliases")
	write(t, path, file)
	a := Open(path)
	for _, tt := range []struct {
		name string
		want []Target
		err  string
	}{
		{"root", []Target{addr("alice", "")}, ""},
		{"ROOT", []Target{addr("alice", "")}, ""},
		{"postmaster", []Target{addr("root", "")}, ""},
		{"two", []Target{addr("alice", ""), addr("bob", "example.org"), addr("carol", "")}, ""},
		{"list", []Target{addr("alice", ""), addr("Bob, the builder", "example.org"), addr("carol", "example.net"), addr("dave", "")}, ""},
		{"self", []Target{box("self"), addr("copy", "example.org")}, ""},
		{"quoted", []Target{box("bob")}, ""},
		{"odd name", []Target{addr("alice", "")}, ""},
		{"prog", []Target{{Kind: Program, Text: `/usr/bin/prog -f "x, y"`}}, ""},
		{"bare", []Target{{Kind: Program, Text: "/usr/bin/prog arg"}, addr("alice", "")}, ""},
		{"prog2", []Target{{Kind: Program, Text: "/usr/bin/prog arg"}}, ""},
		{"file", []Target{{Kind: File, Text: "/var/log/mail copy"}}, ""},
		{"inc", []Target{{Kind: Include, Text: "/etc/list"}}, ""},
		{"inc2", []Target{{Kind: Include, Text: "/etc/a list"}}, ""},
		{"case", []Target{addr("first", "")}, ""},
		{"CASE", []Target{addr("first", "")}, ""},
		{"Case", []Target{addr("first", "")}, ""},
		{"twice", []Target{addr("one", "")}, ""},
		{"first;second", []Target{addr("alice", "")}, ""},
		{"commas", []Target{addr("alice", ""), addr("bob", "")}, ""},
		{"idn", []Target{addr("a", "xn--bcher-kva.example"), addr("a", "far.example")}, ""},
		{"j\u00f6rg", []Target{addr("\u0434a", "far.example"), addr("\u00fc x", "")}, ""},
		{"J\u00d6RG", nil, "no such alias"},  // A15: no case beyond ASCII
		{"jo\u0308rg", nil, "no such alias"}, // and no other form of a letter
		{"empty", nil, "line 24: alias empty: no targets"},
		{"nobody", nil, "no such alias"},
		{"# comment", nil, "no such alias"},
	} {
		got, err := a.Lookup(context.Background(), tt.name)
		if diff := cmp.Diff(tt.want, got); diff != "" || (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%q: error %v, want %q, targets (-want +got):\n%s", tt.name, err, tt.err, diff)
		}
	}
	if err := a.Damage(); err != nil {
		t.Errorf("Damage() = %v, want nil", err)
	}
}

// A name that can't be understood must never be "no such alias" (A36).
func TestA36BrokenLines(t *testing.T) {
	path := filepath.Join(t.TempDir(), "aliases")
	for _, tt := range []struct{ file, name, err string }{
		{"good: alice\nbad: \"open\n", "bad", "line 2: alias bad: a quote that does not end"},
		{"bad: a b c@d", "bad", "is no address"},
		{"bad: alice (open", "bad", "a comment that does not end"},
		{"bad: <>", "bad", "is no address"},
		{"bad: a\x00b", "bad", "a control octet"},
		{"bad: |", "bad", "names nothing"},
		{"bad: \\", "bad", ""},
	} {
		write(t, path, tt.file)
		_, err := Open(path).Lookup(context.Background(), tt.name)
		if err == nil || errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), tt.err) || !strings.Contains(err.Error(), path) {
			t.Errorf("%q: %v, want %q with the file's name", tt.file, err, tt.err)
		}
	}
	for _, file := range []string{"no colon here\n", "\"open: alice\n", ": alice\n", "\"x\" y: alice\n", "a\x01b: c\n"} {
		write(t, path, "good: alice\n"+file)
		a := Open(path)
		if _, err := a.Lookup(context.Background(), "good"); err != nil {
			t.Errorf("%q: the good line gives %v", file, err)
		}
		if err := a.Damage(); err == nil || !strings.Contains(err.Error(), "line 2") {
			t.Errorf("%q: Damage() = %v, want line 2", file, err)
		}
	}
}

// A line that begins with a blank and reads like an alias, which its author may well
// have meant, is "no such alias" to nobody (A36), and nothing that a target goes on in is
// taken for one.
func TestA36Indented(t *testing.T) {
	path := filepath.Join(t.TempDir(), "aliases")
	for _, tt := range []struct{ file, name, err string }{
		{"root: alice\n  bob: carol\n", "bob", "line 2: alias bob: the line begins with a blank"},
		{"root: alice\n  bob: carol\n", "root", "line 1: alias root: line 2 begins with a blank"},
		{"root: alice,\n# why\n\tbob:carol\n", "bob", "line 3: alias bob"},
		{"p: |prog\n bob: carol\n", "bob", "line 2: alias bob"},
		{"f: /file\n \"b b\" : carol\n", "b b", "line 2: alias b b"},
		{"root: alice\n bob: carol,\n   dave\n eve: x\n", "eve", "line 4: alias eve"},
		{"root: alice\n bob: carol,\n   dave\n eve: x\nfay: y\n", "bob", "line 2: alias bob: "},
		{"  first: alice\n", "first", ""},
		{"root: alice,\n :include:/list\n", "root", ""},
		{"root: alice,\n \"bob\"@x.example,\n carol@[IPv6:2001:db8::1]\n", "root", ""},
		{"root: \"|prog -x\n  arg: y\"\n", "root", ""},
		{"root: alice (see\n  also: bob)\n", "root", ""},
		{"root: |prog\n --head: y\n", "root", ""},
		{"root: alice\n bob: carol\nfay: y\n", "fay", ""},
	} {
		write(t, path, tt.file)
		a := Open(path)
		_, err := a.Lookup(context.Background(), tt.name)
		if (err == nil) != (tt.err == "") || err != nil && (errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), tt.err)) {
			t.Errorf("%q: %s: %v, want %q", tt.file, tt.name, err, tt.err)
		}
		if err := a.Damage(); err != nil {
			t.Errorf("%q: Damage() = %v, want nil: the names can be read", tt.file, err)
		}
	}
}

// A file that somebody has named, and that isn't there, is no file without aliases; nor
// is a link that leads to nothing.
func TestA36Missing(t *testing.T) {
	dir := t.TempDir()
	path, link := filepath.Join(dir, "aliases"), filepath.Join(dir, "link")
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	named, linked := OpenNamed(path), Open(link)
	for _, a := range []*Aliases{named, linked} {
		if _, err := a.Lookup(context.Background(), "x"); err == nil || errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), "touch "+a.Path()) {
			t.Errorf("%s: %v, want an error that says what to do", a.Path(), err)
		}
	}
	write(t, path, "")
	for _, a := range []*Aliases{named, linked} {
		if _, err := a.Lookup(context.Background(), "x"); !errors.Is(err, ErrNotFound) {
			t.Errorf("%s, which is empty: %v, want ErrNotFound", a.Path(), err)
		}
	}
}

func TestA36Unreadable(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "aliases")
	if _, err := Open(path).Lookup(context.Background(), "x"); !errors.Is(err, ErrNotFound) {
		t.Errorf("missing file: %v, want ErrNotFound", err)
	}
	loop := filepath.Join(dir, "loop")
	if err := os.Symlink(loop, loop); err != nil {
		t.Fatal(err)
	}
	big := filepath.Join(dir, "big")
	write(t, big, "")
	if err := os.Truncate(big, maxFile+1); err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{dir, loop, big, filepath.Join(big, "below")} {
		if _, err := Open(p).Lookup(context.Background(), "x"); err == nil || errors.Is(err, ErrNotFound) {
			t.Errorf("%s: %v, want an error that is not ErrNotFound", p, err)
		}
	}
}

func TestReadAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "aliases")
	a := Open(path)
	ctx := context.Background()
	look := func(want string) {
		t.Helper()
		got, err := a.Lookup(ctx, "x")
		if want == "" && errors.Is(err, ErrNotFound) {
			return
		}
		if err != nil || got[0].Path.Local != want {
			t.Errorf("x: %v, %v, want %q", got, err, want)
		}
	}
	look("")
	write(t, path, "x: one\n")
	look("one")
	look("one")
	if err := os.WriteFile(path, []byte("x: two\n"), 0o644); err != nil { // same size, other time
		t.Fatal(err)
	}
	look("two")
	if err := os.WriteFile(path, []byte("x: six\n"), 0o644); err != nil { // same size, same second
		t.Fatal(err)
	}
	look("six")
	next := path + ".new"
	write(t, next, "x: ten\n")
	if err := os.Rename(next, path); err != nil {
		t.Fatal(err)
	}
	look("ten")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	look("")
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := a.Lookup(cancelled, "x"); err == nil || errors.Is(err, ErrNotFound) {
		t.Errorf("cancelled: %v", err)
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"a: b, c@d.example\n e\n", "a: \"|prog \\\"x\\\", y\", /file, :include:/x y\n", "\"a b\": \\c, \"\\\\d\"\n# x\n",
		"a: X Y <z@w.example> (c, (d)), \"q r\"@s.example", "a: \\\"x y\"", "#\n\"#\": x", "a\\b:c", "|x: y", "a: | b \\, c", "a: :include:\"/x\\\"y\"", "a: b\n c: d\n\te:\n", "a: |b\n \"c\": d",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) { // what is printed is read as the same
		entries, _ := Parse(strings.NewReader(in))
		var text strings.Builder
		for _, e := range entries {
			text.WriteString(e.String() + "\n")
		}
		again, errs := Parse(strings.NewReader(text.String()))
		for i := range again {
			if again[i].Line != i+1 {
				t.Errorf("%q: entry %d of %q is in line %d", in, i, text.String(), again[i].Line)
			}
		}
		for i := range entries {
			entries[i].Line = i + 1
		}
		if diff := cmp.Diff(entries, again); diff != "" || len(errs) > 0 {
			t.Errorf("%q printed as %q: errors %v, (-first +again):\n%s", in, text.String(), errs, diff)
		}
	})
}
