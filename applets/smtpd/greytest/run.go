package greytest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"postoffice/applets/smtpd/greylist"
)

// Run tests what open returns, an empty store each time.
func Run(t *testing.T, open func(t *testing.T) greylist.Store) {
	for _, tt := range []struct {
		name string
		test func(t *testing.T, s greylist.Store)
	}{
		{"one key", oneKey},
		{"order", order},
		{"delete", deletes},
		{"at once", atOnce},
		{"ended context", ended},
		{"random", random},
	} {
		t.Run(tt.name, func(t *testing.T) { tt.test(t, open(t)) })
	}
}

func set(value string) func(string, bool) (string, bool) {
	return func(string, bool) (string, bool) { return value, true }
}

func nothing(string, bool) (string, bool) { return "", false }

func holds(t *testing.T, s greylist.Store, key, want string, there bool) {
	t.Helper()
	if got, is, err := s.Get(t.Context(), key); got != want || is != there || err != nil {
		t.Errorf("Get(%q) = %q, %v, %v, want %q, %v", key, got, is, err, want, there)
	}
}

func update(t *testing.T, s greylist.Store, key string, change func(string, bool) (string, bool)) {
	t.Helper()
	if err := s.Update(t.Context(), key, change); err != nil {
		t.Fatalf("Update(%q): %v", key, err)
	}
}

func oneKey(t *testing.T, s greylist.Store) {
	for _, key := range []string{"joe@[192.0.2.1]", "<>@[ipv6:2001:db8::1]", "ä\"@x", strings.Repeat("k", 320)} {
		holds(t, s, key, "", false)
		update(t, s, key, func(old string, there bool) (string, bool) {
			if old != "" || there {
				t.Errorf("a key that holds nothing: %q, %v", old, there)
			}
			return "1 2", true
		})
		holds(t, s, key, "1 2", true)
		update(t, s, key, func(old string, there bool) (string, bool) { return old + " 3", there })
		holds(t, s, key, "1 2 3", true)
		update(t, s, key, set(""))
		holds(t, s, key, "", true)
		update(t, s, key, nothing)
		holds(t, s, key, "", false)
		update(t, s, key, nothing)
		holds(t, s, key, "", false)
	}
}

// dump is all that a store holds behind a key, "KEY=VALUE".
func dump(t *testing.T, s greylist.Store, after string, most int) (all []string) {
	t.Helper()
	err := s.Scan(t.Context(), after, func(key, value string) bool {
		all = append(all, key+"="+value)
		return len(all) < most
	})
	if err != nil {
		t.Fatalf("Scan: %v", err)
	}
	return all
}

func same(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: got %q, want %q", what, got, want)
	}
}

func order(t *testing.T, s greylist.Store) {
	same(t, "empty", dump(t, s, "", 9))
	for _, key := range []string{"b", "aa", "c\xff", "a", "c"} {
		update(t, s, key, set("v"+key))
	}
	same(t, "all", dump(t, s, "", 9), "a=va", "aa=vaa", "b=vb", "c=vc", "c\xff=vc\xff")
	same(t, "two", dump(t, s, "", 2), "a=va", "aa=vaa")
	same(t, "behind a key", dump(t, s, "aa", 9), "b=vb", "c=vc", "c\xff=vc\xff")
	same(t, "behind a key that isn't there", dump(t, s, "bb", 1), "c=vc")
	same(t, "behind the last", dump(t, s, "c\xff", 9))
}

func deletes(t *testing.T, s greylist.Store) {
	for _, key := range []string{"a", "b", "c", "d"} {
		update(t, s, key, set(key))
	}
	n, err := s.Delete(t.Context(), []string{"a", "b", "c", "missing"}, func(key, value string) bool {
		if key != value {
			t.Errorf("asked about %q with %q", key, value)
		}
		return key != "b"
	})
	if n != 2 || err != nil {
		t.Errorf("Delete = %d, %v, want 2", n, err)
	}
	same(t, "left", dump(t, s, "", 9), "b=b", "d=d")
	if n, err := s.Delete(t.Context(), nil, func(string, string) bool { return true }); n != 0 || err != nil {
		t.Errorf("Delete of nothing = %d, %v", n, err)
	}
	same(t, "left", dump(t, s, "", 9), "b=b", "d=d")
}

// atOnce adds to one key from many sides, while others read, scan and delete.
func atOnce(t *testing.T, s greylist.Store) {
	const sides, each = 20, 25
	ctx := context.WithoutCancel(t.Context())
	var work sync.WaitGroup
	for i := range sides {
		work.Go(func() {
			own := fmt.Sprint("own", i)
			for range each {
				err := s.Update(ctx, "count", func(old string, _ bool) (string, bool) {
					n, _ := strconv.Atoi(old)
					return strconv.Itoa(n + 1), true
				})
				_, _, errGet := s.Get(ctx, "count")
				err = errors.Join(err, errGet, s.Update(ctx, own, set("x")))
				_, errDelete := s.Delete(ctx, []string{own}, func(string, string) bool { return true })
				err = errors.Join(err, errDelete, s.Scan(ctx, "", func(string, string) bool { return false }))
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	work.Wait()
	same(t, "at the end", dump(t, s, "", 9), "count="+strconv.Itoa(sides*each))
}

// ended: who has no time left changes nothing, and hears so.
func ended(t *testing.T, s greylist.Store) {
	update(t, s, "a", set("1"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, _, errGet := s.Get(ctx, "a")
	_, errDelete := s.Delete(ctx, []string{"a"}, func(string, string) bool { return true })
	for what, err := range map[string]error{
		"Get": errGet, "Delete": errDelete,
		"Update": s.Update(ctx, "a", set("2")),
		"Scan":   s.Scan(ctx, "", func(string, string) bool { return true }),
	} {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s with a context that has ended: %v", what, err)
		}
	}
	holds(t, s, "a", "1", true)
}

// random compares 2,000 calls with a map.
func random(t *testing.T, s greylist.Store) {
	r := rand.New(rand.NewPCG(15, 30))
	model := map[string]string{}
	for i := range 2000 {
		key := "k" + strconv.Itoa(r.IntN(40))
		switch r.IntN(4) {
		case 0:
			holds(t, s, key, model[key], contains(model, key))
		case 1:
			update(t, s, key, set(strconv.Itoa(i)))
			model[key] = strconv.Itoa(i)
		case 2:
			update(t, s, key, func(old string, there bool) (string, bool) { return old + ".", there })
			if contains(model, key) {
				model[key] += "."
			}
		case 3:
			if _, err := s.Delete(t.Context(), []string{key}, func(_, v string) bool { return len(v)%2 == 0 }); err != nil {
				t.Fatal(err)
			}
			if len(model[key])%2 == 0 {
				delete(model, key)
			}
		}
	}
	var want []string
	for _, key := range slices.Sorted(maps.Keys(model)) {
		want = append(want, key+"="+model[key])
	}
	same(t, "at the end", dump(t, s, "", 99), want...)
}

func contains(m map[string]string, key string) bool { _, there := m[key]; return there }
