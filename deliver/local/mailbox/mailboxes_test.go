package mailbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"postoffice/deliver/local"
	"postoffice/internal/account"
	"postoffice/internal/disk"
	"postoffice/internal/testenv"
)

// self is the account of the test's user; only root may have uid 0 (A43).
var self = func() account.Account {
	a := account.Account{Name: "alice", UID: os.Getuid(), GID: os.Getgid()}
	if a.UID == 0 {
		a.Name = "root"
	}
	return a
}()

// box is a mail directory with one account, self.
type box struct {
	*Mailboxes
	f    *faults
	path string // self's mailbox
	log  *strings.Builder
}

func newBox(t *testing.T, dir string) *box {
	t.Helper()
	self := self
	self.Home = dir
	b := &box{f: &faults{FS: disk.OS()}, path: filepath.Join(dir, self.Name), log: &strings.Builder{}}
	b.Mailboxes = New(Options{
		FS:       b.f,
		Dir:      dir,
		Accounts: account.Only(self),
		LockWait: 100 * time.Millisecond,
		Log:      slog.New(slog.NewTextHandler(b.log, nil)),
	})
	return b
}

func (b *box) deliver(text string) local.Result {
	return b.Deliver(context.Background(), local.Delivery{User: self.Name, Body: strings.NewReader(text), Size: int64(len(text))})
}

func (b *box) want(t *testing.T, what string, r local.Result, s string, content string) {
	t.Helper()
	if r.String() != s || (s == "delivered") != (r.Err == nil) || r.Reply.Code == 0 {
		t.Errorf("%s: %v, %v, %v, want %v", what, r.String(), r.Reply, r.Err, s)
	}
	if got, _ := os.ReadFile(b.path); string(got) != content {
		t.Errorf("%s: mailbox %.200q, want %.200q", what, got, content)
	}
	if _, err := os.Lstat(b.path + ".lock"); err == nil {
		t.Errorf("%s: dot lock left behind", what)
	}
}

func mode(t *testing.T, path string) os.FileMode {
	t.Helper()
	info, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Mode()
}

func TestMailboxIsMade(t *testing.T) {
	for _, tt := range []struct{ dir, want os.FileMode }{
		{0o755, 0o600},
		{0o775, 0o660},
		{0o775 | os.ModeSetgid, 0o660},
		{0o777 | os.ModeSticky, 0o600}, // 1777: the group is everybody's
	} {
		dir := t.TempDir()
		if err := os.Chmod(dir, tt.dir); err != nil {
			t.Fatal(err)
		}
		b := newBox(t, dir)
		b.want(t, "first", b.deliver("From a\n\nx\n\n"), "delivered", "From a\n\nx\n\n")
		b.want(t, "second", b.deliver("From b\n\ny\n\n"), "delivered", "From a\n\nx\n\nFrom b\n\ny\n\n")
		if got := mode(t, b.path); got != tt.want {
			t.Errorf("in a directory of mode %v: %v, want %v", tt.dir, got, tt.want)
		}
		if s, d := b.f.syncs.Load(), b.f.dirSyncs.Load(); s != 2 || d != 1 {
			t.Errorf("%d syncs and %d of the directory, want 2 and 1", s, d)
		}
	}
}

// TestEmptyLineR10A27: a From_ line is always seen, whatever the mailbox ends
// in.
func TestEmptyLineR10A27(t *testing.T) {
	for _, tt := range []struct{ old, gap string }{
		{"", ""}, {"x\n\n", ""}, {"\n\n", ""}, {"x\n", "\n"}, {"\n", ""}, {"x", "\n\n"}, {"\n\nx", "\n\n"}, {"\x00\x00\x00", "\n\n"},
	} {
		b := newBox(t, t.TempDir())
		write(t, b.path, tt.old)
		b.want(t, fmt.Sprintf("%q", tt.old), b.deliver("From a\n"), "delivered", tt.old+tt.gap+"From a\n")
		b.want(t, fmt.Sprintf("%q", tt.old), b.deliver("From b\n"), "delivered", tt.old+tt.gap+"From a\n\nFrom b\n")
	}
}

func TestMailboxMustBeTheUsersA44(t *testing.T) {
	testenv.NeedsRoot(t, "makes files of other users")
	const secret = "secret\n"
	for _, tt := range []struct {
		name, want string
		make       func(t *testing.T, path, target string)
	}{
		{"symbolic link", "symbolic link", func(t *testing.T, path, target string) { must(t, os.Symlink(target, path)) }},
		{"dangling link", "symbolic link", func(t *testing.T, path, target string) { must(t, os.Symlink(target+".new", path)) }},
		{"hard link", "2 links", func(t *testing.T, path, target string) { must(t, os.Link(target, path)) }},
		{"FIFO", "not a regular file", func(t *testing.T, path, _ string) { must(t, syscall.Mkfifo(path, 0o666)) }},
		{"directory", "not a regular file", func(t *testing.T, path, _ string) { must(t, os.Mkdir(path, 0o777)) }},
		{"device", "symbolic link", func(t *testing.T, path, _ string) { must(t, os.Symlink("/dev/null", path)) }},
		{"executable", "executable", func(t *testing.T, path, _ string) { write(t, path, ""); must(t, os.Chmod(path, 0o700)) }},
	} {
		dir := t.TempDir()
		b := newBox(t, dir)
		target := filepath.Join(dir, "target")
		write(t, target, secret)
		tt.make(t, b.path, target)
		r := b.deliver("From a\n\n")
		if r.String() != "deferred" || !strings.Contains(fmt.Sprint(r.Err), tt.want) {
			t.Errorf("%s: %v, %v, want it deferred with %q", tt.name, r.String(), r.Err, tt.want)
		}
		if got, _ := os.ReadFile(target); string(got) != secret {
			t.Errorf("%s: the target was changed to %q", tt.name, got)
		}
		if _, err := os.Stat(target + ".new"); err == nil {
			t.Errorf("%s: a file was made", tt.name)
		}
	}
	b := newBox(t, t.TempDir())
	write(t, b.path, secret)
	b.o.Accounts = account.Only(account.Account{Name: self.Name, UID: os.Getuid() + 1})
	if r := b.deliver("x"); r.String() != "deferred" || !strings.Contains(fmt.Sprint(r.Err), "belongs to uid") {
		t.Errorf("another's file: %v, %v", r.String(), r.Err)
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	must(t, os.WriteFile(path, []byte(text), 0o644))
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestFailedAppendA45(t *testing.T) {
	const old = "From x\n\nold\n\n"
	for _, tt := range []struct {
		name   string
		errno  error
		set    func(f *faults, errno error)
		status string
	}{
		{"disk full", syscall.ENOSPC, shortWrite, "4.2.2"},
		{"quota", syscall.EDQUOT, shortWrite, "4.2.2"},
		{"too large", syscall.EFBIG, shortWrite, "4.2.2"},
		{"broken disk", syscall.EIO, shortWrite, "4.2.0"},
		{"sync", syscall.EIO, func(f *faults, e error) { f.sync = e }, "4.2.0"},
		{"late disk full", syscall.ENOSPC, func(f *faults, e error) { f.sync = e }, "4.2.2"},
		{"directory sync", syscall.EIO, func(f *faults, e error) { f.dirSync = e }, "4.2.0"},
	} {
		b := newBox(t, t.TempDir())
		write(t, b.path, old)
		tt.set(b.f, tt.errno)
		r := b.deliver("From a\n\n" + strings.Repeat("x", 300_000) + "\n\n")
		b.want(t, tt.name, r, "deferred", old)
		if r.Reply.Status != tt.status || !errors.Is(r.Err, tt.errno) {
			t.Errorf("%s: %v, %v, want status %s and %v", tt.name, r.Reply, r.Err, tt.status, tt.errno)
		}
		if n := b.f.syncs.Load(); n > 1 {
			t.Errorf("%s: synced %d times", tt.name, n)
		}
		b.f.write, b.f.sync, b.f.dirSync = nil, nil, nil
		b.want(t, tt.name+" mended", b.deliver("From a\n\n"), "delivered", old+"From a\n\n")
	}
}

// shortWrite lets a little of the second write through.
func shortWrite(f *faults, errno error) {
	n := 0
	f.write = func(p []byte) (int, error) {
		if n++; n > 1 {
			return min(10, len(p)), errno
		}
		return 0, nil
	}
}

func TestCutBackFailsA45(t *testing.T) {
	b := newBox(t, t.TempDir())
	shortWrite(b.f, syscall.ENOSPC)
	b.f.truncate = syscall.EIO
	r := b.deliver("From a\n\n" + strings.Repeat("x", 300_000))
	if r.String() != "deferred" || !strings.Contains(b.log.String(), "mailbox left with a part of a message") {
		t.Errorf("%v, log %q", r, b.log)
	}
}

// TestBatch: what waits together is written with one sync, and what breaks in
// it is cut back alone.
func TestBatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBox(t, t.TempDir())
		write(t, b.path+".lock", "")
		bodies := []io.Reader{
			strings.NewReader("From 0\n\n"),
			io.MultiReader(strings.NewReader("From 1\n"), iotest.ErrReader(errors.New("server died"))),
			strings.NewReader("From 2\n"),
			strings.NewReader(""),
			strings.NewReader("From 4\n\n" + strings.Repeat("y", 200_000)),
			io.MultiReader(strings.NewReader(strings.Repeat("z", 300_000)), iotest.ErrReader(io.ErrUnexpectedEOF)),
		}
		results := make([]local.Result, len(bodies))
		var wg sync.WaitGroup
		for i, body := range bodies {
			wg.Go(func() {
				results[i] = b.Deliver(t.Context(), local.Delivery{User: self.Name, Body: body})
			})
			synctest.Wait()
		}
		must(t, os.Remove(b.path+".lock"))
		wg.Wait()
		want := "From 0\n\nFrom 2\n\nFrom 4\n\n" + strings.Repeat("y", 200_000)
		if got, _ := os.ReadFile(b.path); string(got) != want {
			t.Errorf("mailbox %.60q, want %.60q", got, want)
		}
		for i, r := range results {
			if want := []string{"delivered", "deferred", "delivered", "deferred", "delivered", "deferred"}[i]; r.String() != want {
				t.Errorf("message %d: %v, %v, want %v", i, r.String(), r.Err, want)
			}
		}
		if s := b.f.syncs.Load(); s != 1 {
			t.Errorf("%d syncs for one batch", s)
		}
		synctest.Wait()
		if len(b.boxes) != 0 {
			t.Errorf("%d mailboxes still served", len(b.boxes))
		}
	})
}

func TestLocksA46(t *testing.T) {
	t.Run("dot lock held", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b := newBox(t, t.TempDir())
			b.o.LockWait = lockWait
			write(t, b.path+".lock", "0")
			start := time.Now()
			r := b.deliver("From a\n")
			if r.String() != "deferred" || !errors.Is(r.Err, errLocked) {
				t.Errorf("%v, %v, want it deferred as locked", r.String(), r.Err)
			}
			if d := time.Since(start); d < 55*time.Second || d > lockWait {
				t.Errorf("waited %v, want about %v", d, lockWait)
			}
		})
	})
	for _, tt := range []struct {
		deliveries int64
		min, max   time.Duration
	}{{maxQuietMail - 1, 55 * time.Second, lockWait}, {maxQuietMail, time.Second, 2 * time.Second}} {
		t.Run(fmt.Sprint("dot lock held, deliveries ", tt.deliveries), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBox(t, t.TempDir())
				b.o.LockWait = lockWait
				write(t, b.path+".lock", "0")
				start := time.Now()
				var wg sync.WaitGroup
				for range tt.deliveries {
					wg.Go(func() {
						if r := b.deliver("From a\n"); r.String() != "deferred" || !errors.Is(r.Err, errLocked) {
							t.Errorf("%v, %v, want it deferred as locked", r.String(), r.Err)
						}
						if d := time.Since(start); d < tt.min || d > tt.max {
							t.Errorf("waited %v, want %v to %v", d, tt.min, tt.max)
						}
					})
				}
				wg.Wait()
			})
		})
	}
	t.Run("fcntl lock held", func(t *testing.T) {
		b := newBox(t, t.TempDir())
		write(t, b.path, "")
		dir, err := disk.OS().OpenDir(filepath.Dir(b.path))
		must(t, err)
		defer dir.Close()
		reader, err := dir.Open(self.Name, disk.ReadWrite)
		must(t, err)
		if ok, err := reader.TryLockRecord(); !ok || err != nil {
			t.Fatal(ok, err)
		}
		if r := b.deliver("From a\n"); !errors.Is(r.Err, errLocked) {
			t.Errorf("%v, %v, want it deferred as locked", r.String(), r.Err)
		}
		must(t, reader.Close())
		b.want(t, "unlocked", b.deliver("From a\n"), "delivered", "From a\n")
	})
	t.Run("no right to make a dot lock", func(t *testing.T) {
		b := newBox(t, t.TempDir())
		write(t, b.path, "")
		b.f.create = syscall.EACCES
		b.want(t, "EACCES", b.deliver("From a\n"), "delivered", "From a\n")
	})
}

func TestStaleLocksA46(t *testing.T) {
	long := time.Now().Add(-10 * time.Minute)
	us := ourselves()
	signed := func(boot, ns string) string { return lockOwner{77777, boot, ns, "5"}.String() }
	for _, tt := range []struct {
		name, text string
		age        time.Time
		alive      bool
		broken     bool
	}{
		{"fresh", "77777", time.Now(), false, false},
		{"old and alive", "77777", long, true, false},
		{"old and dead", "77777\n", long, false, true},
		{"old without a number", "", long, true, true},
		{"old, number of another kind", "host:12", long, true, true},
		{"old and ours", fmt.Sprint(os.Getpid()), long, true, true},
		{"fresh and ours", us.String(), time.Now(), true, false},
		{"old, signed and ours", us.String(), long, true, true},
		{"signed, dead", signed(us.boot, us.pidNS), time.Now(), false, true},
		{"signed, alive for long", signed(us.boot, us.pidNS), long, true, false},
		{"signed in another boot", signed("b", us.pidNS), time.Now(), false, false},
		{"signed in another namespace", signed(us.boot, "n"), time.Now(), false, false},
		{"signed in another boot, old", signed("b", us.pidNS), long, true, true},
		{"signed by nobody", "77777 postoffice", time.Now(), false, false},
		{"from the future", "77777", time.Now().Add(time.Hour), false, false},
	} {
		b := newBox(t, t.TempDir())
		b.alive = func(lockOwner) bool { return tt.alive }
		write(t, b.path+".lock", tt.text)
		must(t, os.Chtimes(b.path+".lock", tt.age, tt.age))
		r := b.deliver("From a\n")
		if (r.String() == "delivered") != tt.broken {
			t.Errorf("%s: %v, %v, want broken %v", tt.name, r.String(), r.Err, tt.broken)
		}
	}
	for _, tt := range []struct {
		h    lockOwner
		want bool
	}{
		{us, true},
		{lockOwner{pid: us.pid}, true},
		{lockOwner{us.pid, us.boot, us.pidNS, "1"}, false}, // the number was given anew
		{lockOwner{pid: 1}, true},
		{lockOwner{pid: 1 << 30}, false},
	} {
		if tt.h.alive() != tt.want || parseLockOwner(tt.h.String()) != tt.h {
			t.Errorf("%+v: alive %v, want %v; read back %+v", tt.h, tt.h.alive(), tt.want, parseLockOwner(tt.h.String()))
		}
	}
}

// TestLockLeftBehindA46: a lock that could not be removed is waited for by
// others alone. The next message finds it gone, or says why it stays.
func TestLockLeftBehindA46(t *testing.T) {
	b := newBox(t, t.TempDir())
	b.f.unlink = syscall.EIO
	if r := b.deliver("From a\n\n"); r.String() != "delivered" || !strings.Contains(b.log.String(), "dot lock not removed") {
		t.Errorf("%v, %v, log %s", r.String(), r.Err, b.log)
	}
	if r := b.deliver("From b\n\n"); r.String() != "deferred" || !strings.Contains(fmt.Sprint(r.Err), "remove stale") {
		t.Errorf("while it can't be removed: %v, %v", r.String(), r.Err)
	}
	other := newBox(t, filepath.Dir(b.path))
	if r := other.deliver("From c\n\n"); r.String() != "deferred" || !strings.Contains(fmt.Sprint(r.Err), "locked by another") {
		t.Errorf("another process: %v, %v", r.String(), r.Err)
	}
	b.f.unlink = nil
	b.want(t, "afterwards", b.deliver("From d\n\n"), "delivered", "From a\n\nFrom d\n\n")
	if len(b.left) > 0 {
		t.Errorf("%d locks are remembered", len(b.left))
	}
	write(t, b.path+".lock", b.self.String()) // as another Mailboxes with our number would
	if r := b.deliver("From e\n\n"); r.String() != "deferred" {
		t.Errorf("a lock that is not known: %v, %v", r.String(), r.Err)
	}
}

// TestParallelA46: two processes' worth of writers, 50 messages of 100 kB.
func TestParallelA46(t *testing.T) {
	dir := t.TempDir()
	boxes := []*box{newBox(t, dir), newBox(t, dir)}
	boxes[0].o.LockWait, boxes[1].o.LockWait = lockWait, lockWait
	var wg sync.WaitGroup
	for i := range 50 {
		b := boxes[i%2]
		wg.Go(func() {
			text := fmt.Sprintf("From %d\n\n%s\n\n", i, strings.Repeat(string(rune('A'+i)), 100_000))
			if r := b.deliver(text); r.String() != "delivered" {
				t.Errorf("message %d: %v, %v", i, r.String(), r.Err)
			}
		})
	}
	wg.Wait()
	got, _ := os.ReadFile(boxes[0].path)
	for i := range 50 {
		text := fmt.Sprintf("From %d\n\n%s\n\n", i, strings.Repeat(string(rune('A'+i)), 100_000))
		if n := strings.Count(string(got), text); n != 1 {
			t.Errorf("message %d is there %d times", i, n)
		}
	}
}
