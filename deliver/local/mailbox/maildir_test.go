package mailbox

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"
	"time"

	"postoffice/deliver/local"
	"postoffice/internal/account"
)

// newMaildir is a box whose mail goes to ~/Maildir/, and whose names are always
// the same at a time.
func newMaildir(t *testing.T) (b *box, path string) {
	t.Helper()
	b = newBox(t, t.TempDir())
	b.o.Mailbox = "~/Maildir/"
	b.now = func() time.Time { return time.Unix(1_000_000_000, 42_000) }
	b.random = func() uint64 { return 7 }
	b.host = "h"
	return b, filepath.Join(filepath.Dir(b.path), "Maildir")
}

// inDir reads all files of a directory by name.
func inDir(t *testing.T, path string) map[string]string {
	t.Helper()
	all := map[string]string{}
	entries, err := os.ReadDir(path)
	must(t, err)
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(path, e.Name()))
		must(t, err)
		all[e.Name()] = string(b)
	}
	return all
}

// TestFrozenClockA47: with the clock frozen, one process number and no luck
// with random numbers, no message takes another's place.
func TestFrozenClockA47(t *testing.T) {
	b, path := newMaildir(t)
	for i := range 3 {
		b.count.Store(0)
		if r := b.deliver(fmt.Sprintf("Subject: %d\n", i)); r.String() != "delivered" {
			t.Errorf("message %d: %v, %v", i, r.String(), r.Err)
		}
	}
	got := inDir(t, filepath.Join(path, "new"))
	for i := range 3 {
		name := fmt.Sprintf("1000000000.M000042P%dQ%dR0000000000000007.h,S=11", os.Getpid(), i+1)
		if text := fmt.Sprintf("Subject: %d\n", i); got[name] != text {
			t.Errorf("%s: %q, want %q", name, got[name], text)
		}
	}
	if tmp := inDir(t, filepath.Join(path, "tmp")); len(got) != 3 || len(tmp) != 0 {
		t.Errorf("new %v, tmp %v", got, tmp)
	}
	for i := range 2 * nameTries {
		write(t, filepath.Join(path, "tmp", fmt.Sprintf("1000000000.M000042P%dQ%dR0000000000000007.h", os.Getpid(), i+1)), "other's")
	}
	b.count.Store(0)
	if r := b.deliver("Subject: 4\n"); r.String() != "deferred" || !errors.Is(r.Err, errNoName) {
		t.Errorf("without a free name: %v, %v", r.String(), r.Err)
	}
}

// TestFailedStoreA47: what fails leaves nothing, in tmp/ nor in new/.
func TestFailedStoreA47(t *testing.T) {
	for _, tt := range []struct {
		name   string
		errno  error
		set    func(f *faults, errno error)
		status string
	}{
		{"disk full", syscall.ENOSPC, shortWrite, "4.2.2"},
		{"quota", syscall.EDQUOT, shortWrite, "4.2.2"},
		{"broken disk", syscall.EIO, shortWrite, "4.2.0"},
		{"no inode", syscall.ENOSPC, func(f *faults, e error) { f.create = e }, "4.2.2"},
		{"read-only", syscall.EROFS, func(f *faults, e error) { f.create = e }, "4.2.0"},
		{"sync", syscall.EIO, func(f *faults, e error) { f.sync = e }, "4.2.0"},
		{"late disk full", syscall.ENOSPC, func(f *faults, e error) { f.sync = e }, "4.2.2"},
		{"directory sync", syscall.EIO, func(f *faults, e error) { f.dirSync = e }, "4.2.0"},
	} {
		b, path := newMaildir(t)
		if r := b.deliver("old"); r.String() != "delivered" {
			t.Fatal(r)
		}
		tt.set(b.f, tt.errno)
		r := b.deliver("new" + strings.Repeat("x", 300_000))
		if r.String() != "deferred" || r.Reply.Status != tt.status || !errors.Is(r.Err, tt.errno) {
			t.Errorf("%s: %v, %v, %v", tt.name, r.String(), r.Reply, r.Err)
		}
		if fresh, tmp := inDir(t, filepath.Join(path, "new")), inDir(t, filepath.Join(path, "tmp")); len(fresh) != 1 || len(tmp) != 0 {
			t.Errorf("%s: new %.200v, tmp %.200v", tt.name, fresh, tmp)
		}
		b.f.write, b.f.create, b.f.sync, b.f.dirSync = nil, nil, nil, nil
		if r := b.deliver("again"); r.String() != "delivered" || len(inDir(t, filepath.Join(path, "new"))) != 2 {
			t.Errorf("%s mended: %v, %v", tt.name, r.String(), r.Err)
		}
	}
}

// TestMaildirBatch: one sync of new/ for what waits together; a message that
// breaks off concerns no other.
func TestMaildirBatch(t *testing.T) {
	b, path := newMaildir(t)
	a, at := b.selfsPlace(t)
	var jobs []*job
	for _, body := range []io.Reader{
		strings.NewReader("one\n"),
		io.MultiReader(strings.NewReader("two\n"), iotest.ErrReader(errServerDied)),
		strings.NewReader(""),
		strings.NewReader("four\n"),
	} {
		jobs = append(jobs, &job{d: local.Delivery{User: a.Name, Body: body}, result: make(chan local.Result, 1)})
	}
	must(t, b.write(a, at, &waiting{jobs: slices.Clone(jobs)}, nil))
	for i, want := range []string{"delivered", "deferred", "deferred", "delivered"} {
		if r := <-jobs[i].result; r.String() != want {
			t.Errorf("message %d: %v, %v, want %v", i, r.String(), r.Err, want)
		}
	}
	all := ""
	for _, text := range inDir(t, filepath.Join(path, "new")) {
		all += text
	}
	if (all != "one\nfour\n" && all != "four\none\n") || len(inDir(t, filepath.Join(path, "tmp"))) != 0 {
		t.Errorf("stored %q", all)
	}
	// new/; then, once, the Maildir's name and those in it.
	if s, d := b.f.syncs.Load(), b.f.dirSyncs.Load(); s != 2 || d != 3 {
		t.Errorf("%d syncs and %d of directories, want 2 and 3", s, d)
	}
}

func (b *box) selfsPlace(t *testing.T) (account.Account, place) {
	t.Helper()
	a, err := b.o.Accounts.Lookup(t.Context(), self.Name)
	must(t, err)
	at, err := b.place(a, "")
	must(t, err)
	return a, at
}

// TestOldFilesInTmpA47: what a killed process of ours left there goes after 36
// hours, anything else stays.
func TestOldFilesInTmpA47(t *testing.T) {
	b, path := newMaildir(t)
	b.now = time.Now
	b.deliver("one")
	ours := b.uniqueName()
	for name, age := range map[string]time.Duration{
		ours: 37 * time.Hour, b.uniqueName(): 35 * time.Hour, "1.M2P3Q4R5.other": 40 * time.Hour,
		"1.M2P3.h": 40 * time.Hour, "x.h": 40 * time.Hour, "a": 1000 * time.Hour,
	} {
		file := filepath.Join(path, "tmp", name)
		write(t, file, "")
		at := time.Now().Add(-age)
		must(t, os.Chtimes(file, at, at))
	}
	b.deliver("two")
	if got := inDir(t, filepath.Join(path, "tmp")); len(got) != 6 {
		t.Errorf("looked twice within %v: %v", cleanWait, got)
	}
	b.now = func() time.Time { return time.Now().Add(cleanWait / 100) }
	clear(b.cleaned)
	b.deliver("three")
	got := inDir(t, filepath.Join(path, "tmp"))
	if _, there := got[ours]; there || len(got) != 5 {
		t.Errorf("left: %v", got)
	}
}

func TestHostInNamesA47(t *testing.T) {
	for host, want := range map[string]string{
		"a.example": "a.example", "a/b:c,d": `a\057b\072c\054d`, "": "localhost", "\n \x80": "localhost",
		strings.Repeat("x", 300): strings.Repeat("x", 100),
	} {
		if got := hostInNames(host); got != want {
			t.Errorf("%q: %q, want %q", host, got, want)
		}
	}
}
