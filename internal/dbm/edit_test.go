//go:build !lite

package dbm

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// changed runs f on the database and closes it.
func changed(t testing.TB, path string, f func(*Edit)) {
	t.Helper()
	e, err := Change(path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Abort()
	f(e)
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestEdit(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	made(t, path, Options{Mode: 0o604}, "a", "1", "c", "3", "e", "5")
	changed(t, path, func(e *Edit) {
		for _, tt := range []struct {
			err  error
			got  error
			what string
		}{
			{nil, e.Store([]byte("b"), []byte("2"), Insert), "insert b"},
			{ErrExists, e.Store([]byte("a"), []byte("x"), Insert), "insert a"},
			{ErrExists, e.Store([]byte("b"), []byte("x"), Insert), "insert b again"},
			{nil, e.Store([]byte("c"), []byte("three"), Replace), "replace c"},
			{nil, e.Store([]byte("z"), []byte("26"), Replace), "replace z"},
			{nil, e.Delete([]byte("e")), "delete e"},
			{ErrNotFound, e.Delete([]byte("e")), "delete e again"},
			{ErrNotFound, e.Delete([]byte("d")), "delete d"},
			{ErrTooLong, e.Store(make([]byte, MaxKey+1), nil, Replace), "a long key"},
		} {
			if !errors.Is(tt.got, tt.err) {
				t.Errorf("%s: %v, want %v", tt.what, tt.got, tt.err)
			}
		}
		if v, err := e.Fetch([]byte("c")); string(v) != "three" || err != nil {
			t.Errorf("c: %q, %v", v, err)
		}
		if _, err := e.Fetch([]byte("e")); !errors.Is(err, ErrNotFound) {
			t.Errorf("e: %v", err)
		}
		for range e.All() {
			break
		}
	})
	if diff := cmp.Diff([]string{"a", "1", "b", "2", "c", "three", "z", "26"}, dump(t, opened(t, path))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o604 {
		t.Errorf("mode %v, %v, want 0604 as before", info.Mode(), err)
	}
	before, _ := os.Stat(path)
	changed(t, path, func(*Edit) {})
	if after, _ := os.Stat(path); !os.SameFile(before, after) {
		t.Error("a database that wasn't changed was written")
	}
	if _, err := Change(path+".none", Options{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	onlyFile(t, path)
}

// TestEditModel compares an Edit with a map.
func TestEditModel(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	made(t, path, Options{})
	rng := rand.New(rand.NewPCG(3, 4))
	model := map[string]string{}
	for round := range 30 {
		changed(t, path, func(e *Edit) {
			for i := range rng.IntN(40) {
				k, v := fmt.Sprint(rng.IntN(60)), fmt.Sprint(round, ".", i)
				_, there := model[k]
				switch rng.IntN(3) {
				case 0:
					if err := e.Store([]byte(k), []byte(v), Insert); (err == nil) == there {
						t.Fatalf("insert %s: %v, there %v", k, err, there)
					}
					if !there {
						model[k] = v
					}
				case 1:
					if err := e.Store([]byte(k), []byte(v), Replace); err != nil {
						t.Fatal(err)
					}
					model[k] = v
				case 2:
					if err := e.Delete([]byte(k)); (err == nil) != there {
						t.Fatalf("delete %s: %v, there %v", k, err, there)
					}
					delete(model, k)
				}
			}
		})
		var want []string
		for _, k := range slices.Sorted(maps.Keys(model)) {
			want = append(want, k, model[k])
		}
		if diff := cmp.Diff(want, dump(t, opened(t, path))); diff != "" {
			t.Fatalf("round %d (-want +got):\n%s", round, diff)
		}
	}
}

// Changes that come at the same time are all there in the end.
func TestEditsAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	made(t, path, Options{})
	var wg sync.WaitGroup
	for i := range 10 {
		wg.Go(func() {
			e, err := Change(path, Options{})
			if err != nil {
				t.Error(err)
				return
			}
			if err := e.Store([]byte(fmt.Sprint(i)), nil, Insert); err != nil {
				t.Error(err)
			}
			if err := e.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if got := dump(t, opened(t, path)); len(got) != 20 {
		t.Errorf("%q, want 10 records", got)
	}
}
