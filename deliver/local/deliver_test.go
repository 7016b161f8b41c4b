package local

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

	"postoffice/internal/disk"
)

func TestWhoHasAMailboxA43(t *testing.T) {
	dir := t.TempDir()
	passwd := filepath.Join(dir, "passwd")
	write(t, passwd, passwdText+"x.lock:x:5:5::/:\n.hid:x:5:5::/:\na/b:x:5:5::/:\n")
	m := NewMailboxes(Options{FS: disk.OS(), Dir: filepath.Join(dir, "mail"), Accounts: Passwd(passwd)})
	for _, tt := range []struct {
		user, want string
		status     Status
	}{
		{"nobody-here", "no such user", Refused},
		{"../passwd", "no such user", Refused},
		{"toor", "uid 0", Deferred},
		{"x.lock", "kept for locks", Deferred},
		{".hid", "begins with", Deferred},
		{"a/b", "octet", Deferred},
		{"root", "no such file", Deferred}, // the mail directory is missing
	} {
		r := m.Deliver(t.Context(), Delivery{User: tt.user, Body: strings.NewReader("x")})
		if r.Status != tt.status || !strings.Contains(fmt.Sprint(r.Err), tt.want) {
			t.Errorf("%q: %v, %v, want %v with %q", tt.user, r.Status, r.Err, tt.status, tt.want)
		}
	}
	must(t, os.Remove(passwd))
	if r := m.Deliver(t.Context(), Delivery{User: "alice"}); r.Status != Deferred {
		t.Errorf("without a passwd file: %v, want deferred (A36)", r)
	}
}

func TestDeliverEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBox(t, t.TempDir())
		write(t, b.path+".lock", "")
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		r := b.Deliver(ctx, Delivery{User: self.Name, Body: strings.NewReader("x")})
		if r.Status != Deferred || !errors.Is(r.Err, context.DeadlineExceeded) {
			t.Errorf("while it waits: %v, %v", r.Status, r.Err)
		}
		synctest.Wait()
		must(t, os.Remove(b.path+".lock"))
		ctx, stop := context.WithCancelCause(t.Context())
		body := io.MultiReader(readerFunc(func([]byte) (int, error) { stop(errLocked); return 0, io.EOF }), strings.NewReader("From a\n"))
		r = b.Deliver(ctx, Delivery{User: self.Name, Body: body})
		b.want(t, "while it is written", r, Delivered, "From a\n")
	})
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func TestForeignThreadsError(t *testing.T) {
	b := newBox(t, t.TempDir())
	b.o.As = func(_ Account, _ int, f func() error) error { return syscall.EPERM }
	b.want(t, "ids can't be switched", b.deliver("x"), Deferred, "")
	b.o.As = func(_ Account, _ int, f func() error) error { return errors.Join(f(), syscall.EPERM) }
	b.want(t, "ids can't be switched back", b.deliver("From a\n"), Delivered, "From a\n")
}
