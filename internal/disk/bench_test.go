package disk_test

import (
	"os"
	"path/filepath"
	"testing"

	"postoffice/internal/disk"
)

// BenchmarkStore is one message's way on a tmpfs, where syncs cost nothing:
// create, write 4 KiB, sync, rename without replacing, sync the directory,
// open, lock, look again, overwrite one octet, datasync, unlink. "os" does the
// same with package os, which has no exclusive rename and no lock: link and
// remove instead.
func BenchmarkStore(b *testing.B) {
	for _, tt := range []struct {
		name string
		fs   disk.FS
	}{{"OS", disk.OS()}, {"portable", disk.Portable()}} {
		b.Run(tt.name, func(b *testing.B) {
			d, err := tt.fs.OpenDir(shm(b))
			if err != nil {
				b.Fatal(err)
			}
			defer d.Close()
			b.ReportAllocs()
			for b.Loop() {
				if err := storeOne(d, make([]byte, 4096)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("os", func(b *testing.B) {
		dir := shm(b)
		d, err := os.Open(dir)
		if err != nil {
			b.Fatal(err)
		}
		defer d.Close()
		b.ReportAllocs()
		for b.Loop() {
			if err := storeOS(d, dir, make([]byte, 4096)); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func shm(b *testing.B) string {
	dir, err := os.MkdirTemp("/dev/shm", "disk-bench-")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// inOrder stops at the first error.
func inOrder(calls ...func() error) error {
	for _, call := range calls {
		if err := call(); err != nil {
			return err
		}
	}
	return nil
}

func storeOne(d disk.Dir, body []byte) error {
	f, err := d.Create("tmp", 0o600)
	if err != nil {
		return err
	}
	var g disk.File
	return inOrder(
		func() error { _, err := f.Write(body); return err },
		f.Sync,
		f.Close,
		func() error { return d.RenameNoReplace("tmp", d, "m") },
		d.Sync,
		func() error { g, err = d.Open("m", disk.ReadWrite); return err },
		func() error { _, err := g.TryLock(); return err },
		func() error { _, err := disk.Named(d, "m", g); return err },
		func() error { _, err := g.WriteAt([]byte("D"), 10); return err },
		func() error { return g.Datasync() },
		func() error { return d.Unlink("m") },
		func() error { return g.Close() },
	)
}

func storeOS(d *os.File, dir string, body []byte) error {
	tmp, m := filepath.Join(dir, "tmp"), filepath.Join(dir, "m")
	f, err := os.OpenFile(tmp, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	var g *os.File
	return inOrder(
		func() error { _, err := f.Write(body); return err },
		f.Sync,
		f.Close,
		func() error { return os.Link(tmp, m) },
		func() error { return os.Remove(tmp) },
		d.Sync,
		func() error { g, err = os.OpenFile(m, os.O_RDWR, 0); return err },
		func() error { _, err := os.Lstat(m); return err },
		func() error { _, err := g.WriteAt([]byte("D"), 10); return err },
		func() error { return g.Sync() },
		func() error { return os.Remove(m) },
		func() error { return g.Close() },
	)
}
