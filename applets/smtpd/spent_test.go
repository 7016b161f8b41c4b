package smtpd

import (
	"context"
	"io"
	"log/slog"
	"net"
	"testing"
	"time"

	"postoffice/internal/testenv"
)

// TestSpent: a server is spent when as many as a crowd had sessions at one time, nobody has
// one, and no login was refused in the last hour. Settle waits for those who have one.
func TestSpent(t *testing.T) {
	o := options(discardQueue{})
	o.Clients, o.Programs = 2*crowd, 8*crowd
	o.Log = slog.New(slog.NewTextHandler(io.Discard, nil))
	s := New(o)
	gather := func(n int) (leave func()) {
		var clients []net.Conn
		for range n {
			conn, _ := peerOf(s, Relay, strangerAddr)
			go io.Copy(io.Discard, conn)
			clients = append(clients, conn)
		}
		if !testenv.Eventually(func() bool { s.mu.Lock(); defer s.mu.Unlock(); return len(s.wires) == n }) {
			t.Fatal("the crowd doesn't come")
		}
		return func() {
			for _, c := range clients {
				c.Close()
			}
		}
	}
	settled := func(want bool) {
		t.Helper()
		ctx, cancel := context.WithCancel(t.Context())
		if !want {
			cancel()
		}
		defer cancel()
		s.Settle(ctx)
		if s.idle() != want || want && ctx.Err() != nil {
			t.Errorf("Settle returned, sessions left: %v", !s.idle())
		}
	}
	spent := func(when string, want bool) {
		t.Helper()
		if got := s.Spent(); got != want {
			t.Errorf("%s: spent %v, want %v", when, got, want)
		}
	}
	spent("at the start", false)
	settled(true)
	leave := gather(crowd - 1)
	settled(false)
	leave()
	settled(true)
	spent("after fewer than a crowd", false)
	leave = gather(crowd)
	spent("with a crowd", false)
	leave()
	settled(true)
	spent("after a crowd", true)
	s.refusedLogin.Store(time.Now().Add(-time.Hour + time.Minute).UnixNano())
	spent("after a refused login", false)
	s.refusedLogin.Store(time.Now().Add(-time.Hour - time.Minute).UnixNano())
	spent("an hour after it", true)
	leave = gather(1)
	spent("with one client", false)
	leave()
	settled(true)
	spent("without it", true)
}
