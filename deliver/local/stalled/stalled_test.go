package stalled

import (
	"errors"
	"io/fs"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

const mountTable = `22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 22 0:40 / /net/a rw - nfs4 a:/ rw
31 22 0:41 / /net/with\040blank rw - nfs4 b:/ rw
32 22 8:17 / /disk rw - xfs /dev/sdb1 rw
33 30 0:42 / /net/a/deep rw - fuse.x x rw
not a mount
34 22 0:43 / /net/a/deep rw - fuse.y y rw
`

// TestSystemOf: the file system of a path is found without asking any but those
// on this machine's disks.
func TestSystemOf(t *testing.T) {
	links := map[string]string{"/home": "net/a", "/srv": "/home/x", "/loop": "loop", "/net/a/link": "/disk", "/disk/link": "../srv/y"}
	p := New(func() string { return mountTable })
	p.mounts.readLink = func(path string) (string, error) {
		if strings.HasPrefix(path, "/net/a/") || strings.HasPrefix(path, "/net/with") {
			t.Errorf("%s was looked at", path)
		}
		if target, ok := links[path]; ok {
			return target, nil
		}
		return "", fs.ErrNotExist
	}
	for name, want := range map[string]string{
		"/":                       "8:1",
		"/root/x":                 "8:1",
		"/net/a/alice":            "0:40",
		"/net/ab/alice":           "8:1",
		"/net/with blank/x":       "0:41",
		"/net/a/deep/er":          "0:43",
		"/home/alice":             "0:40",
		"/home/../disk/x":         "8:1", // net/a/../disk is net/disk
		"/home/deep/alice":        "0:43",
		"/srv":                    "0:40",
		"/net/a/link/x":           "0:40",
		"/disk/link":              "0:40",
		"/loop/x":                 "8:1",
		"/disk":                   "8:17",
		strings.Repeat("/x", 200): "8:1",
	} {
		p.mu.Lock()
		if got := p.system(name); got.dev != want {
			t.Errorf("%s: %+v, want %s", name, got, want)
		}
		p.mu.Unlock()
	}
	p = New(func() string { return "" })
	if a, b, c := p.system("/home/alice"), p.system("/home/bob"), p.system("/srv/bob"); a != b || b == c {
		t.Errorf("without a table: %v, %v, %v", a, b, c)
	}
}

// TestSlowIsNotStalled: on a file system that is slow and answers nobody is
// refused, and no more work there at once than there are places in a time of trouble, beside those that were left behind.
func TestSlowIsNotStalled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New(func() string { return mountTable })
		var g sync.WaitGroup
		var now, most, refused atomic.Int64
		for n := range 1000 {
			g.Go(func() {
				p.Do(Work{
					Ways:    []string{"/net/a/alice"},
					Crowded: func() bool { return true },
					Refuse:  func(error) bool { refused.Add(1); return true },
					Do: func(at *Place) error {
						most.Store(max(most.Load(), now.Add(1)))
						time.Sleep(time.Duration(50+n%16*75) * time.Millisecond) // up to 1.2 s
						now.Add(-1)
						return nil
					},
				})
			})
		}
		g.Wait()
		if refused.Load() > 0 || most.Load() > MaxInTrouble+MaxWorking+MaxPerSystem {
			t.Errorf("%d refused, %d at once", refused.Load(), most.Load())
		}
		if p.all != 0 || p.busy != 0 || len(p.left)+len(p.trying)+len(p.answered)+len(p.line) > 0 || p.trouble.Load() {
			t.Errorf("afterwards: %+v", p)
		}
	})
}

// TestPatience: where nobody needs the room, what waits does so for half a
// minute, then it is refused; and what was begun is done.
func TestPatience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New(func() string { return mountTable })
		start, release := time.Now(), make(chan struct{})
		var g sync.WaitGroup
		for range MaxPerSystem + 3 {
			g.Go(func() {
				var after time.Duration
				began := false
				p.Do(Work{
					Ways:    []string{"/net/a/alice"},
					Crowded: func() bool { return false },
					Refuse: func(err error) bool {
						if after == 0 {
							after = time.Since(start)
						}
						if !errors.Is(err, ErrStalled) || !strings.Contains(err.Error(), "mounted at /net/a") {
							t.Error(err)
						}
						return true
					},
					Do: func(*Place) error { began = true; <-release; return nil },
				})
				if after < LongWait || after > LongWait+time.Second {
					t.Errorf("refused after %v, begun: %v", after, began)
				}
			})
		}
		time.Sleep(2 * LongWait)
		close(release)
		g.Wait()
	})
}
