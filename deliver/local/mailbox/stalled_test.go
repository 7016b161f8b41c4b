package mailbox

import (
	"context"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"postoffice/deliver/local"
	"postoffice/deliver/local/stalled"
	"postoffice/deliver/outcome"
	"postoffice/internal/account"
	"postoffice/internal/disk"
)

// hanging is a file system on which calls below some directories hang: whoever
// opens a home there waits until it is released.
type hanging struct {
	disk.FS
	dead    atomic.Bool
	release chan struct{}
	inside  atomic.Int64 // calls that hang
}

func (h *hanging) OpenDir(path string) (disk.Dir, error) {
	if h.dead.Load() && strings.HasPrefix(path, "/net") {
		h.inside.Add(1)
		<-h.release
		h.inside.Add(-1)
		return nil, syscall.EIO
	}
	d, err := h.FS.OpenDir(path)
	return ownedDir{d}, err
}

// ownedDir says that all files are the accounts'.
type ownedDir struct{ disk.Dir }

func (d ownedDir) Create(name string, mode fs.FileMode) (disk.File, error) {
	f, err := d.Dir.Create(name, mode)
	return ownedFile{f}, err
}

func (d ownedDir) Open(name string, a disk.Access) (disk.File, error) {
	f, err := d.Dir.Open(name, a)
	return ownedFile{f}, err
}

func (d ownedDir) RenameNoReplace(old string, to disk.Dir, name string) error {
	return d.Dir.RenameNoReplace(old, to.(ownedDir).Dir, name)
}

type ownedFile struct{ disk.File }

func (f ownedFile) Stat() (disk.Info, error) {
	info, err := f.File.Stat()
	info.UID = 5000
	return info, err
}

// homes are accounts whose homes are where their names say: "net1-7" is /net/1/7.
type homes struct{}

func (homes) Lookup(_ context.Context, name string) (account.Account, error) {
	a := account.Account{Name: name, UID: 5000, GID: 5000, Home: noHome}
	if server, n, ok := strings.Cut(name, "-"); ok {
		a.Home = "/" + server + "/" + n
	}
	return a, nil
}

// hangingMail are Mailboxes with n file servers that are dead, at /net1 to
// /netN; in a synctest bubble.
func hangingMail(t *testing.T, servers int) (*Mailboxes, *hanging) {
	h := &hanging{FS: disk.OS(), release: make(chan struct{})}
	h.dead.Store(true)
	var mounts strings.Builder
	fmt.Fprintln(&mounts, "22 1 8:1 / / rw - ext4 /dev/sda1 rw")
	for n := range servers {
		fmt.Fprintf(&mounts, "%d 22 0:%d / /net%d rw - nfs4 server:/%d rw\n", 100+n, 100+n, n, n)
	}
	dir := t.TempDir()
	m := New(Options{FS: h, Dir: dir, Accounts: homes{}, Mounts: mounts.String, As: func(a account.Account, _ int, f func() error) error { return f() }})
	return m, h
}

const letterText = "From a\n\nx\n\n"

// deliver starts a delivery and tells what came first: its result, or that it hangs.
func (h *hanging) deliver(m *Mailboxes, user string, g *sync.WaitGroup, tell func(local.Result)) {
	g.Go(func() {
		d := local.Delivery{User: user, Body: strings.NewReader(letterText), Size: -1}
		var once sync.Once
		res := m.DeliverOr(context.Background(), d, func(r local.Result) { once.Do(func() { tell(r) }) })
		once.Do(func() { tell(res) })
	})
}

// TestA39HungHomes: 256 messages, as many as a server has under way, for users
// whose homes hang, on one file server or on one each: all are deferred, with
// words, and others' mail is written within 2 s; so it is for the next 1,000.
// 8 and what was begun in the first second hang on one file system, 256 and one
// round in all.
func TestA39HungHomes(t *testing.T) {
	for _, servers := range []int{1, 300} {
		synctest.Test(t, func(t *testing.T) {
			m, h := hangingMail(t, servers)
			m.o.Dir = t.TempDir()
			var g sync.WaitGroup
			var deferred atomic.Int64
			words := func(r local.Result) {
				if r.Action == outcome.Deferred && r.Err != nil && strings.Contains(r.Err.Error(), "file system does not answer") {
					deferred.Add(1)
				} else {
					t.Errorf("%v, %v", r, r.Err)
				}
			}
			hung, began := int64(0), time.Now()
			for round := range 5 {
				for range 256 { // what Link.deliveries lets through
					h.deliver(m, fmt.Sprintf("net%d-%d", int(hung)%servers, hung), &g, words)
					hung++
				}
				others, start := make(chan local.Result, 100), time.Now()
				for n := range cap(others) {
					h.deliver(m, fmt.Sprint("other", n), &g, func(r local.Result) { others <- r })
				}
				for range cap(others) {
					if r := <-others; r.Action != outcome.Delivered {
						t.Errorf("another's mail: %v, %v", r, r.Err)
					}
				}
				if took := time.Since(start); took > 2*time.Second {
					t.Errorf("%d servers, round %d: others' mail took %v", servers, round, took)
				}
				time.Sleep(2 * time.Second)
			}
			most := int64(stalled.MaxPerSystem + stalled.MaxWorking)
			if servers > 1 {
				most = stalled.MaxLeft + stalled.MaxInTrouble
			}
			if n := h.inside.Load(); n > most {
				t.Errorf("%d servers: %d calls hang, want %d at most", servers, n, most)
			}
			time.Sleep(stalled.LongWait)
			if deferred.Load() != hung {
				t.Errorf("%d servers: %d of %d deferred after %v", servers, deferred.Load(), hung, time.Since(began))
			}
			close(h.release)
			g.Wait()
		})
	}
}

// TestA39HungQuestions: whether there is a .forward is not known, and others are
// answered.
func TestA39HungQuestions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, h := hangingMail(t, 1)
		var g sync.WaitGroup
		start := time.Now()
		for n := range 16 { // what Link.lookups lets through
			g.Go(func() {
				if _, err := m.Forwards(t.Context(), fmt.Sprint("net0-", n), ""); err == nil || !strings.Contains(err.Error(), "does not answer") {
					t.Errorf("%v", err)
				}
			})
		}
		g.Wait()
		if yes, err := m.Forwards(t.Context(), "other", ""); yes || err != nil {
			t.Errorf("%v, %v", yes, err)
		}
		if took := time.Since(start); took > 2*time.Second+stalled.LongWait { // fewer than 8 are in nobody's way
			t.Errorf("answered after %v", took)
		}
		close(h.release)
	})
}

// TestHungAndBack: what hung goes on when its file system answers again: mail is
// written once, and the places are as before.
func TestHungAndBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, h := hangingMail(t, 1)
		var g sync.WaitGroup
		results := make(chan local.Result, 200)
		for n := range cap(results) {
			h.deliver(m, fmt.Sprint("net0-", n), &g, func(r local.Result) { results <- r })
		}
		for range cap(results) {
			<-results
		}
		h.dead.Store(false)
		close(h.release)
		g.Wait()
		start := time.Now()
		for n := range cap(results) {
			h.deliver(m, fmt.Sprint("other", n), &g, func(r local.Result) { results <- r })
		}
		for range cap(results) {
			if r := <-results; r.Action != outcome.Delivered {
				t.Errorf("%v, %v", r, r.Err)
			}
		}
		if took := time.Since(start); took > time.Second {
			t.Errorf("took %v", took)
		}
		g.Wait()
		if names, err := filepath.Glob(filepath.Join(m.o.Dir, "net0*")); len(names) > 0 || err != nil {
			t.Errorf("%q, %v: deferred, and written", names, err)
		}
	})
}
