//go:build !lite

package dbm

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"postoffice/internal/disk"
)

// sample is a database of some blocks with two levels of index, and what is in
// it.
func sample(t testing.TB, path string) map[string]string {
	t.Helper()
	want := map[string]string{}
	var pairs []string
	rng := rand.New(rand.NewPCG(5, 6))
	for i := range 1200 {
		k := fmt.Sprintf("user%04d", i)
		want[k] = fmt.Sprintf("%x@%x.example", rng.Uint64(), rng.Uint64())
		pairs = append(pairs, k, want[k])
	}
	made(t, path, Options{}, pairs...)
	return want
}

// honest fails if the database gives a wrong answer: each must be what is in
// it, or a DamageError.
func honest(t testing.TB, path, what string, want map[string]string, keys ...string) (damaged int) {
	t.Helper()
	bad := func(err error) {
		damaged++
		if e := (*DamageError)(nil); !errors.As(err, &e) || errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), `run "mend"`) {
			t.Errorf("%s: %v, want a DamageError", what, err)
		}
	}
	d, err := Open(path, Options{Mend: "mend"})
	if err != nil {
		bad(err)
		return damaged
	}
	defer d.Close()
	for _, k := range keys {
		v, err := d.Fetch([]byte(k))
		if w, there := want[k]; err == nil && (!there || string(v) != w) || errors.Is(err, ErrNotFound) && there {
			t.Errorf("%s: %s: %q, %v, want %q, %v", what, k, v, err, w, there)
		} else if err != nil && !errors.Is(err, ErrNotFound) {
			bad(err)
		}
	}
	n := 0
	for r, err := range d.All() {
		if err != nil {
			bad(err)
			return damaged
		}
		if want[string(r.Key)] != string(r.Value) {
			t.Errorf("%s: %q: %q, want %q", what, r.Key, r.Value, want[string(r.Key)])
		}
		n++
	}
	if n != len(want) {
		t.Errorf("%s: %d records, want %d", what, n, len(want))
	}
	return damaged
}

// A damaged database never says "no such key" (A36): cut short, with octets
// changed, or with parts of it empty.
func TestA36Damage(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	want := sample(t, path)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	keys := []string{"user0000", "user0600", "user1199", "nobody", "zzz", ""}
	rng := rand.New(rand.NewPCG(7, 8))
	try := func(what string, octets []byte) int {
		t.Helper()
		if err := os.WriteFile(path, octets, 0o644); err != nil {
			t.Fatal(err)
		}
		return honest(t, path, what, want, keys...)
	}
	if n := try("whole", whole); n != 0 {
		t.Fatalf("%d errors in a whole database", n)
	}
	for range 50 {
		cut := rng.IntN(len(whole))
		if try(fmt.Sprintf("cut at %d", cut), whole[:cut]) == 0 {
			t.Errorf("cut at %d of %d: no error", cut, len(whole))
		}
	}
	tail := len(whole) - 650 // properties, index of the index, footer
	for i := range 750 {
		at := rng.IntN(len(whole))
		if i < 650 {
			at = tail + i
		}
		hurt := append([]byte{}, whole...)
		hurt[at] ^= 1 << rng.IntN(8)
		try(fmt.Sprintf("octet %d", at), hurt)
	}
	for range 50 {
		hurt := append([]byte{}, whole...)
		at := rng.IntN(len(whole) - 512)
		clear(hurt[at : at+512])
		try(fmt.Sprintf("512 empty octets at %d", at), hurt)
	}
}

// Damage under an open database, and its end.
func TestA36CutWhileOpen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	want := sample(t, path)
	whole, _ := os.ReadFile(path)
	d := opened(t, path)
	if err := os.Truncate(path, int64(len(whole)/2)); err != nil {
		t.Fatal(err)
	}
	if v, err := d.Fetch([]byte("user1199")); !errors.Is(err, ErrDamaged) {
		t.Errorf("cut: %q, %v", v, err)
	}
	if now, err := d.Current(); now || err != nil {
		t.Errorf("cut: Current %v, %v", now, err)
	}
	if err := os.WriteFile(path, whole, 0o644); err != nil {
		t.Fatal(err)
	}
	if n := honest(t, path, "mended", want, "user1199"); n != 0 {
		t.Errorf("mended: %d errors", n)
	}
}

// failing is a disk whose files can't be read.
type failing struct{ disk.FS }
type failingDir struct{ disk.Dir }
type failingFile struct{ disk.File }

func (f failing) OpenDir(p string) (disk.Dir, error) {
	d, err := f.FS.OpenDir(p)
	return failingDir{d}, err
}

func (d failingDir) Open(name string, a disk.Access) (disk.File, error) {
	f, err := d.Dir.Open(name, a)
	return failingFile{f}, err
}

func (failingFile) ReadAt([]byte, int64) (int, error) { return 0, syscall.EIO }

// An error of the disk is the disk's, not damage that a command mends.
func TestA36DiskError(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	made(t, path, Options{}, "a", "1")
	_, err := Open(path, Options{FS: failing{disk.OS()}, Mend: "mend"})
	if !errors.Is(err, syscall.EIO) || errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), path) {
		t.Errorf("%v, want EIO", err)
	}
}
