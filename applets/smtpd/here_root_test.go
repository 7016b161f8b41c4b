//go:build e2e

package smtpd

import (
	"context"
	"fmt"
	"net"
	"net/textproto"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"postoffice/internal/testenv"
)

// TestSharesByTCPReal: with real sockets of two users, one who asks for all sessions by
// TCP from this machine gets a quarter, by whatever address, and another one theirs.
func TestSharesByTCPReal(t *testing.T) {
	testenv.NeedsRoot(t, "makes sockets of other users")
	o := options(&memQueue{})
	o.Programs, o.Clients = 40, 20
	s := New(o)
	l, err := net.Listen("tcp", "[::]:0")
	if err != nil {
		t.Fatal(err)
	}
	end := make(chan error, 1)
	go func() { end <- s.Serve(context.Background(), l, Relay) }()
	t.Cleanup(func() {
		if err := s.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
		if err := <-end; err != nil {
			t.Error(err)
		}
	})
	port := l.Addr().(*net.TCPAddr).Port
	served := func(uid int, address string, tries int) (n int) {
		for range tries {
			c := textproto.NewConn(asUser(t, uid, fmt.Sprintf(address, port)))
			code, _, err := c.ReadResponse(0)
			switch {
			case err != nil && code != 421:
				t.Fatal(err)
			case code == 220:
				n++
				t.Cleanup(func() { c.Close() })
			default:
				c.Close()
			}
		}
		return n
	}
	for _, tt := range []struct {
		uid         int
		address     string
		tries, want int
	}{
		{64990, "127.0.0.1:%d", 6, 6},
		{64990, "127.9.9.9:%d", 6, 4},
		{64990, "[::1]:%d", 6, 0},
		{64991, "[::1]:%d", 20, 7},
		{64992, "127.0.0.1:%d", 1, 1},
		{0, "127.0.0.1:%d", 10, 10},
	} {
		if got := served(tt.uid, tt.address, tt.tries); got != tt.want {
			t.Errorf("uid %d at %s: %d sessions of %d, want %d", tt.uid, tt.address, got, tt.tries, tt.want)
		}
	}
}

// asUser connects with a socket that a user has made, as the kernel sees it: a socket is
// its maker's file.
func asUser(t *testing.T, uid int, address string) net.Conn {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if _, err := unix.SetfsuidRetUid(uid); err != nil {
		t.Fatal(err)
	}
	defer unix.SetfsuidRetUid(0)
	c, err := net.Dial("tcp", address) // an address in numbers: it is dialed on this thread
	if err != nil {
		t.Fatal(err)
	}
	return c
}
