//go:build !lite

package applets

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"postoffice/applets/cmdline"
)

// aliasCall runs an applet for the alias file of a directory.
func aliasCall(t *testing.T, dir, text string, args ...string) (code int, said string) {
	t.Helper()
	asMailDir(t, dir)
	conf := filepath.Join(dir, "cf")
	for path, octets := range map[string]string{
		conf:                          "aliases=" + dir + "/aliases\nqueue-dir=" + dir + "/q\nrun-dir=" + dir + "/run\nmail-dir=" + dir + "\nhostname=one.example\nlisten=127.0.0.1:2599\nlog=file:" + dir + "/log\nserver-user=nobody\ndefault-user=daemon\n",
		filepath.Join(dir, "aliases"): text,
	} {
		if err := os.WriteFile(path, []byte(octets), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	var out strings.Builder
	env := &cmdline.Env{Stdin: strings.NewReader(""), Stdout: &out, Stderr: &out}
	code = programs().Run(t.Context(), env, append([]string{args[0], "-C", conf}, args[1:]...))
	return code, out.String()
}

// newaliases and config --check say of the alias file what is wrong with it,
// with file and line, and what to do: also where no database has been made.
func TestAliasFaults(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		applet     []string
		code       int
		says       []string // %s is the file
		not        string
	}{
		{"a wrong line", "a: b\nworse\n", []string{"newaliases"}, 65, []string{"%s:2: want name", "hint: until this is mended"}, "old database"},
		{"a wrong line checked", "a: b\nworse\n", []string{"config", "--check"}, 65, []string{"%s:2: want name", "hint: until"}, ""},
		{"a domain", "a: b\nc@one.example: d\n", []string{"newaliases"}, 0, []string{"%s:2: alias c@one.example is never used", "2 aliases"}, ""},
		{"a domain checked", "c@one.example: d\n", []string{"config", "--check"}, 0, []string{"%s:1: alias c@one.example is never used"}, ""},
		{"a path from nowhere", "l: :include:list\n", []string{"newaliases"}, 0, []string{"%s:1: alias l: :include:list: mail for it waits: want an absolute path"}, ""},
		{"a path from nowhere checked", "l: :include:list\n", []string{"config", "--check"}, 65, []string{"%s:1: alias l: :include:list: mail for it waits: want an absolute path"}, ""},
		{"an alias behind a blank", "a: b\n c: d\n", []string{"newaliases"}, 65, []string{"%s:1: alias a: line 2 begins with a blank", "%s:2: alias c: the line begins with a blank", "hint: until"}, ""},
		{"an alias behind a blank checked", "a: b\n c: d\n", []string{"config", "--check"}, 65, []string{"%s:2: alias c: the line begins"}, ""},
		{"nothing wrong", "a: b\n", []string{"config", "--check"}, 0, nil, "aliases"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			code, said := aliasCall(t, dir, tt.text, tt.applet...)
			if code != tt.code || tt.not != "" && strings.Contains(said, tt.not) {
				t.Errorf("exit %d, want %d, and said\n%s", code, tt.code, said)
			}
			for _, want := range tt.says {
				if want = strings.ReplaceAll(want, "%s", filepath.Join(dir, "aliases")); !strings.Contains(said, want) {
					t.Errorf("said\n%s\nwant %q", said, want)
				}
			}
		})
	}
}

// Where a directory can't be written, newaliases says what to do.
func TestNotMade(t *testing.T) {
	env := &cmdline.Env{Program: "newaliases", Stderr: new(strings.Builder)}
	if code := env.Finish(notMade(os.ErrPermission)); code != 77 || !strings.Contains(env.Stderr.(*strings.Builder).String(), "run this as root") {
		t.Errorf("exit %d, said %v", code, env.Stderr)
	}
}

// A text that is newer than its database is told by whoever asks where an
// address leads, and the old database stays in use.
func TestRouteStaleDatabase(t *testing.T) {
	dir := t.TempDir()
	if code, said := aliasCall(t, dir, "old: nobody@[192.0.2.1]\n", "newaliases"); code != 0 {
		t.Fatal(code, said)
	}
	text := filepath.Join(dir, "aliases")
	aliasCall(t, dir, "new: nobody@[192.0.2.1]\n", "config", "--check")
	env := &cmdline.Env{Program: "x", Stderr: new(strings.Builder)}
	env.Prepare(routeApplet, []string{"-C", filepath.Join(dir, "cf")})
	if err := env.Parse(); err != nil {
		t.Fatal(err)
	}
	warnOfAliases(env)
	want := "x: warning: " + text + ".db is not made from " + text + " as it is now, and counts; run \"newaliases\"\n"
	if said := env.Stderr.(*strings.Builder).String(); said != want {
		t.Errorf("said %q, want %q", said, want)
	}
}

// A damaged database, or one that isn't there, is told once, with the command
// that mends it.
func TestDBMHints(t *testing.T) {
	dir := t.TempDir()
	var text strings.Builder
	for i := range 3000 {
		text.WriteString("user" + strconv.Itoa(i) + ": target" + strconv.Itoa(i) + "\n")
	}
	if code, said := aliasCall(t, dir, text.String(), "newaliases"); code != 0 {
		t.Fatal(code, said)
	}
	db := filepath.Join(dir, "aliases.db")
	octets, err := os.ReadFile(db)
	if err != nil {
		t.Fatal(err)
	}
	copy(octets[500:], "damaged")
	if err := os.WriteFile(db, octets, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ file, hint string }{
		{db, "hint: newaliases makes"}, {filepath.Join(dir, "none.db"), "hint: create makes"},
	} {
		code, said := aliasCall(t, dir, "", "dbm", "-d", tt.file, "fetch", "user0")
		if code != 2 || strings.Count(said, tt.file) != 1 || !strings.Contains(said, tt.hint) || strings.Contains(said, "?") {
			t.Errorf("exit %d, said\n%s", code, said)
		}
	}
}

// Whoever may not read the text may not read the database, whatever its mode was
// before.
func TestAliasReaders(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "aliases")
	for _, mode := range []os.FileMode{0o644, 0o640, 0o600, 0o664, 0o604} {
		if err := os.WriteFile(path, nil, mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		if code, said := aliasCall(t, dir, "a: b\n", "newaliases"); code != 0 {
			t.Fatalf("exit code %d: %s", code, said)
		}
		info, err := os.Stat(path + ".db")
		if err != nil {
			t.Fatal(err)
		}
		if got, want := info.Mode().Perm(), 0o600|mode&0o044; got != want {
			t.Errorf("a text of mode %o: the database has mode %o, want %o", mode, got, want)
		}
	}
}
