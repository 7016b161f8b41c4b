package smtpd

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// idleLimit is what an idle session may cost, goroutine and connection
// included, kernel buffers excluded.
const idleLimit = 12 << 10

// TestIdleMemory opens sessions over loopback, has each send a message, and
// weighs them while they wait for more.
func TestIdleMemory(t *testing.T) {
	sessions := 5000
	var files unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &files); err != nil {
		t.Fatal(err)
	}
	sessions = min(sessions, (int(files.Cur)-100)/2)
	o := options(discardQueue{})
	o.Clients = sessions
	o.Log = slog.New(slog.NewTextHandler(io.Discard, nil))
	address, stop := listen(t, New(o), Port25)
	defer stop()
	addr := netip.MustParseAddrPort(address)

	before := anonymous(t)
	for range sessions {
		defer unix.Close(sendOne(t, addr))
	}
	after := anonymous(t)
	each := (after - before) / sessions
	t.Logf("%d idle sessions: %d octets each", sessions, each)
	if each > idleLimit*weightOfRace {
		t.Errorf("an idle session takes %d octets, at most %d are allowed", each, idleLimit)
	}
}

// sendOne sends one message over a socket that costs this process nothing but
// its descriptor, which is returned; the session stays open.
func sendOne(t *testing.T, addr netip.AddrPort) (fd int) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Connect(fd, &unix.SockaddrInet4{Addr: addr.Addr().As4(), Port: int(addr.Port())}); err != nil {
		t.Fatal(err)
	}
	var reply [1024]byte
	for _, step := range []struct{ text, code string }{
		{"", "220"},
		{"EHLO client.example\r\n", "250"},
		{"MAIL FROM:<joe@client.example>\r\n", "250"},
		{"RCPT TO:<alice@us.example>\r\n", "250"},
		{"DATA\r\n", "354"},
		{"Subject: x\r\n\r\n" + strings.Repeat("0123456789\r\n", 300) + ".\r\n", "250"},
	} {
		if _, err := unix.Write(fd, []byte(step.text)); err != nil {
			t.Fatal(err)
		}
		n, err := unix.Read(fd, reply[:]) // each reply is one write
		if err != nil || !strings.HasPrefix(string(reply[:n]), step.code) {
			t.Fatalf("after %.20q: %q, %v", step.text, reply[:n], err)
		}
	}
	return fd
}

// listen serves s on a loopback port and returns its address. stop ends the
// server and waits for it.
func listen(t testing.TB, s *Server, k Kind) (addr string, stop func()) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	end := make(chan error, 1)
	go func() { end <- s.Serve(context.Background(), l, k) }()
	return l.Addr().String(), func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		if err := <-end; err != nil {
			t.Errorf("Serve: %v", err)
		}
	}
}

// anonymous returns the memory of the process that is no file, in octets,
// after everything that can be freed was.
func anonymous(t *testing.T) int {
	t.Helper()
	runtime.GC() // pools keep their content through one
	debug.FreeOSMemory()
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.SplitSeq(string(b), "\n") {
		if rest, ok := strings.CutPrefix(line, "RssAnon:"); ok {
			kb, err := strconv.Atoi(strings.Fields(rest)[0])
			if err != nil {
				t.Fatal(err)
			}
			return kb << 10
		}
	}
	t.Fatal("no RssAnon in /proc/self/status")
	return 0
}

// discardQueue keeps nothing.
type discardQueue struct{}

func (discardQueue) Room(context.Context) error { return nil }
func (discardQueue) NewID() (string, error)     { return "Q1", nil }

func (discardQueue) Begin(context.Context, *Transaction) (Incoming, error) {
	return discardMessage{}, nil
}

type discardMessage struct{}

func (discardMessage) Write(p []byte) (int, error)  { return len(p), nil }
func (discardMessage) ID() string                   { return "Q" }
func (discardMessage) Commit(context.Context) error { return nil }
func (discardMessage) Abort()                       {}
