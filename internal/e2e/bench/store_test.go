//go:build e2e && bench

package bench

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"postoffice/internal/dbm/store"
)

// benchKeys is how many records the store has in which the benchmark reads and writes.
const benchKeys = 10_000_000

// benchTime is how long each kind of call is made.
const benchTime = 10 * time.Second

// TestBenchStore prints what the store of the greylist does with 10,000,000 records: look-ups
// and updates a second, each at a random key, by one client and by twenty, and how long they
// take; an update is on disk when it is counted. BENCH_KEYS is another number of records.
func TestBenchStore(t *testing.T) {
	if only := os.Getenv("BENCH"); only != "" && !strings.Contains(only, "s") {
		return
	}
	keys := benchKeys
	if n, err := strconv.Atoi(os.Getenv("BENCH_KEYS")); err == nil {
		keys = n
	}
	dir := filepath.Join(t.TempDir(), "store")
	began := time.Now()
	fillStore(t, dir, keys)
	fmt.Printf("store: %d records written in %.0f s, %s on disk\n", keys, time.Since(began).Seconds(), treeSize(t, dir))
	debug.FreeOSMemory()
	before := resident(t)
	began = time.Now()
	s, err := store.Open(dir, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	p := s.Part("greylist/")
	fmt.Printf("store: opened in %.0f ms (aim: less than 200)\n", float64(time.Since(began))/1e6)
	get := func() error {
		_, there, err := p.Get(context.Background(), benchKey(rand.IntN(keys)))
		if err == nil && !there {
			err = fmt.Errorf("a record is missing")
		}
		return err
	}
	update := func() error {
		return p.Update(context.Background(), benchKey(rand.IntN(keys)), func(old string, there bool) (string, bool) {
			allowed, _, _ := strings.Cut(old, " ")
			return fmt.Sprintf("%s %d", allowed, time.Now().UnixNano()/1000), true
		})
	}
	for _, c := range []struct {
		what    string
		clients int
		call    func() error
	}{{"look-ups", 1, get}, {"look-ups", 20, get}, {"updates", 1, update}, {"updates", 20, update}} {
		took := benchCalls(t, c.clients, c.call)
		fmt.Printf("store: %s by %d clients: %.0f a second, median %v, p99 %v (aim: less than 1ms), longest %v\n", c.what, c.clients,
			float64(len(took))/benchTime.Seconds(), took[len(took)/2], took[len(took)*99/100], took[len(took)-1])
	}
	runtime.GC()
	fmt.Printf("store: the process has grown by %.0f MiB (aim: less than 64)\n", float64(resident(t)-before)/(1<<20))
}

// benchKey is as long as a key of the greylist is.
func benchKey(n int) string {
	return fmt.Sprintf("sender%08d@host%03d.example.org@[192.0.%d.%d]", n*7919%100_000_000, n%1000, n>>8&255, n&255)
}

// fillStore writes records in no order.
func fillStore(t *testing.T, dir string, keys int) {
	t.Helper()
	s, err := store.Open(dir, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	p := s.Part("greylist/")
	var all sync.WaitGroup
	const writers = 32
	for w := range writers {
		all.Go(func() {
			some := map[string]string{}
			for n := w; n < keys; n += writers {
				some[benchKey(n)] = fmt.Sprintf("%d %d", 1700000000+n, 1700003600+n)
				if len(some) == 256 || n+writers >= keys {
					err := p.Put(context.Background(), some)
					for errors.Is(err, store.ErrLate) && !t.Failed() { // tables are merged meanwhile
						err = p.Put(context.Background(), some)
					}
					if err != nil {
						t.Error(err)
						return
					}
					clear(some)
				}
			}
		})
	}
	all.Wait()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// benchCalls makes calls for a while and returns how long each took, the shortest first.
func benchCalls(t *testing.T, clients int, call func() error) []time.Duration {
	t.Helper()
	took := make([][]time.Duration, clients)
	end := time.Now().Add(benchTime)
	var all sync.WaitGroup
	for c := range clients {
		all.Go(func() {
			for began := time.Now(); began.Before(end); {
				if err := call(); err != nil {
					t.Error(err)
					return
				}
				now := time.Now()
				took[c] = append(took[c], now.Sub(began))
				began = now
			}
		})
	}
	all.Wait()
	flat := slices.Concat(took...)
	slices.Sort(flat)
	if len(flat) == 0 {
		t.Fatal("no call was made")
	}
	return flat
}

// resident is the memory of this process, in octets.
func resident(t *testing.T) int64 {
	t.Helper()
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Fatal(err)
	}
	var size, pages int64
	if _, err := fmt.Sscan(string(text), &size, &pages); err != nil {
		t.Fatal(err)
	}
	return pages * int64(os.Getpagesize())
}

// treeSize is what the files of a directory have, in MiB.
func treeSize(t *testing.T, dir string) string {
	t.Helper()
	sum := int64(0)
	err := filepath.WalkDir(dir, func(_ string, e os.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		info, err := e.Info()
		if err == nil {
			sum += info.Size()
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%d MiB", sum>>20)
}
