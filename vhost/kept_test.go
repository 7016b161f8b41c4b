package vhost

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"postoffice/internal/disk"
)

// large is a passwd file whose index is kept, of users user0 and so on.
func large(word string) string {
	var b strings.Builder
	for i := 0; b.Len() <= largeSize; i++ {
		fmt.Fprintf(&b, "user%d:%s%s\n", i, word, strings.Repeat("x", 1000))
	}
	return b.String()
}

// notes are what a store has said.
type notes struct {
	mu  sync.Mutex
	all []string
}

func (n *notes) add(err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.all = append(n.all, err.Error())
}

// said are the notes since the last time.
func (n *notes) said() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	all := n.all
	n.all = nil
	return all
}

// newKept returns a store that keeps its indexes in a directory.
func newKept(dir, indexes, secret string) (*Store, *notes) {
	s, n := New(dir, owners{}), &notes{}
	s.KeepIndexes(Indexes{FS: disk.OS(), Dir: indexes, UID: os.Getuid(), Secret: []byte(secret), Note: n.add})
	return s, n
}

func indexDir(t testing.TB) string {
	dir := t.TempDir()
	must(t, os.Chmod(dir, 0o700))
	return dir
}

// ask looks a user of v.example up: their name, "none" or "later".
func ask(t testing.TB, s *Store, name string) string {
	t.Helper()
	box, err := s.User(t.Context(), "v.example", name)
	switch {
	case errors.Is(err, ErrNoUser):
		return "none"
	case err != nil:
		return "later: " + err.Error()
	}
	return box.Name
}

// askUntil asks until the passwd file is old enough for its index to be used again, and
// returns that.
func askUntil(t testing.TB, s *Store, is func(x *userIndex) bool) *userIndex {
	t.Helper()
	for {
		if got := ask(t, s, "user7"); got != "user7" {
			t.Fatal(got)
		}
		p := s.place("v.example")
		p.mu.Lock()
		x := p.index
		p.mu.Unlock()
		if x != nil && is(x) {
			return x
		}
	}
}

func inFile(x *userIndex) bool { return x.at.InFile() }

// isSettled reports whether an index is of a file that was old enough to tell a change.
func isSettled(t testing.TB, dir string) func(x *userIndex) bool {
	return func(x *userIndex) bool {
		fi, err := os.Stat(filepath.Join(dir, "v.example", PasswdFile))
		must(t, err)
		return x.seen.Is(disk.InfoOf(fi))
	}
}

// TestKept: the index of a large file is in a file of its own, which the next process uses
// as it is, and one with another secret doesn't; a change is in force at once.
func TestKept(t *testing.T) {
	dir, indexes := newDir(t, "owner:v.example:1:\n", large("a")+"bad name:x\n"), indexDir(t)
	file := filepath.Join(indexes, "v.example")
	id := func() disk.Info {
		fi, err := os.Lstat(file)
		must(t, err)
		return disk.InfoOf(fi)
	}
	s, _ := newKept(dir, indexes, "secret")
	askUntil(t, s, inFile)
	first := id()
	for range 2 {
		for name, want := range map[string]string{"USER4000": "user4000", "nobody": "later", "user0": "user0", "bob": "later"} {
			if got := ask(t, s, name); !strings.HasPrefix(got, want) || want == "later" && !strings.Contains(got, "line 4151: name") {
				t.Errorf("%s: %s, want %s", name, got, want)
			}
		}
		s, _ = newKept(dir, indexes, "secret") // a restart
	}
	if now := id(); !now.Unchanged(first) {
		t.Error("it was made anew at a restart")
	}
	other, otherSaid := newKept(dir, indexes, "another secret")
	if got := ask(t, other, "user1"); got != "user1" {
		t.Error(got)
	}
	if now := id(); now.Same(first) || !strings.Contains(strings.Join(otherSaid.said(), ""), "damaged") {
		t.Error("one that another secret has sealed was used")
	}
	s, said := newKept(dir, indexes, "another secret")
	for i := range 6 {
		name := fmt.Sprintf("new%d", i)
		if got := ask(t, s, name); got != "none" && i > 0 {
			t.Errorf("%s, before: %s", name, got)
		}
		write(t, dir, PasswdFile, large("b")+name+":x\n") // vpasswd does so
		if got := ask(t, s, name); got != name {
			t.Errorf("%s, after: %s", name, got)
		}
		if got := ask(t, s, fmt.Sprintf("new%d", i-1)); got != "none" {
			t.Errorf("the one before: %s", got)
		}
	}
	if all := said.said(); len(all) > 0 {
		t.Errorf("said %q", all)
	}
}

// TestKeptDamaged: an index that turns out to be damaged makes nobody unknown. It is made
// anew in a file, and in memory where that one is bad as well.
func TestKeptDamaged(t *testing.T) {
	dir, indexes := newDir(t, "owner:v.example:1:\n", large("a")), indexDir(t)
	s, said := newKept(dir, indexes, "secret")
	for i, kept := range []bool{true, true, false} {
		x := askUntil(t, s, isSettled(t, dir))
		if inFile(x) != kept {
			t.Fatalf("%d: in a file %v, want %v", i, inFile(x), kept)
		}
		if !kept {
			break
		}
		f, err := os.OpenFile(filepath.Join(indexes, "v.example"), os.O_RDWR, 0)
		must(t, err)
		fi, err := f.Stat()
		must(t, err)
		for at := int64(4096); at < fi.Size(); at += 4096 {
			_, err = f.WriteAt([]byte("damage"), at+100)
			must(t, err)
		}
		must(t, f.Close())
		for name, want := range map[string]string{"user9": "user9", "user4000": "user4000", "nobody": "none"} {
			if got := ask(t, s, name); got != want {
				t.Errorf("%d: %s: %s, want %s", i, name, got, want)
			}
		}
		if all := said.said(); len(all) != 1 || !strings.Contains(all[0], "v.example: it is damaged") {
			t.Errorf("%d: said %q", i, all)
		}
	}
}

// TestNotKept: where nothing can be written the index is in memory, which is said once
// until something can be.
func TestNotKept(t *testing.T) {
	dir, indexes := newDir(t, "owner:v.example:1:\n", large("a")), filepath.Join(t.TempDir(), "x")
	s, said := newKept(dir, indexes, "secret")
	for i, kept := range []bool{false, false, true, false, false} {
		switch {
		case i == 2:
			must(t, os.Mkdir(indexes, 0o700))
		case i == 3:
			must(t, os.Chmod(indexes, 0o770))
		}
		write(t, dir, PasswdFile, large(fmt.Sprint(i)))
		if x := askUntil(t, s, isSettled(t, dir)); inFile(x) != kept {
			t.Errorf("%d: in a file %v, want %v", i, inFile(x), kept)
		}
		if got := ask(t, s, "nobody"); got != "none" {
			t.Errorf("%d: %s", i, got)
		}
		if n, want := len(said.said()), map[int]int{0: 1, 3: 1}[i]; n != want {
			t.Errorf("%d: said %d times, want %d", i, n, want)
		}
	}
}

// TestKeptTogether: two servers keep the indexes of the same files, which change all the
// while, and each answers as the file is.
func TestKeptTogether(t *testing.T) {
	indexes := indexDir(t)
	var domains strings.Builder
	dir := newDir(t, "", "bob:x\n")
	for i := range 2 {
		fmt.Fprintf(&domains, "owner:w%d.example:1:\n", i)
		must(t, os.Mkdir(filepath.Join(dir, fmt.Sprintf("w%d.example", i)), 0o755))
	}
	must(t, os.WriteFile(filepath.Join(dir, DomainsFile), []byte(domains.String()), 0o644))
	var work sync.WaitGroup
	one, _ := newKept(dir, indexes, "secret")
	two, _ := newKept(dir, indexes, "secret")
	for i := range 2 {
		domain := fmt.Sprintf("w%d.example", i)
		work.Go(func() {
			for round := range 4 {
				path := filepath.Join(dir, domain, PasswdFile)
				must(t, os.WriteFile(path+".new", []byte(fmt.Sprintf("round%d:x\n", round)+large("")), 0o600), os.Rename(path+".new", path))
				for begun := time.Now(); time.Since(begun) < 250*time.Millisecond; { // until it is old enough, and beyond
					for _, s := range []*Store{one, two} {
						box, err := s.User(t.Context(), domain, fmt.Sprintf("round%d", round))
						_, gone := s.User(t.Context(), domain, fmt.Sprintf("round%d", round-1))
						if err != nil || box.Name == "" || !errors.Is(gone, ErrNoUser) {
							t.Errorf("round %d: %v, %v, %v", round, box, err, gone)
							return
						}
					}
				}
			}
		})
	}
	work.Wait()
}

// TestKeptModel: users come, go and change, and who is found by an index in a file is who
// is found by going through the file.
func TestKeptModel(t *testing.T) {
	dir, indexes := newDir(t, "owner:v.example:1:\n", "bob:x\n"), indexDir(t)
	s, said := newKept(dir, indexes, "secret")
	r := rand.New(rand.NewPCG(1, 2))
	users := map[string]string{}
	for round := range 30 {
		for range r.IntN(300) {
			name := fmt.Sprintf("u%d", r.IntN(1000))
			if r.IntN(3) == 0 {
				delete(users, name)
			} else {
				users[name] = []string{name, strings.ToUpper(name)}[r.IntN(2)]
			}
		}
		text := "# users\n"
		for _, name := range slices.Sorted(maps.Keys(users)) {
			text += users[name] + ":" + strings.Repeat("x", r.IntN(50)) + "\n" + strings.Repeat(name+":again\n", r.IntN(10)/9)
		}
		if round%5 == 4 {
			text += "us er:x\n"
		}
		in := strings.NewReader(text)
		info := disk.Info{Ino: uint64(round), Size: in.Size(), ModTime: time.Unix(1, 0), ChangeTime: time.Unix(1, 0)}
		p := &place{domain: "v.example"}
		x, err := newIndex(in, disk.VersionOf(info), in.Size(), s.key)
		must(t, err)
		s.keep(p, x, info)
		x.at.Close()
		if x = s.openKept(p, info); x == nil || !inFile(x) || (x.broken != nil) != (round%5 == 4) {
			t.Fatalf("round %d: %+v, said %q", round, x, said.said())
		}
		for i := range 1000 {
			name := fmt.Sprintf("U%d", i)
			u, ok, err := x.find(in, name)
			want, there := users[strings.ToLower(name)]
			if err != nil || ok != there || u.Name != want {
				t.Fatalf("round %d, %s: %q, %v, %v, want %q", round, name, u.Name, ok, err, want)
			}
		}
		x.at.Close()
		info.Ino++
		if x := s.openKept(p, info); x != nil {
			t.Errorf("round %d: used for another file", round)
		}
	}
}

// TestKeptMany: however many indexes are open, there is a bound to it, and those that are
// forgotten are closed.
func TestKeptMany(t *testing.T) {
	dir, indexes := newDir(t, "owner:v.example:1:\n", "bob:x\n"), indexDir(t)
	s, _ := newKept(dir, indexes, "secret")
	s.kept.dir.Keep = func() (func(string) bool, error) { return nil, io.EOF } // there is none of the names
	descriptors := func() int {
		list, err := os.ReadDir("/proc/self/fd")
		must(t, err)
		return len(list)
	}
	before := descriptors()
	info := disk.Info{ModTime: time.Unix(1, 0), ChangeTime: time.Unix(1, 0)}
	for i := range 3 * maxIndexed / fileWeight {
		p := s.place(fmt.Sprintf("d%d.example", i))
		in := strings.NewReader("bob:x\n")
		x, err := newIndex(in, disk.VersionOf(info), in.Size(), s.key)
		must(t, err)
		s.keep(p, x, info)
		p.set(x)
		s.count(p, x.at)
	}
	if n := descriptors() - before; n < maxIndexed/fileWeight || n > maxIndexed/fileWeight+10 {
		t.Errorf("%d files are open, want %d", n, maxIndexed/fileWeight)
	}
	for e := s.recent.Front(); e != nil; e = e.Next() {
		e.Value.(*place).set(nil)
	}
	if n := descriptors() - before; n > 10 {
		t.Errorf("%d files stay open", n)
	}
}
