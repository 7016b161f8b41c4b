package disk_test

import (
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"postoffice/internal/disk"
)

// TestVersion: a file is the one that was read while nothing about it has
// changed, and not before it has come to rest.
func TestVersion(t *testing.T) { synctest.Test(t, testVersion) }

func testVersion(t *testing.T) {
	now := time.Now()
	base := disk.Info{Mode: 0o644, Size: 10, Dev: 1, Ino: 2, ModTime: now.Add(-time.Hour), ChangeTime: now.Add(-time.Hour)}
	with := func(change func(*disk.Info)) disk.Info {
		i := base
		change(&i)
		return i
	}
	for _, tt := range []struct {
		name string
		was  disk.Info
		is   disk.Info
		want bool
	}{
		{"untouched", base, base, true},
		{"another size", base, with(func(i *disk.Info) { i.Size++ }), false},
		{"another mode", base, with(func(i *disk.Info) { i.Mode = 0o600 }), false},
		{"written with its old times", base, with(func(i *disk.Info) { i.ChangeTime = now }), false},
		{"written", base, with(func(i *disk.Info) { i.ModTime = now }), false},
		{"replaced", base, with(func(i *disk.Info) { i.Ino++ }), false},
		{"on another file system", base, with(func(i *disk.Info) { i.Dev++ }), false},
	} {
		if got := disk.VersionOf(tt.was).Is(tt.is); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
	for _, at := range []time.Time{now, now.Add(-time.Second), now.Add(time.Second)} {
		fresh := with(func(i *disk.Info) { i.ModTime = at })
		if disk.VersionOf(fresh).Is(fresh) {
			t.Errorf("changed %v before it was read, and believed", now.Sub(at))
		}
		fresh = with(func(i *disk.Info) { i.ChangeTime = at })
		if disk.VersionOf(fresh).Is(fresh) {
			t.Errorf("replaced %v before it was read, and believed", now.Sub(at))
		}
	}
	fine := with(func(i *disk.Info) { i.ModTime = now.Add(-time.Second + time.Microsecond) })
	if !disk.VersionOf(fine).Is(fine) {
		t.Error("a file system that counts in ticks is taken for one that counts in seconds")
	}
	for _, age := range []time.Duration{1, -1, 20*time.Millisecond + 1} {
		fine.ModTime = now.Add(-age)
		if disk.VersionOf(fine).Is(fine) {
			t.Error("changed a moment before it was read, and believed")
		}
	}
	future := with(func(i *disk.Info) { i.ModTime, i.ChangeTime = now.Add(time.Hour), now.Add(time.Hour) })
	if !disk.VersionOf(future).Is(future) {
		t.Error("a time far in the future is read again for ever")
	}
	if (disk.Version{}).Is(disk.Info{}) {
		t.Error("the zero Version is a file")
	}
}

// TestInfoOf: package os and this one see the same file.
func TestInfoOf(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "f"), []byte("text"), 0o640); err != nil {
		t.Fatal(err)
	}
	d, err := disk.OS().OpenDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	want, err := d.Lstat("f")
	if err != nil {
		t.Fatal(err)
	}
	fi, err := os.Stat(filepath.Join(dir, "f"))
	if err != nil {
		t.Fatal(err)
	}
	if got := disk.InfoOf(fi); !got.Unchanged(want) {
		t.Errorf("%+v, want %+v", got, want)
	}
}
