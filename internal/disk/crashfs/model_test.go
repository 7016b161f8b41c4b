package crashfs

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"postoffice/internal/disk"
)

// world of the model's own tests: /x with file f "abcdef", and /y.
func sample(f *FS) {
	f.MkdirAll("/x", 0o700)
	f.MkdirAll("/y", 0o700)
	f.Plant("/x/f", 0o600, []byte("abcdef"))
}

// hands are open handles on it.
type hands struct {
	x, y disk.Dir
	f    disk.File
	t    testing.TB
}

func open(t testing.TB, fs disk.FS) hands {
	h := hands{t: t}
	var errs [3]error
	h.x, errs[0] = fs.OpenDir("/x")
	h.y, errs[1] = fs.OpenDir("/y")
	h.f, errs[2] = h.x.Open("f", disk.ReadWrite)
	h.ok(errs[:]...)
	return h
}

func (h hands) ok(errs ...error) {
	h.t.Helper()
	if err := errors.Join(errs...); err != nil {
		h.t.Fatal(err)
	}
}

func (h hands) write(f disk.File, s string) { _, err := f.Write([]byte(s)); h.ok(err) }

func (h hands) create(d disk.Dir, name string) disk.File {
	f, err := d.Create(name, 0o600)
	h.ok(err)
	return f
}

// contents are all files, as "/x/f=abcdef".
func contents(f *FS) string {
	var out []string
	for line := range strings.Lines(f.Tree()) {
		if name := line[strings.IndexByte(line, '/') : len(line)-1]; line[0] != 'd' {
			data, _ := f.ReadFile(name)
			out = append(out, fmt.Sprintf("%s=%s", name, strings.ReplaceAll(string(data), "\x00", "0")))
		}
	}
	return strings.Join(out, " ")
}

// left are the different disks that power cuts at the end of do leave.
func left(t *testing.T, do func(hands)) []string {
	f := New()
	sample(f)
	f.record()
	do(open(t, f))
	points, _ := f.recorded()
	p := &points[len(points)-1]
	r := newRunner(t, Run{}.defaults(), nil)
	seen := map[string]bool{}
	for _, c := range r.cuts(p, 0, 500) {
		seen[contents(newFS(p.disk.apply(c), f.w.now))] = true
	}
	return slices.Sorted(maps.Keys(seen))
}

// TestLeft: what a power cut leaves of each kind of change is exactly what the
// model says.
func TestLeft(t *testing.T) {
	for _, tt := range []struct {
		name string
		do   func(hands)
		want []string
	}{
		{"nothing done", func(hands) {}, []string{"/x/f=abcdef"}},
		{"one octet overwritten", func(h hands) { _, err := h.f.WriteAt([]byte("X"), 2); h.ok(err) },
			[]string{"/x/f=abXdef", "/x/f=abcdef"}},
		{"two octets overwritten apart", func(h hands) {
			_, err := h.f.WriteAt([]byte("X"), 0)
			_, err2 := h.f.WriteAt([]byte("Y"), 5)
			h.ok(err, err2)
		}, []string{"/x/f=XbcdeY", "/x/f=Xbcdef", "/x/f=abcdeY", "/x/f=abcdef"}},
		{"overwritten and synced", func(h hands) { _, err := h.f.WriteAt([]byte("X"), 2); h.ok(err, h.f.Datasync()) },
			[]string{"/x/f=abXdef"}},
		{"cut", func(h hands) { h.ok(h.f.Truncate(2)) }, []string{"/x/f=ab", "/x/f=abcdef"}},
		{"renamed", func(h hands) { h.ok(h.x.Rename("f", h.x, "g")) }, []string{"/x/f=abcdef", "/x/g=abcdef"}},
		{"moved", func(h hands) { h.ok(h.x.RenameNoReplace("f", h.y, "g")) }, []string{"/x/f=abcdef", "/y/g=abcdef"}},
		{"moved, the old directory synced", func(h hands) { h.ok(h.x.RenameNoReplace("f", h.y, "g"), h.x.Sync()) },
			[]string{"/x/f=abcdef", "/y/g=abcdef"}},
		{"moved, the new directory synced", func(h hands) { h.ok(h.x.RenameNoReplace("f", h.y, "g"), h.y.Sync()) },
			[]string{"/y/g=abcdef"}},
		{"moved twice", func(h hands) { h.ok(h.x.Rename("f", h.y, "g"), h.y.Rename("g", h.x, "h")) },
			[]string{"/x/f=abcdef", "/x/f=abcdef /x/h=abcdef", "/x/h=abcdef", "/y/g=abcdef"}},
		{"linked", func(h hands) { h.ok(h.x.Link("f", h.y, "g")) }, []string{"/x/f=abcdef", "/x/f=abcdef /y/g=abcdef"}},
		{"removed", func(h hands) { h.ok(h.x.Unlink("f")) }, []string{"", "/x/f=abcdef"}},
		{"removed and synced", func(h hands) { h.ok(h.x.Unlink("f"), h.x.Sync()) }, []string{""}},
		{"two files in one directory", func(h hands) { h.create(h.y, "a"); h.create(h.y, "b") },
			[]string{"/x/f=abcdef", "/x/f=abcdef /y/a=", "/x/f=abcdef /y/a= /y/b=", "/x/f=abcdef /y/b="}},
		{"written and synced, the name not", func(h hands) { g := h.create(h.y, "a"); h.write(g, "1"); h.ok(g.Sync()) },
			[]string{"/x/f=abcdef", "/x/f=abcdef /y/a=1"}},
		{"replaced", func(h hands) {
			g := h.create(h.y, "a")
			h.write(g, "1")
			h.ok(g.Sync(), h.y.Sync(), h.y.Rename("a", h.x, "f"))
		},
			[]string{"/x/f=1", "/x/f=abcdef /y/a=1"}},
		{"a second file of the name", func(h hands) { h.ok(h.x.Rename("f", h.y, "g")); h.create(h.x, "f"); h.ok(h.y.Sync(), h.x.Sync()) },
			[]string{"/x/f= /y/g=abcdef"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := left(t, tt.do); !slices.Equal(got, tt.want) {
				t.Errorf("left:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(tt.want, "\n"))
			}
		})
	}
}

// TestLeftOfAppend: any length, any part of the data.
func TestLeftOfAppend(t *testing.T) {
	got := left(t, func(h hands) { h.write(h.f, "gh"); h.write(h.f, "ij") })
	for _, want := range []string{"", "g", "gh", "ghi", "ghij", "0", "00", "000", "0000", "00i", "00ij", "gh00", "g0ij"} {
		if !slices.Contains(got, "/x/f=abcdef"+want) {
			t.Errorf("no image has abcdef%s", want)
		}
	}
	for _, g := range got {
		if !strings.HasPrefix(g, "/x/f=abcdef") {
			t.Errorf("an append changed what was there: %q", g)
		}
	}
}

// TestFailedSync: what was pending is gone though it is still seen, every
// handle is told once, and the next sync says all is well.
func TestFailedSync(t *testing.T) {
	f := New()
	sample(f)
	f.record()
	h := open(t, f)
	other, err := h.x.Open("f", disk.ReadOnly)
	h.ok(err)
	h.write(h.f, "LOST")
	f.w.fault = &fault{errno: syscall.EIO, at: 1}
	first := h.f.Sync()
	f.w.fault = nil
	h.write(h.f, "kept")
	second, third, fourth := h.f.Sync(), other.Sync(), other.Sync()
	if !errors.Is(first, syscall.EIO) || second != nil || !errors.Is(third, syscall.EIO) || fourth != nil {
		t.Errorf("syncs: %v, %v; of the other handle: %v, %v", first, second, third, fourth)
	}
	if got := contents(f); got != "/x/f=abcdefLOSTkept" {
		t.Errorf("before the crash: %s", got)
	}
	points, _ := f.recorded()
	p := points[len(points)-1]
	if got := contents(newFS(p.disk.apply(fixed[1]), f.w.now)); got != "/x/f=abcdef0000kept" {
		t.Errorf("after the crash: %s", got)
	}
}

// TestFailedDirSync: the same for names.
func TestFailedDirSync(t *testing.T) {
	f := New()
	sample(f)
	f.record()
	h := open(t, f)
	h.create(h.y, "lost")
	f.w.fault = &fault{errno: syscall.EIO, at: 1}
	first := h.y.Sync()
	f.w.fault = nil
	h.create(h.y, "kept")
	if second := h.y.Sync(); !errors.Is(first, syscall.EIO) || second != nil {
		t.Errorf("syncs: %v, %v", first, second)
	}
	points, _ := f.recorded()
	p := points[len(points)-1]
	for _, c := range fixed {
		if got := contents(newFS(p.disk.apply(c), f.w.now)); got != "/x/f=abcdef /y/kept=" {
			t.Errorf("%s: %s", c.name, got)
		}
	}
}

// TestKill: the process's locks go, its calls do nothing, what it wrote stays.
func TestKill(t *testing.T) {
	f := New()
	sample(f)
	p, q := f.Process(), f.Process()
	a, b := open(t, p), open(t, q)
	a.write(a.f, "gh")
	got, err := a.f.TryLock()
	record, err2 := a.f.TryLockRecord()
	theirs, err3 := b.f.TryLock()
	a.ok(err, err2, err3)
	if !got || !record || theirs {
		t.Fatalf("locks: %v %v %v", got, record, theirs)
	}
	p.Kill()
	if _, err := a.f.Write([]byte("no")); !errors.Is(err, ErrKilled) || p.Alive() {
		t.Errorf("a dead process writes: %v", err)
	}
	p.ack("unheard")
	got, err = b.f.TryLock()
	record, err2 = b.f.TryLockRecord()
	b.ok(err, err2)
	if !got || !record || contents(f) != "/x/f=abcdefgh" || len(f.w.acked) > 0 {
		t.Errorf("after the kill: locks %v %v, %s, %q", got, record, contents(f), f.w.acked)
	}
}

// TestSpace: room is taken by data and files and comes back.
func TestSpace(t *testing.T) {
	f := New()
	sample(f)
	h := open(t, f)
	f.SetSpace(disk.Space{Octets: 5, Inodes: 1})
	n, err := h.f.Write([]byte("12345678"))
	if n != 5 || !errors.Is(err, syscall.ENOSPC) || contents(f) != "/x/f=abcdef12345" {
		t.Errorf("wrote %d, %v: %s", n, err, contents(f))
	}
	_, err = h.f.WriteAt([]byte("X"), 0)
	h.ok(err, h.f.Truncate(8))
	g := h.create(h.y, "a")
	if _, err := h.y.Create("b", 0o600); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("no inode left: %v", err)
	}
	if err := g.Allocate(0, 4); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("allocate 4 of 3: %v", err)
	}
	h.ok(g.Allocate(0, 3))
	h.write(g, "xyz")
	s, err := h.x.Space()
	if h.ok(err); s != (disk.Space{}) {
		t.Errorf("left: %+v", s)
	}
	h.ok(h.y.Unlink("a"))
	if s, _ = h.x.Space(); s != (disk.Space{Octets: 3, Inodes: 1}) {
		t.Errorf("after removing: %+v", s)
	}
}

// TestForks: processes that go on from one image don't see each other, nor
// does the image change (the race detector watches the octets they share).
func TestForks(t *testing.T) {
	f := New()
	sample(f)
	f.record()
	h := open(t, f)
	h.write(h.f, "gh")
	g := h.create(h.y, "a")
	h.write(g, "1")
	h.ok(g.Sync())
	h.write(g, "2")
	points, _ := f.recorded()
	p := &points[len(points)-1]
	before := contents(f)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			image := p.disk.fork()
			if i%2 == 0 {
				image = p.disk.apply(fixed[1])
			}
			d := newFS(image, f.w.now)
			o := open(t, d)
			for range 50 {
				o.write(o.f, fmt.Sprint(i))
			}
			o.ok(o.f.Sync(), o.x.Rename("f", o.y, "b"), o.y.Sync())
			if got, want := contents(d), "/y/a=12 /y/b=abcdefgh"+strings.Repeat(fmt.Sprint(i), 50); got != want {
				t.Errorf("fork %d: %s, want %s", i, got, want)
			}
		})
	}
	wg.Wait()
	if got := contents(f); got != before {
		t.Errorf("the original changed: %s", got)
	}
}

// TestPortable: between the two steps of a rename without renameat2 the file
// has both names, never none.
func TestPortable(t *testing.T) {
	f := New()
	sample(f)
	f.SetPortable(true)
	f.record()
	h := open(t, f)
	h.ok(h.x.RenameNoReplace("f", h.y, "g"))
	points, _ := f.recorded()
	seen := map[string]bool{}
	r := newRunner(t, Run{}.defaults(), nil)
	for i := range points {
		for _, c := range r.cuts(&points[i], i, 50) {
			seen[contents(newFS(points[i].disk.apply(c), f.w.now))] = true
		}
	}
	want := []string{"/x/f=abcdef", "/x/f=abcdef /y/g=abcdef", "/y/g=abcdef"}
	if got := slices.Sorted(maps.Keys(seen)); !slices.Equal(got, want) {
		t.Errorf("left: %q", got)
	}
}
