package mailbox

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"

	"postoffice/deliver/local"
	"postoffice/internal/account"
	"postoffice/internal/disk"
	"postoffice/internal/testenv"
)

// TestMixedBatch: final and other messages of one batch; a .forward is looked
// for once for each detail.
func TestMixedBatch(t *testing.T) {
	testenv.NeedsRoot(t, "makes files of other users")
	synctest.Test(t, func(t *testing.T) {
		b := newBox(t, t.TempDir())
		a := self
		a.UID, a.Home = 4711, filepath.Dir(b.path)
		looks := &lookCounter{FS: disk.OS()}
		b.o.FS, b.o.Accounts = looks, account.Only(a)
		write(t, filepath.Join(a.Home, ".forward+x"), "")
		write(t, b.path, "")
		must(t, os.Chown(b.path, a.UID, -1))
		write(t, b.path+".lock", "")
		var results [8]local.Result
		var wg sync.WaitGroup
		for i := range results {
			wg.Go(func() {
				results[i] = b.Deliver(t.Context(), local.Delivery{
					User: a.Name, Body: strings.NewReader(fmt.Sprintf("From %d\n\n", i)),
					Final: i&1 != 0, Extension: []string{"", "x", "y"}[i>>1%3],
				})
			})
			synctest.Wait()
		}
		before := looks.n.Load()
		must(t, os.Remove(b.path+".lock"))
		wg.Wait()
		want := ""
		for i, r := range results {
			s := "delivered"
			if i == 2 {
				s = "forwarded"
			} else {
				want += fmt.Sprintf("From %d\n\n", i)
			}
			if r.String() != s {
				t.Errorf("message %d: %v, %v, want %v", i, r.String(), r.Err, s)
			}
		}
		if got, _ := os.ReadFile(b.path); string(got) != want {
			t.Errorf("mailbox %q, want %q", got, want)
		}
		if n := looks.n.Load() - before; n > 4 { // .forward, .forward+x, .forward+y, .forward
			t.Errorf("looked %d times for a .forward", n)
		}
	})
}

// TestRoomIsAskedForFirstA45: where there is none nothing is written, so that
// nothing has to be cut off; a disk that can't keep room is tried.
func TestRoomIsAskedForFirstA45(t *testing.T) {
	b := newBox(t, t.TempDir())
	b.deliver("From 0\n\n")
	b.f.truncate = syscall.EDQUOT // as Btrfs at its quota
	b.f.allocate = syscall.EDQUOT
	r := b.deliver("From 1\n\n")
	b.want(t, "no room", r, "deferred", "From 0\n\n")
	if r.Reply.Status != "4.2.2" || strings.Contains(b.log.String(), "left with a part") {
		t.Errorf("%v, log %s", r.Reply, b.log)
	}
	b.f.allocate = syscall.EOPNOTSUPP
	b.want(t, "not supported", b.deliver("From 2\n\n"), "delivered", "From 0\n\nFrom 2\n\n")
}

// lookCounter counts the looks for a .forward.
type lookCounter struct {
	disk.FS
	n atomic.Int64
}

type countingDir struct {
	disk.Dir
	n *atomic.Int64
}

func (l *lookCounter) OpenDir(path string) (disk.Dir, error) {
	d, err := l.FS.OpenDir(path)
	return countingDir{d, &l.n}, err
}

func (d countingDir) Lstat(name string) (disk.Info, error) {
	if strings.HasPrefix(name, forwardFile) {
		d.n.Add(1)
	}
	return d.Dir.Lstat(name)
}

func (d countingDir) RenameNoReplace(old string, to disk.Dir, name string) error {
	return d.Dir.RenameNoReplace(old, to.(countingDir).Dir, name)
}
