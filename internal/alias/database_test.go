//go:build !lite

package alias

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"postoffice/internal/dbm"
)

// build makes the database of an alias file, as newaliases does.
func build(t *testing.T, text string, records map[string]string) {
	t.Helper()
	source, err := dbm.SourceOf(text)
	if err != nil {
		t.Fatal(err)
	}
	b, err := dbm.Create(text+".db", dbm.Options{Source: source})
	if err != nil {
		t.Fatal(err)
	}
	for key, value := range records {
		if err := b.Add([]byte(key), []byte(value+"\x007")); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Commit(); err != nil {
		t.Fatal(err)
	}
}

// says is what a lookup gives, as text.
func says(t *testing.T, a *Aliases, name string) string {
	t.Helper()
	targets, err := a.Lookup(t.Context(), name)
	if errors.Is(err, ErrNotFound) {
		return "none"
	}
	if err != nil {
		return err.Error()
	}
	var words []string
	for _, x := range targets {
		words = append(words, x.String())
	}
	return strings.Join(words, ",")
}

// TestDatabase: the database that newaliases made counts while it is there. One
// that is damaged is an error that names the file and the command, never "no such
// alias" (A36); beside another program's the text counts, and a person is told (S51).
func TestDatabase(t *testing.T) {
	text := filepath.Join(t.TempDir(), "aliases")
	write := func(s string) {
		t.Helper()
		if err := os.WriteFile(text, []byte(s), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("info: textual\n")
	a := Open(text)
	expect := func(when, name, want, problem string) {
		t.Helper()
		if got := says(t, a, name); got != want {
			t.Errorf("%s: %s is %q, want %q", when, name, got, want)
		}
		err := a.Problem()
		if problem == "" && err != nil || problem != "" && (err == nil || !strings.Contains(err.Error(), problem) || !strings.Contains(err.Error(), "newaliases")) {
			t.Errorf("%s: problem %v, want one with %q and the command", when, err, problem)
		}
	}
	expect("no database", "INFO", "textual", "")
	build(t, text, map[string]string{"@": "@", "info": "alice, bob@x.example"})
	expect("database", "Info", "alice,bob@x.example", "")
	expect("database", "textual", "none", "")
	expect("the cookie is no alias", "@", "none", "")

	write("info: newer text\nmore: carol\n")
	expect("newer text", "info", "alice,bob@x.example", "is not made from")
	expect("newer text", "more", "none", "is not made from")
	build(t, text, map[string]string{"@": "@", "info": "dora"})
	expect("made anew", "info", "dora", "")

	foreign := "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x61\x15\x06\x00\x00\x00\x00\x00"
	for what, octets := range map[string]string{"damaged": strings.Repeat("x", 5000), "empty": "", "another program's": foreign} {
		write("info: textual\n")
		if err := os.WriteFile(text+".db", []byte(octets), 0o644); err != nil {
			t.Fatal(err)
		}
		if octets == foreign {
			expect(what, "info", "textual", "is read itself")
			continue
		}
		for _, name := range []string{"info", "nobody"} {
			if got := says(t, a, name); !strings.Contains(got, text+".db") || !strings.Contains(got, "newaliases") {
				t.Errorf("%s: %s is %q, want the file and the command", what, name, got)
			}
		}
		if err := a.Problem(); err == nil || !strings.Contains(err.Error(), "waits") {
			t.Errorf("%s: problem %v", what, err)
		}
	}
	build(t, text, map[string]string{"@": "@", "info": "dora"})
	expect("mended", "info", "dora", "")
	os.Remove(text + ".db")
	if err := os.Mkdir(text+".db", 0o755); err != nil {
		t.Fatal(err)
	}
	if got := says(t, a, "info"); !strings.Contains(got, text+".db") || a.Usable() == nil {
		t.Errorf("not readable: info is %q, usable: %v", got, a.Usable())
	}
	os.Remove(text + ".db")
	expect("database gone", "info", "textual", "")
}

// TestDatabaseCut: a database cut at any place, or with an octet changed, never
// says that there is no alias where the text has one.
func TestDatabaseCut(t *testing.T) {
	text := filepath.Join(t.TempDir(), "aliases")
	if err := os.WriteFile(text, []byte("info: alice\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	build(t, text, map[string]string{"@": "@", "info": "alice"})
	whole, err := os.ReadFile(text + ".db")
	if err != nil {
		t.Fatal(err)
	}
	for i := range whole {
		for _, octets := range [][]byte{whole[:i], append(append(append([]byte{}, whole[:i]...), whole[i]^0x41), whole[i+1:]...)} {
			if err := os.WriteFile(text+".db", octets, 0o644); err != nil {
				t.Fatal(err)
			}
			if got := says(t, Open(text), "info"); got != "alice" && !strings.Contains(got, "newaliases") {
				t.Fatalf("%d of %d octets, the last changed or not there: info is %q", i, len(whole), got)
			}
		}
	}
}
