//go:build !lite

package dbm

import (
	"fmt"
	"path/filepath"
	"testing"
)

// million builds a database of a million aliases.
func million(b *testing.B, path string, memory int) {
	w, err := Create(path, Options{Memory: memory})
	if err != nil {
		b.Fatal(err)
	}
	defer w.Abort()
	for i := range 1_000_000 {
		n := (i*7919 + 13) % 1_000_000
		if err := w.Add(fmt.Appendf(nil, "user%07d", n), fmt.Appendf(nil, "someone.%07d@host%03d.example.org", n, n%1000)); err != nil {
			b.Fatal(err)
		}
	}
	if err := w.Commit(); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkMillion: building with all in memory, in runs, and changing one
// record.
func BenchmarkMillion(b *testing.B) {
	path := filepath.Join(b.TempDir(), "x.db")
	for _, memory := range []int{1 << 30, defaultMemory, 4 << 20} {
		b.Run(fmt.Sprintf("build/%dMiB", memory>>20), func(b *testing.B) {
			for b.Loop() {
				million(b, path, memory)
			}
		})
	}
	b.Run("edit", func(b *testing.B) {
		for b.Loop() {
			e, err := Change(path, Options{})
			if err != nil {
				b.Fatal(err)
			}
			if err := e.Store([]byte("new"), nil, Replace); err != nil {
				b.Fatal(err)
			}
			if err := e.Close(); err != nil {
				b.Fatal(err)
			}
		}
	})
	key := []byte("user0500000")
	b.Run("open+fetch", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			d, err := Open(path, Options{})
			if err != nil {
				b.Fatal(err)
			}
			if _, err := d.Fetch(key); err != nil {
				b.Fatal(err)
			}
			d.Close()
		}
	})
	b.Run("fetch", func(b *testing.B) {
		b.ReportAllocs()
		d := opened(b, path)
		for b.Loop() {
			if _, err := d.Fetch(key); err != nil {
				b.Fatal(err)
			}
		}
	})
}
