//go:build !lite

package dbm

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// FuzzRecords: what goes in comes out, in order, however often it goes to the
// disk between. Records are lines "key=value".
func FuzzRecords(f *testing.F) {
	f.Add("b=2\na=1\n=\nb=3", uint16(1))
	f.Add(strings.Repeat("aaaaaaaab=\x00\n", 30), uint16(100))
	f.Fuzz(func(t *testing.T, in string, memory uint16) {
		path := filepath.Join(t.TempDir(), "x.db")
		want := map[string]string{}
		var pairs []string
		for line := range strings.SplitSeq(in, "\n") {
			k, v, _ := strings.Cut(line, "=")
			if _, there := want[k]; !there {
				want[k] = v
			}
			pairs = append(pairs, k, v)
		}
		made(t, path, Options{Memory: int(memory) + 1}, pairs...)
		d := opened(t, path)
		got := map[string]string{}
		last, first := "", true
		for r, err := range d.All() {
			if err != nil {
				t.Fatal(err)
			}
			if !first && string(r.Key) <= last {
				t.Errorf("%q behind %q", r.Key, last)
			}
			last, first = string(r.Key), false
			got[last] = string(r.Value)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q (-want +got):\n%s", in, diff)
		}
		for k, v := range want {
			if got, err := d.Fetch([]byte(k)); err != nil || string(got) != v {
				t.Errorf("%q: fetch %q: %q, %v, want %q", in, k, got, err, v)
			}
		}
	})
}

// FuzzOpen: no file, however it was made, does more than give an error that
// names it.
func FuzzOpen(f *testing.F) {
	path := filepath.Join(f.TempDir(), "x.db")
	made(f, path, Options{}, "a", "1", "b", "2")
	whole, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	f.Add(whole[:len(whole)-1])
	f.Add([]byte(nil))
	f.Fuzz(func(t *testing.T, in []byte) {
		path := filepath.Join(t.TempDir(), "x.db")
		if err := os.WriteFile(path, in, 0o644); err != nil {
			t.Fatal(err)
		}
		damage := func(err error) bool {
			e := (*DamageError)(nil)
			if err != nil && !errors.Is(err, ErrNotFound) && (!errors.As(err, &e) || !strings.HasPrefix(err.Error(), path+": ")) {
				t.Errorf("%v, want a DamageError", err)
			}
			return err != nil
		}
		d, err := Open(path, Options{})
		if damage(err) {
			return
		}
		defer d.Close()
		_, err = d.Fetch([]byte("a"))
		damage(err)
		for _, err := range d.All() {
			damage(err)
		}
	})
}
