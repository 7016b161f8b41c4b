package mailbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"postoffice/deliver/local"
	"postoffice/internal/account"
	"postoffice/internal/disk"
)

func TestWhoHasAMailboxA43(t *testing.T) {
	dir := t.TempDir()
	passwd := filepath.Join(dir, "passwd")
	write(t, passwd, "root:x:0:0::/root:\nalice:x:1001:1001::/home/alice:\ntoor:x:0:0::/root:\nx.lock:x:5:5::/:\n.hid:x:5:5::/:\na/b:x:5:5::/:\n")
	m := New(Options{FS: disk.OS(), Dir: filepath.Join(dir, "mail"), Accounts: account.Passwd(passwd)})
	for _, tt := range []struct {
		user, want string
		status     string
	}{
		{"nobody-here", "no such user", "bounced"},
		{"../passwd", "no such user", "bounced"},
		{"toor", "uid 0", "deferred"},
		{"x.lock", "kept for locks", "deferred"},
		{".hid", "begins with", "deferred"},
		{"a/b", "octet", "deferred"},
		{"root", "no such file", "deferred"}, // the mail directory is missing
	} {
		r := m.Deliver(t.Context(), local.Delivery{User: tt.user, Body: strings.NewReader("x")})
		if r.String() != tt.status || !strings.Contains(fmt.Sprint(r.Err), tt.want) {
			t.Errorf("%q: %v, %v, want %v with %q", tt.user, r.String(), r.Err, tt.status, tt.want)
		}
	}
	must(t, os.Remove(passwd))
	if r := m.Deliver(t.Context(), local.Delivery{User: "alice"}); r.String() != "deferred" {
		t.Errorf("without a passwd file: %v, want deferred (A36)", r)
	}
}

func TestDeliverEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBox(t, t.TempDir())
		write(t, b.path+".lock", "")
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		r := b.Deliver(ctx, local.Delivery{User: self.Name, Body: strings.NewReader("x")})
		if r.String() != "deferred" || !errors.Is(r.Err, context.DeadlineExceeded) {
			t.Errorf("while it waits: %v, %v", r.String(), r.Err)
		}
		synctest.Wait()
		must(t, os.Remove(b.path+".lock"))
		ctx, stop := context.WithCancelCause(t.Context())
		body := io.MultiReader(readerFunc(func([]byte) (int, error) { stop(errLocked); return 0, io.EOF }), strings.NewReader("From a\n"))
		r = b.Deliver(ctx, local.Delivery{User: self.Name, Body: body})
		b.want(t, "while it is written", r, "delivered", "From a\n")
	})
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func TestForeignThreadsError(t *testing.T) {
	b := newBox(t, t.TempDir())
	b.o.As = func(_ account.Account, _ int, f func() error) error { return syscall.EPERM }
	b.want(t, "ids can't be switched", b.deliver("x"), "deferred", "")
	b.o.As = func(_ account.Account, _ int, f func() error) error { return errors.Join(f(), syscall.EPERM) }
	b.want(t, "ids can't be switched back", b.deliver("From a\n"), "delivered", "From a\n")
}

// TestFullFileB43: a file that can't take the message whole is as it was.
func TestFullFileB43(t *testing.T) {
	b := newBox(t, t.TempDir())
	path := filepath.Join(filepath.Dir(b.path), "copy")
	put := func() local.Result {
		return b.AppendFile(t.Context(), self, path, func([]disk.Step) error { return nil }, strings.NewReader("From a\n\nx\n\n"))
	}
	file := func() string { text, _ := os.ReadFile(path); return string(text) }
	if r := put(); r.String() != "delivered" || r.Reply.Status != "2.0.0" {
		t.Errorf("before: %v, %v", r, r.Err)
	}
	for _, errno := range []syscall.Errno{syscall.ENOSPC, syscall.EDQUOT, syscall.EROFS, syscall.EIO} {
		b.f.write = func(p []byte) (int, error) { return len(p) / 2, errno }
		r := put()
		if r.String() != "deferred" || !strings.Contains(fmt.Sprint(r.Err), errno.Error()) || file() != "From a\n\nx\n\n" {
			t.Errorf("%v: %v %v %v, file %q", errno, r.String(), r.Reply, r.Err, file())
		}
	}
	b.f.write = nil
	if r := put(); r.String() != "delivered" || file() != "From a\n\nx\n\nFrom a\n\nx\n\n" {
		t.Errorf("after: %v, %v, file %q", r, r.Err, file())
	}
}
