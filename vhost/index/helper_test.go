package index

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"time"

	"postoffice/internal/disk"
)

func must(t testing.TB, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}

// some are n sorted entries, of which every third has the hash of the one before.
func some(seed uint64, n int) []uint64 {
	r := rand.New(rand.NewPCG(seed, 0))
	all := make([]uint64, n)
	for i := range all {
		all[i] = r.Uint64()
		if i%3 == 2 {
			all[i] = all[i-1]>>32<<32 | all[i]&(1<<32-1)
		}
	}
	slices.Sort(all)
	return all
}

func table(entries []uint64) *Table {
	var b []byte
	for _, e := range entries {
		b = Append(b, e)
	}
	return New(b)
}

// want is what Find is to yield of sorted entries.
func want(entries []uint64, hash uint32) (lower []uint32) {
	for _, e := range entries {
		if uint32(e>>32) == hash {
			lower = append(lower, uint32(e))
		}
	}
	return lower
}

func found(t *Table, hash uint32) (lower []uint32, err error) {
	for l, e := range t.Find(hash) {
		if e != nil {
			return nil, e
		}
		lower = append(lower, l)
	}
	return lower, nil
}

// check looks hashes up, those that are there and their neighbours. It returns the first
// answer that is wrong; an error is none.
func check(t *Table, entries []uint64) error {
	for _, e := range entries {
		for _, hash := range []uint32{uint32(e >> 32), uint32(e>>32) + 1, uint32(e>>32) - 1} {
			got, err := found(t, hash)
			if err == nil && !slices.Equal(got, want(entries, hash)) {
				return fmt.Errorf("%08x: %x, want %x", hash, got, want(entries, hash))
			}
		}
	}
	return nil
}

// passwd is a file that entries are made of, another one for each number.
func passwd(n int) disk.Info {
	at := time.Unix(1_000_000+int64(n), 0)
	return disk.Info{Dev: 1, Ino: 2, Size: int64(n), ModTime: at, ChangeTime: at}
}

// newDir is a directory of indexes on a disk.
func newDir(fsys disk.FS, path string, uid int) *Dir {
	return &Dir{FS: fsys, Path: path, UID: uid, Key: NewKey([]byte("secret"), "test"), Keep: func() (func(string) bool, error) {
		return func(name string) bool { return name != "gone.example" }, nil
	}}
}

// realDir is one on the machine's disk.
func realDir(t testing.TB) *Dir {
	t.Helper()
	path := t.TempDir()
	must(t, os.Chmod(path, 0o700))
	return newDir(disk.OS(), path, os.Getuid())
}

// put writes an index for passwd(n).
func (d *Dir) put(t testing.TB, name string, n int, entries []uint64) {
	t.Helper()
	kept, err := d.Write(name, Made{Of: passwd(n), Words: "line 7: x"}, table(entries))
	must(t, err)
	kept.Close()
}

// names are those of the files.
func (d *Dir) names(t testing.TB) (all []string) {
	t.Helper()
	list, err := os.ReadDir(d.Path)
	must(t, err)
	for _, e := range list {
		all = append(all, e.Name())
	}
	return all
}

// reseal seals the pages of a file with the key of its salt, whatever they have become.
func reseal(text []byte, key Key) {
	if len(text) < pageSize {
		return
	}
	key = key.below(text[sealSize : sealSize+saltSize])
	for number := range len(text) / pageSize {
		key.seal(text[number*pageSize:][:pageSize], number)
	}
}

func little(b []byte) uint64 { return binary.LittleEndian.Uint64(b) }
