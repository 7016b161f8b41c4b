//go:build !lite

package dbm

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// made builds a database of pairs key, value, key, value …
func made(t testing.TB, path string, o Options, pairs ...string) {
	t.Helper()
	b, err := Create(path, o)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Abort()
	for i := 0; i < len(pairs); i += 2 {
		if err := b.Add([]byte(pairs[i]), []byte(pairs[i+1])); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Commit(); err != nil {
		t.Fatal(err)
	}
}

// opened opens a database until the test ends.
func opened(t testing.TB, path string) *File {
	t.Helper()
	d, err := Open(path, Options{Mend: "mend"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

// dump is all records as pairs.
func dump(t testing.TB, r Reader) []string {
	t.Helper()
	var pairs []string
	for rec, err := range r.All() {
		if err != nil {
			t.Fatal(err)
		}
		pairs = append(pairs, string(rec.Key), string(rec.Value))
	}
	return pairs
}

func TestBuild(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	text := Source{Size: 77, ModTime: time.Unix(1700000000, 123456789)}
	made(t, path, Options{Mode: 0o640, Source: text}, "b", "2", "", "empty", "a", "1", "b", "second", "c\x00", "", "B", "large")
	d := opened(t, path)
	if diff := cmp.Diff([]string{"", "empty", "B", "large", "a", "1", "b", "2", "c\x00", ""}, dump(t, d)); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
	for _, tt := range []struct {
		key, want string
		err       error
	}{
		{"a", "1", nil}, {"b", "2", nil}, {"", "empty", nil}, {"c\x00", "", nil},
		{"c", "", ErrNotFound}, {"A", "", ErrNotFound}, {"zz", "", ErrNotFound}, {"\x00", "", ErrNotFound},
	} {
		got, err := d.Fetch([]byte(tt.key))
		if string(got) != tt.want || !errors.Is(err, tt.err) || (err == nil) != (tt.err == nil) {
			t.Errorf("fetch %q: %q, %v, want %q, %v", tt.key, got, err, tt.want, tt.err)
		}
	}
	if !d.Source().Equal(text) {
		t.Errorf("source %v, want %v", d.Source(), text)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode() != 0o640 {
		t.Errorf("mode %v, %v, want 0640", info.Mode(), err)
	}
	made(t, path, Options{Keep: true}, "a", "1")
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o640 {
		t.Errorf("Keep: mode %v, %v, want 0640", info.Mode(), err)
	}
	onlyFile(t, path)
}

// onlyFile fails if there is anything else beside path.
func onlyFile(t testing.TB, path string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(entries) != 1 {
		t.Errorf("%v, %v beside %s, want nothing", entries, err, path)
	}
}

func TestKeepLast(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	for _, last := range []bool{false, true} {
		var dropped []string
		made(t, path, Options{KeepLast: last, Memory: 1, Duplicate: func(kept, no Record) {
			dropped = append(dropped, fmt.Sprintf("%s:%s/%s", kept.Key, kept.Value, no.Value))
		}}, "k", "1", "x", "y", "k", "2", "k", "3")
		want, lost := []string{"k", "1", "x", "y"}, []string{"k:1/2", "k:1/3"}
		if last {
			want, lost = []string{"k", "3", "x", "y"}, []string{"k:2/1", "k:3/2"}
		}
		if diff := cmp.Diff(want, dump(t, opened(t, path))); diff != "" {
			t.Errorf("last %v (-want +got):\n%s", last, diff)
		}
		if diff := cmp.Diff(lost, dropped); diff != "" {
			t.Errorf("last %v, dropped (-want +got):\n%s", last, diff)
		}
	}
}

// More records than fit in memory are sorted in runs on the disk.
func TestManyRuns(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	rng := rand.New(rand.NewPCG(1, 2))
	want := map[string]string{}
	b, err := Create(path, Options{Memory: 100 << 10})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 20000 {
		k, v := fmt.Sprintf("user%d", rng.IntN(15000)), fmt.Sprintf("%d@%s.example", i, strings.Repeat("x", rng.IntN(40)))
		if _, taken := want[k]; !taken {
			want[k] = v
		}
		if err := b.Add([]byte(k), []byte(v)); err != nil {
			t.Fatal(err)
		}
	}
	if runs := len(b.sorter.runs); runs < 10 {
		t.Errorf("%d runs, want many", runs)
	}
	if err := b.Commit(); err != nil {
		t.Fatal(err)
	}
	d := opened(t, path)
	got := map[string]string{}
	last := ""
	for rec, err := range d.All() {
		if err != nil {
			t.Fatal(err)
		}
		if string(rec.Key) <= last {
			t.Fatalf("%q behind %q", rec.Key, last)
		}
		last = string(rec.Key)
		got[last] = string(rec.Value)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for k, v := range want {
		if got, err := d.Fetch([]byte(k)); err != nil || string(got) != v {
			t.Fatalf("fetch %q: %q, %v, want %q", k, got, err, v)
		}
	}
	onlyFile(t, path)
}

func TestLimits(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	long := strings.Repeat("v", 3<<20) // far more than a block and than Memory
	key := strings.Repeat("k", MaxKey)
	made(t, path, Options{Memory: 1 << 20}, key, long, "a", long, "b", "")
	d := opened(t, path)
	for _, k := range []string{key, "a"} {
		if got, err := d.Fetch([]byte(k)); err != nil || string(got) != long {
			t.Errorf("fetch: %d octets, %v", len(got), err)
		}
	}
	b, err := Create(path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Abort()
	if err := b.Add([]byte(key+"k"), nil); !errors.Is(err, ErrTooLong) || !strings.Contains(err.Error(), path) {
		t.Errorf("a key that is too long: %v", err)
	}
}

func TestOpenErrors(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "x.db")
	if _, err := Open(path, Options{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	made(t, path, Options{}, "a", "1")
	if _, err := Create(path, Options{New: true}); err != nil {
		t.Errorf("Create looks too early: %v", err)
	}
	b, _ := Create(path, Options{New: true})
	if err := b.Commit(); !errors.Is(err, fs.ErrExist) {
		t.Errorf("New: %v, want %v", err, fs.ErrExist)
	}
	link := filepath.Join(dir, "link.db")
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(link, Options{}); err == nil || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a link: %v, want an error", err)
	}
	if _, err := Open(dir, Options{}); err == nil {
		t.Error("a directory was opened")
	}
}

func TestForeign(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "x.db")
	for _, tt := range []struct {
		head string
		want string
		kind error
	}{
		{strings.Repeat("\x00", 12) + "\x61\x15\x06\x00" + strings.Repeat("\x00", 8000), "a Berkeley DB file, as Postfix's", ErrForeign},
		{strings.Repeat("\x00", 12) + "\x00\x05\x31\x62" + strings.Repeat("\x00", 80), "a Berkeley DB file", ErrForeign},
		{"\xce\x9a\x57\x13" + strings.Repeat("\x00", 80), "a GNU dbm file", ErrForeign},
		{"", "", ErrDamaged},
		{"short", "", ErrDamaged},
		{strings.Repeat("root: alice\n", 1000), "", ErrDamaged},
	} {
		if err := os.WriteFile(path, []byte(tt.head), 0o644); err != nil {
			t.Fatal(err)
		}
		_, err := Open(path, Options{Mend: "newaliases"})
		if !errors.Is(err, tt.kind) || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), `run "newaliases"`) {
			t.Errorf("%.20q: %v, want %v, %q", tt.head, err, tt.kind, tt.want)
		}
	}
}

func TestCurrent(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	made(t, path, Options{}, "a", "1")
	d := opened(t, path)
	check := func(want bool) {
		t.Helper()
		if got, err := d.Current(); got != want || err != nil {
			t.Errorf("Current: %v, %v, want %v", got, err, want)
		}
	}
	check(true)
	made(t, path, Options{}, "a", "2")
	check(false)
	if got, err := d.Fetch([]byte("a")); string(got) != "1" || err != nil {
		t.Errorf("the open database shows %q, %v, want the old", got, err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	check(false)
}

func TestSource(t *testing.T) {
	dir := t.TempDir()
	text := filepath.Join(dir, "aliases")
	gone, err := SourceOf(text)
	if err != nil || gone.IsZero() {
		t.Fatalf("missing: %v, %v", gone, err)
	}
	if err := os.WriteFile(text, []byte("a: b\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	here, err := SourceOf(text)
	if err != nil || here.Equal(gone) {
		t.Fatalf("%v, %v", here, err)
	}
	for _, s := range []Source{gone, here, {}} {
		got, err := parseStamp(string(s.stamp()))
		if err != nil || !got.Equal(s) || got.IsZero() != s.IsZero() {
			t.Errorf("%v: %v, %v", s, got, err)
		}
	}
	for _, bad := range []string{"", "\x02", "\x01123", "\x01" + strings.Repeat("x", 17)} {
		if _, err := parseStamp(bad); err == nil {
			t.Errorf("stamp %q was accepted", bad)
		}
	}
}

// What a killed program left is gone after the next one, unless it is young, or
// another user's.
func TestSweep(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	long := time.Now().Add(-2 * abandoned)
	file := func(name string, age time.Time) string {
		name = filepath.Join(filepath.Dir(path), name)
		if err := os.WriteFile(name, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(name, age, age); err != nil {
			t.Fatal(err)
		}
		return name
	}
	file(".x.db.new-KILLED", long)
	kept := []string{file(".x.db.new-FRESH", time.Now()), file(".y.db.new-OTHER", long)}
	if os.Getuid() == 0 {
		kept = append(kept, file(".x.db.new-THEIRS", long))
		if err := os.Chown(kept[2], 65533, -1); err != nil {
			t.Fatal(err)
		}
	}
	made(t, path, Options{}, "a", "1")
	names, _ := filepath.Glob(filepath.Dir(path) + "/.*")
	slices.Sort(kept)
	if !slices.Equal(names, kept) {
		t.Errorf("left: %v, want %v", names, kept)
	}
}
