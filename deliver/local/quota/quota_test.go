package quota

import (
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postoffice/internal/disk"
)

func must(t *testing.T, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}

func dirAt(t *testing.T, path string) disk.Dir {
	t.Helper()
	d, err := disk.OS().OpenDir(path)
	must(t, err)
	t.Cleanup(func() { d.Close() })
	return d
}

// TestMaildir: what a name says of a size counts, else the file's; folders count, and
// links, what is being written, and what else is there don't.
func TestMaildir(t *testing.T) {
	box := t.TempDir()
	for name, octets := range map[string]int{
		"cur/1.a.host,S=1000:2,S": 3, "cur/2.b.host,S=20,W=21:2,": 3, "new/3.c.host,S=300": 3,
		"cur/4.plain:2,": 4, "new/5.odd,S=": 50, "new/6.odd,S=-600": 60, "new/7.odd,S=99999999999999999999999": 70, "new/8,S=8x": 80,
		"tmp/9.d,S=900": 900, ".Sent/cur/1,S=10000:2,": 1, ".Sent.2020/new/1": 2, "Other/cur/1,S=5000": 1, ".Sent/tmp/x": 7,
		".subscriptions": 9, "maildirsize": 9,
	} {
		path := filepath.Join(box, name)
		must(t, os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, make([]byte, octets), 0o644))
	}
	out := t.TempDir()
	must(t, os.MkdirAll(filepath.Join(out, "cur"), 0o755), os.WriteFile(filepath.Join(out, "cur", "big,S=7777777"), nil, 0o644))
	must(t, os.Symlink(out, filepath.Join(box, ".Link")), os.Symlink(filepath.Join(box, "maildirsize"), filepath.Join(box, "cur", "link")), os.Mkdir(filepath.Join(box, "cur", "dir"), 0o755))
	if n, err := Maildir(dirAt(t, box), func() {}); n != 1000+20+300+4+50+60+70+80+10000+2 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	if n, err := Maildir(dirAt(t, t.TempDir()), func() {}); n != 0 || err != nil {
		t.Errorf("an empty one: %d, %v", n, err)
	}
}

// endless is a directory of which each is endless, too.
type endless struct {
	disk.Dir
	names *int
}

func (e endless) OpenDir(string) (disk.Dir, error) { return e, nil }
func (e endless) Close() error                     { return nil }
func (e endless) Names() iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for i := 0; ; i++ {
			*e.names++
			if !yield(fmt.Sprintf(".%d,S=%d", i, int64(1<<61)), nil) {
				return
			}
		}
	}
}

// TestEndless: whatever a Maildir holds, a look comes to its end, and its sum is one.
func TestEndless(t *testing.T) {
	n := 0
	if sum, err := Maildir(endless{names: &n}, func() {}); err != nil || sum <= 0 || n > maxNames+1 {
		t.Errorf("%d, %v after %d names", sum, err, n)
	}
}

// TestRecorded: maildirsize is read as Maildir++ has it, and what isn't that is none.
func TestRecorded(t *testing.T) {
	for _, tt := range []struct {
		text string
		want int64
		ok   bool
	}{
		{"1000S,10C\n", 0, true},
		{"1000S\n500 2\n-200 -1\n 7   1\n", 307, true},
		{"1000S\n500 2", 500, true},
		{"", 0, false},
		{"1000S", 0, false},
		{"1000S\n-1 1\n", 0, false},
		{"1000S\n1 2 3\n", 0, false},
		{"1000S\n12345678901234567890 1\n", 0, false},
		{"1000S\n" + strings.Repeat("1 1\n", maxRecord), 0, false},
	} {
		box := t.TempDir()
		must(t, os.WriteFile(filepath.Join(box, recordName), []byte(tt.text), 0o600))
		if n, ok := Recorded(dirAt(t, box)); ok != tt.ok || ok && n != tt.want {
			t.Errorf("%.40q: %d, %v; want %d, %v", tt.text, n, ok, tt.want, tt.ok)
		}
	}
	if _, ok := Recorded(dirAt(t, t.TempDir())); ok {
		t.Error("none is there, and it was read")
	}
}

// TestRecord: what came is added to a file that is there, of one name and the owner's.
func TestRecord(t *testing.T) {
	box := t.TempDir()
	path := filepath.Join(box, recordName)
	if err := Record(dirAt(t, box), os.Getuid(), 10, 1); err != nil || !disk.Absent(path) {
		t.Errorf("without a file: %v", err)
	}
	must(t, os.WriteFile(path, []byte("1000S\n5 1\n"), 0o600), Record(dirAt(t, box), os.Getuid(), 10, 2))
	if text, err := os.ReadFile(path); string(text) != "1000S\n5 1\n10 2\n" {
		t.Errorf("%q, %v", text, err)
	}
	if err := Record(dirAt(t, box), os.Getuid()+1, 10, 2); err == nil {
		t.Error("another's was written")
	}
	must(t, os.Link(path, filepath.Join(box, "other")))
	if err := Record(dirAt(t, box), os.Getuid(), 10, 2); err == nil {
		t.Error("one with two names was written")
	}
	must(t, os.Remove(path), os.Symlink(filepath.Join(box, "other"), path))
	if err := Record(dirAt(t, box), os.Getuid(), 10, 2); err == nil {
		t.Error("a link was followed")
	}
}

// TestBook: what was counted counts for a while, longer where counting took long, and the
// book has an end.
func TestBook(t *testing.T) {
	var b Book
	at := time.Unix(1e9, 0)
	b.Put("quick", 5, at, at)
	b.Put("slow", 7, at.Add(-time.Minute), at)
	b.Add("quick", 10)
	b.Add("none", 10)
	for _, tt := range []struct {
		box   string
		after time.Duration
		want  int64
		ok    bool
	}{{"quick", 0, 15, true}, {"quick", bookWait, 0, false}, {"slow", bookWait, 7, true}, {"slow", bookTimes * time.Minute, 0, false}, {"none", 0, 0, false}} {
		if n, ok := b.Get(tt.box, at.Add(tt.after)); ok != tt.ok || ok && n != tt.want {
			t.Errorf("%s after %v: %d, %v", tt.box, tt.after, n, ok)
		}
	}
	for i := range 2 * maxBook {
		b.Put(fmt.Sprint(i), 1, at, at)
	}
	if len(b.sums) > maxBook {
		t.Errorf("%d are remembered", len(b.sums))
	}
}

// FuzzRecord: what a file says is never negative, and a name's size neither.
func FuzzRecord(f *testing.F) {
	f.Add("1000S\n5 1\n")
	f.Add("1.host,S=345:2,S")
	f.Fuzz(func(t *testing.T, text string) {
		if n, ok := parseRecord(text[:min(len(text), maxRecord)]); ok && n < 0 {
			t.Errorf("%q: %d", text, n)
		}
		if n, ok := named(text); ok && n < 0 {
			t.Errorf("%q: %d", text, n)
		}
	})
}
