package index

import (
	"errors"
	"testing"

	"postoffice/internal/disk"
	"postoffice/internal/disk/crashfs"
)

// versions are what indexes are made of, one after the other, in the crash suites.
var versions = [][]uint64{some(1, perPage+20), some(2, perPage+40), some(3, 20)}

// life is two processes that write indexes of one passwd file.
func life(fsys disk.FS, ack func(string)) error {
	var errs []error
	for i, entries := range versions {
		d := newDir(fsys, "/db/vhost", 0)
		kept, err := d.Write("v.example", Made{Of: passwd(i)}, table(entries))
		if err == nil {
			kept.Close()
			ack("written")
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// whatIsLeft: what a crash leaves is an index that answers right, one that is seen to be
// damaged, or none; and the next process can write one.
func whatIsLeft(t testing.TB, fsys disk.FS, _ []string) {
	d := newDir(fsys, "/db/vhost", 0)
	look := func() (right int) {
		for i, entries := range versions {
			kept, _, ok, err := d.Open("v.example", passwd(i))
			if err != nil && !errors.Is(err, ErrDamaged) {
				t.Errorf("version %d: %v", i, err)
			}
			if !ok {
				continue
			}
			if err := check(kept, entries); err != nil {
				t.Errorf("version %d: %v", i, err)
			}
			right++
			kept.Close()
		}
		return right
	}
	if n := look(); n > 1 {
		t.Errorf("one file is that of %d", n)
	}
	d.put(t, "v.example", 1, versions[1])
	kept, _, ok, err := d.Open("v.example", passwd(1))
	if err != nil || !ok {
		t.Fatalf("written anew: %v, %v", ok, err)
	}
	defer kept.Close()
	if got, err := found(kept, uint32(versions[1][5]>>32)); err != nil || len(got) == 0 {
		t.Errorf("written anew: %x, %v", got, err)
	}
	dir, err := fsys.OpenDir("/db/vhost")
	must(t, err)
	defer dir.Close()
	for name, err := range dir.Names() {
		if err != nil || name != "v.example" {
			t.Errorf("%q is left, %v", name, err)
		}
	}
}

func prepare(f *crashfs.FS) { f.MkdirAll("/db/vhost", 0o700) }

// TestCrash: the power may be cut, the process killed, and any call may fail.
func TestCrash(t *testing.T) {
	t.Log(crashfs.Run{Prepare: prepare}.EveryStep(t, life, whatIsLeft))
	t.Log(crashfs.Run{Prepare: prepare}.EveryError(t, life, whatIsLeft))
}
