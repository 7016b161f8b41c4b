package applets

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"postoffice/applets/cmdline"
	"postoffice/applets/config"
	"postoffice/internal/alias"
)

// However a file is divided, the aliases and their lines are those that the
// parser sees in the whole of it.
func TestAliasParts(t *testing.T) {
	var text strings.Builder
	for i := range 9000 {
		fmt.Fprintf(&text, "user%d: alice%d,\n# a comment\n\n  bob@example.org, %s\n", i, i, strings.Repeat("c", i%97+1))
	}
	path := filepath.Join(t.TempDir(), "aliases")
	if err := os.WriteFile(path, []byte(text.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	want, errs := alias.Parse(strings.NewReader(text.String()))
	if len(errs) > 0 || text.Len() < 2*aliasPart {
		t.Fatalf("%v, %d octets", errs, text.Len())
	}
	a, err := openAliases(confWith(t, "aliases="+path))
	if err != nil {
		t.Fatal(err)
	}
	defer a.close()
	var got []alias.Entry
	if err := a.each(&cmdline.Env{}, func(e alias.Entry) error { got = append(got, e); return nil }); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%.2000s", diff)
	}
}

// The line of an error counts from the beginning of the file.
func TestAliasErrorLine(t *testing.T) {
	path := filepath.Join(t.TempDir(), "aliases")
	text := strings.Repeat("a: b\n", aliasPart/2) + "bad: \"open\n" + "worse\n"
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	a, err := openAliases(confWith(t, "aliases="+path))
	if err != nil {
		t.Fatal(err)
	}
	defer a.close()
	var out bytes.Buffer
	err = a.each(&cmdline.Env{Program: "x", Stderr: &out}, func(alias.Entry) error { return nil })
	all := fmt.Sprint(out.String(), err)
	for _, line := range []string{
		fmt.Sprintf("%s:%d: alias bad: ", path, aliasPart/2+1),
		fmt.Sprintf("%s:%d: want name: targets", path, aliasPart/2+2),
	} {
		if !strings.Contains(all, line) {
			t.Errorf("%q, want %q", all, line)
		}
	}
}

// confWith is the configuration of settings alone.
func confWith(t *testing.T, sets ...string) *config.Config {
	t.Helper()
	conf, err := config.Load(config.Options{File: os.DevNull, Sets: sets})
	if err != nil {
		t.Fatal(err)
	}
	return conf
}
