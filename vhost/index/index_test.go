package index

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"

	"postoffice/internal/disk"
	"postoffice/internal/testenv"
)

// TestSum: the hash is SipHash-2-4, by the vectors of its authors.
func TestSum(t *testing.T) {
	key := make([]byte, 16)
	text := make([]byte, 15)
	for i := range key {
		key[i] = byte(i)
	}
	for i := range text {
		text[i] = byte(i)
	}
	k := Key{little(key), little(key[8:])}
	for n, want := range map[int]uint64{0: 0x726fdb47dd0e0e31, 8: 0x93f5f5799a932462, 15: 0xa129ca6149be45e5} {
		if got := k.Sum(text[:n]); got != want {
			t.Errorf("%d octets: %016x, want %016x", n, got, want)
		}
	}
	if NewKey([]byte("a"), "b") == NewKey([]byte("a"), "c") || NewKey([]byte("a"), "b") == NewKey([]byte("b"), "b") {
		t.Error("keys for other uses or of other secrets are alike")
	}
}

// TestFind: each hash is found with all of its entries, and no other one, in memory and in a
// file, at all sizes about the borders of pages.
func TestFind(t *testing.T) {
	d := realDir(t)
	for _, n := range []int{0, 1, 2, perPage - 1, perPage, perPage + 1, 2 * perPage, 3*perPage + 7} {
		all := some(uint64(n), n)
		for i := range min(n, 2) { // the ends of what there can be
			all[i] = uint64(i)
			all[n-1-i] = 1<<64 - 1 - uint64(i)
		}
		slices.Sort(all)
		d.put(t, "v.example", n, all)
		kept, words, ok, err := d.Open("v.example", passwd(n))
		if err != nil || !ok || words != "line 7: x" || kept.Len() != n || !kept.InFile() {
			t.Fatalf("%d: %v, %q, %v", n, ok, words, err)
		}
		for name, x := range map[string]*Table{"memory": table(all), "file": kept} {
			for _, hash := range []uint32{0, 1, 1 << 31, 1<<32 - 1} {
				if got, err := found(x, hash); err != nil || !slices.Equal(got, want(all, hash)) {
					t.Errorf("%d in a %s, %08x: %x, %v, want %x", n, name, hash, got, err, want(all, hash))
				}
			}
			if err := check(x, all); err != nil {
				t.Errorf("%d in a %s: %v", n, name, err)
			}
		}
		kept.Close()
		if _, err := found(kept, 1); !errors.Is(err, ErrClosed) {
			t.Errorf("closed: %v", err)
		}
		if other, _, ok, err := d.Open("v.example", passwd(n+1)); ok || err != nil {
			t.Errorf("for another file: %v, %v", other, err)
		}
	}
	if other, _, ok, err := d.Open("w.example", passwd(1)); ok || err != nil {
		t.Errorf("where there is none: %v, %v", other, err)
	}
	one := make([]uint64, 3*perPage) // all of one hash
	for i := range one {
		one[i] = 5<<32 | uint64(i)
	}
	if err := check(table(one), one[:1]); err == nil {
		t.Error("as many of one hash as fill pages are one")
	}
	if err := check(table(one), one); err != nil {
		t.Error(err)
	}
}

// reads counts what is read of a file.
type reads struct {
	disk.File
	n int
}

func (r *reads) ReadAt(p []byte, off int64) (int, error) { r.n++; return r.File.ReadAt(p, off) }

// TestLooks: of many pages two are read for a hash, and few where hashes are not spread
// evenly.
func TestLooks(t *testing.T) {
	d := realDir(t)
	even := some(1, 400*perPage)
	odd := make([]uint64, 400*perPage)
	for i := range odd {
		odd[i] = uint64(i) << 32
	}
	odd[len(odd)-1] = 1<<64 - 1
	for _, tt := range []struct {
		all         []uint64
		most, every int // of one search, of 1,000
	}{{even, 6, 2000}, {odd, maxGuesses + 11, 14_000}} {
		kept, err := d.Write("v.example", Made{Of: passwd(1)}, table(tt.all))
		must(t, err)
		r := &reads{File: kept.file.f}
		kept.file.f = r
		for range 1000 {
			before := r.n
			hash := uint32(tt.all[rand.IntN(len(tt.all))] >> 32)
			if got, err := found(kept, hash); len(got) == 0 || err != nil || r.n-before > tt.most {
				t.Fatalf("%08x: %d found, %v, %d reads, want at most %d", hash, len(got), err, r.n-before, tt.most)
			}
		}
		if r.n > tt.every {
			t.Errorf("%d reads for 1,000 searches, want at most %d", r.n, tt.every)
		}
		kept.Close()
	}
}

// TestDamage: a file with one octet changed, cut anywhere, or longer, is damaged or answers
// as it did: nothing that is there is ever "not there".
func TestDamage(t *testing.T) {
	d := realDir(t)
	all := some(1, perPage/2)
	d.put(t, "v.example", 1, all)
	path := filepath.Join(d.Path, "v.example")
	good, err := os.ReadFile(path)
	must(t, err)
	damaged := 0
	try := func(what string, at int, text []byte) {
		kept, words, ok, err := open(memory{text: text}, int64(len(text)), passwd(1), d.Key)
		if err != nil {
			if damaged++; !errors.Is(err, ErrDamaged) {
				t.Errorf("%s at %d: %v", what, at, err)
			}
			return
		}
		if !ok || words != "line 7: x" {
			t.Fatalf("%s at %d: %v, %q", what, at, ok, words)
		}
		defer kept.Close()
		for _, e := range []uint64{all[0], all[len(all)/2]} {
			got, err := found(kept, uint32(e>>32))
			if errors.Is(err, ErrDamaged) {
				damaged++
			} else if err != nil || !slices.Equal(got, want(all, uint32(e>>32))) {
				t.Errorf("%s at %d: %x, %v", what, at, got, err)
			}
		}
	}
	for i := range good {
		bad := slices.Clone(good)
		bad[i] ^= byte(1 + rand.IntN(255))
		before := damaged
		if try("another octet", i, bad); damaged == before {
			t.Errorf("octet %d is not looked at", i)
		}
		if i%61 == 0 {
			try("cut", i, good[:i])
		}
	}
	pages := some(3, 2*perPage)
	d.put(t, "v.example", 1, pages)
	long, err := os.ReadFile(path)
	must(t, err)
	all = []uint64{pages[3], pages[len(pages)-3]} // pages that have changed places
	before := damaged
	if try("the other page", pageSize, slices.Concat(long[:pageSize], long[2*pageSize:], long[pageSize:2*pageSize])); damaged != before+2 {
		t.Errorf("%d answers of pages that have changed places are damaged, want 2", damaged-before)
	}
	all = some(1, perPage/2)
	try("longer", len(good), append(slices.Clone(good), make([]byte, pageSize)...))
	other := some(2, perPage/2)
	d.put(t, "v.example", 1, other)
	second, err := os.ReadFile(path)
	must(t, err)
	before = damaged
	try("a page of another time", pageSize, append(slices.Clone(good[:pageSize]), second[pageSize:]...))
	d.Key = NewKey([]byte("another secret"), "test")
	if try("another's", 0, good); damaged != before+3 {
		t.Errorf("%d of the last two are damaged", damaged-before)
	}
}

// TestWhose: a file or directory that isn't ours alone, or not what it should be, counts
// for nothing, and a new one takes the place of what can be replaced; nothing is followed.
func TestWhose(t *testing.T) {
	testenv.NeedsRoot(t, "gives files away")
	elsewhere := filepath.Join(t.TempDir(), "file")
	all := some(1, 100)
	for _, tt := range []struct {
		name string
		do   func(path string) error
	}{
		{"others may read it", func(p string) error { return os.Chmod(p, 0o640) }},
		{"another's", func(p string) error { return os.Chown(p, 4711, 0) }},
		{"a second name", func(p string) error { return os.Link(p, elsewhere) }},
		{"a link", func(p string) error { return errors.Join(os.Rename(p, elsewhere), os.Symlink(elsewhere, p)) }},
		{"a FIFO", func(p string) error { return errors.Join(os.Remove(p), syscall.Mkfifo(p, 0o600)) }},
		{"empty", func(p string) error { return os.Truncate(p, 0) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := realDir(t)
			d.put(t, "v.example", 1, all)
			must(t, tt.do(filepath.Join(d.Path, "v.example")))
			if _, _, ok, err := d.Open("v.example", passwd(1)); ok || err == nil {
				t.Errorf("it counts: %v, %v", ok, err)
			}
			before, _ := os.ReadFile(elsewhere)
			d.put(t, "v.example", 1, all)
			kept, _, ok, err := d.Open("v.example", passwd(1))
			if !ok || err != nil {
				t.Fatalf("a new one: %v, %v", ok, err)
			}
			kept.Close()
			if after, _ := os.ReadFile(elsewhere); !slices.Equal(before, after) {
				t.Error("what it led to was written")
			}
			os.Remove(elsewhere)
		})
	}
	for _, do := range []func(p string) error{
		func(p string) error { return os.Chmod(p, 0o750) },
		func(p string) error { return os.Chown(p, 4711, 0) },
		func(p string) error { return errors.Join(os.Rename(p, p+".old"), os.Symlink(p+".old", p)) },
		func(p string) error { return os.RemoveAll(p) },
	} {
		d := realDir(t)
		d.put(t, "v.example", 1, all)
		must(t, do(d.Path))
		_, _, ok, err := d.Open("v.example", passwd(1))
		if _, werr := d.Write("v.example", Made{Of: passwd(1)}, table(all)); ok || err == nil || werr == nil {
			t.Errorf("a directory that isn't ours alone: %v, %v, %v", ok, err, werr)
		}
	}
}

// TestTidy: files of names that are gone are removed, at the first time also what somebody
// has left half written, and what was written first where all is too much.
func TestTidy(t *testing.T) {
	d := realDir(t)
	for _, name := range []string{"gone.example", "old.example", ".half"} {
		must(t, os.WriteFile(filepath.Join(d.Path, name), nil, 0o600))
	}
	must(t, os.Truncate(filepath.Join(d.Path, "old.example"), maxOctets))
	d.put(t, "v.example", 1, some(1, 9))
	if got := d.names(t); !slices.Equal(got, []string{"v.example"}) {
		t.Errorf("%q are left", got)
	}
	must(t, os.WriteFile(filepath.Join(d.Path, ".half"), nil, 0o600), os.WriteFile(filepath.Join(d.Path, "gone.example"), nil, 0o600))
	d.put(t, "w.example", 1, some(1, 9))
	if got := d.names(t); len(got) != 4 {
		t.Errorf("%q, want all: it was tidied up a moment ago", got)
	}
	d.written = maxOctets
	d.put(t, "x.example", 1, some(1, 9))
	if got := d.names(t); !slices.Equal(got, []string{".half", "v.example", "w.example", "x.example"}) {
		t.Errorf("%q, want what may be somebody's who writes now, and no gone one", got)
	}
}

// TestTogether: whoever searches a table that is closed meanwhile gets right answers up to
// that, those who write at the same time leave one whole file, and no descriptor stays.
func TestTogether(t *testing.T) {
	first, second := realDir(t), newDir(disk.OS(), "", os.Getuid())
	second.Path = first.Path
	all := some(1, 3*perPage)
	descriptors := func() int {
		list, err := os.ReadDir("/proc/self/fd")
		must(t, err)
		return len(list)
	}
	before := descriptors()
	var work sync.WaitGroup
	for _, d := range []*Dir{first, second} {
		for i := range 2 {
			work.Go(func() {
				for range 20 {
					kept, err := d.Write("v.example", Made{Of: passwd(1)}, table(all))
					if err != nil {
						t.Error(err)
						return
					}
					var readers sync.WaitGroup
					for range 3 {
						readers.Go(func() {
							for _, e := range all[:200+i] {
								got, err := found(kept, uint32(e>>32))
								if !errors.Is(err, ErrClosed) && (err != nil || len(got) == 0) {
									t.Errorf("%x, %v", got, err)
								}
							}
						})
					}
					found(kept, 1)
					kept.Close()
					readers.Wait()
				}
			})
		}
	}
	work.Wait()
	if got := first.names(t); !slices.Equal(got, []string{"v.example"}) {
		t.Errorf("%q are left", got)
	}
	if after := descriptors(); after != before {
		t.Errorf("%d descriptors, %d before", after, before)
	}
}

// between calls do between the opening of a file and the look at it.
type between struct {
	disk.FS
	do func()
}

type betweenDir struct {
	disk.Dir
	do func()
}

func (b between) OpenDir(path string) (disk.Dir, error) {
	d, err := b.FS.OpenDir(path)
	return betweenDir{d, b.do}, err
}

func (b betweenDir) OpenDir(name string) (disk.Dir, error) {
	d, err := b.Dir.OpenDir(name)
	return betweenDir{d, b.do}, err
}

func (b betweenDir) Open(name string, access disk.Access) (disk.File, error) {
	f, err := b.Dir.Open(name, access)
	b.do()
	return f, err
}

// TestReplaced: a file in whose place another process puts one while it is opened is good,
// and nobody hears that it is damaged.
func TestReplaced(t *testing.T) {
	other, all := realDir(t), some(1, perPage+3)
	other.put(t, "v.example", 1, all)
	d := newDir(between{disk.OS(), func() { other.put(t, "v.example", 2, nil) }}, other.Path, os.Getuid())
	kept, _, ok, err := d.Open("v.example", passwd(1))
	if !ok || err != nil {
		t.Fatalf("it is good: %v, %v", ok, err)
	}
	defer kept.Close()
	if err := check(kept, all); err != nil {
		t.Error(err)
	}
}

// FuzzFile: whatever a file has, sealed with our key or not, a search in it ends, and finds
// no more than it has; what isn't sealed so is damaged.
func FuzzFile(f *testing.F) {
	d := realDir(f)
	d.put(f, "v.example", 1, some(1, perPage+3))
	good, err := os.ReadFile(filepath.Join(d.Path, "v.example"))
	must(f, err)
	f.Add(good, uint32(1), true)
	f.Add(good, uint32(1<<31), false)
	f.Add(make([]byte, 3*pageSize), uint32(0), true)
	f.Fuzz(func(t *testing.T, text []byte, hash uint32, sealed bool) {
		if sealed {
			text = slices.Clone(text)
			reseal(text, d.Key)
		}
		kept, _, ok, err := open(memory{text: text}, int64(len(text)), passwd(1), d.Key)
		if !ok {
			if !sealed && err == nil && !slices.Equal(text, good) {
				t.Errorf("%q: it is not of our making", text[:min(len(text), 100)])
			}
			return
		}
		n := 0
		for _, err := range kept.Find(hash) {
			if n++; err == nil && n > kept.Len() {
				t.Fatalf("more than %d are found", kept.Len())
			}
		}
	})
}

// memory is a file that is only read.
type memory struct {
	disk.File
	text []byte
}

func (m memory) ReadAt(p []byte, off int64) (int, error) {
	return bytes.NewReader(m.text).ReadAt(p, off)
}
func (m memory) Close() error { return nil }
