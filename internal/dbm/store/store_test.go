package store

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"testing"
)

// open opens a store for a test.
func open(t *testing.T, dir string) *Store {
	t.Helper()
	s, err := Open(dir, Options{Mend: "mend it"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func set(t *testing.T, p Part, key, value string) {
	t.Helper()
	if err := p.Update(context.Background(), key, to(value)); err != nil {
		t.Fatal(err)
	}
}

// to is a change that doesn't mind what was.
func to(value string) func(string, bool) (string, bool) {
	return func(string, bool) (string, bool) { return value, true }
}

// TestOneKey: twenty who change one key change it one after the other.
func TestOneKey(t *testing.T) {
	p := open(t, t.TempDir()).Part("p/")
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			for range 50 {
				if err := p.Update(context.Background(), "n", func(old string, there bool) (string, bool) {
					n, _ := strconv.Atoi(old)
					return strconv.Itoa(n + 1), true
				}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if v, there, err := p.Get(context.Background(), "n"); v != "1000" || !there || err != nil {
		t.Errorf("%q, %v, %v", v, there, err)
	}
}

// TestDelete: what is to go goes, what is scanned comes in order of the keys, and nothing
// of another part.
func TestDelete(t *testing.T) {
	s := open(t, t.TempDir())
	p := s.Part("a/")
	records := map[string]string{}
	for i := range 1000 {
		records[fmt.Sprintf("%04d", i)] = strconv.Itoa(i)
	}
	if err := p.Put(context.Background(), records); err != nil {
		t.Fatal(err)
	}
	set(t, s.Part("b"), "", "0")
	var keys []string
	if err := p.Scan(context.Background(), "", func(key, _ string) bool { keys = append(keys, key); return true }); err != nil || len(keys) != 1000 {
		t.Fatalf("%d keys, %v", len(keys), err)
	}
	set(t, p, "0002", "3")
	n, err := p.Delete(context.Background(), append(keys, "none"), func(_, value string) bool {
		i, _ := strconv.Atoi(value)
		return i%2 == 0
	})
	if n != 499 || err != nil {
		t.Fatalf("%d, %v", n, err)
	}
	want := []string{"0001", "0002", "0003", "0005"}
	if err := p.Scan(context.Background(), "0000", func(key, _ string) bool {
		if key != want[0] {
			t.Errorf("%s, want %s", key, want[0])
		}
		want = want[1:]
		return len(want) > 0
	}); err != nil || len(want) > 0 {
		t.Errorf("%q left, %v", want, err)
	}
	if v, there, err := s.Part("").Get(context.Background(), "b"); v != "0" || !there || err != nil {
		t.Errorf("%q, %v, %v", v, there, err)
	}
}
