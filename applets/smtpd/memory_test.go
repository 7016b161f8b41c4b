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

	"postoffice/internal/peer"
	"postoffice/internal/testenv"
)

// idleLimit is what an idle session may cost, goroutine and connection
// included, kernel buffers excluded.
const idleLimit = 10 << 10

// TestIdleMemory opens sessions over loopback, has each send a message, and
// weighs them while they wait for more.
func TestIdleMemory(t *testing.T) {
	sessions := min(5000, connections(t))
	o := options(discardQueue{})
	o.Clients, o.Programs = 2*sessions, 8*sessions // where few places are left a silent session ends after ten seconds
	o.Log = slog.New(slog.NewTextHandler(io.Discard, nil))
	address, stop := listen(t, New(o), Relay)
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

// TestTurnMemory weighs clients that wait for their turn (S42): ten of each of
// 200 addresses, kernel buffers excluded.
func TestTurnMemory(t *testing.T) {
	const each = 10
	addresses := min(200, connections(t)/(each+1)-1)
	o := options(discardQueue{})
	o.Clients, o.ClientsPerAddress = 10*addresses*each, 1
	o.Trusted = func(netip.Addr) (local, trusted bool) { return false, false }
	s := New(o)
	address, stop := listen(t, s, Relay)
	defer stop()
	come := func(from, n int, greeted bool) {
		for range n {
			fd := dialAs(t, [4]byte{127, 0, 1, byte(from)}, netip.MustParseAddrPort(address))
			t.Cleanup(func() { unix.Close(fd) })
			if !greeted {
				continue
			}
			if _, err := unix.Read(fd, make([]byte, 100)); err != nil {
				t.Fatal(err)
			}
		}
	}
	for i := range addresses {
		come(i, 1, true)
	}
	before := anonymous(t)
	for i := range addresses {
		come(i, each, false)
	}
	come(addresses+1, 1, true) // was accepted behind them
	if n := s.places.Waiting(); n != addresses*each {
		t.Fatalf("%d wait, want %d", n, addresses*each)
	}
	octets := (anonymous(t) - before) / addresses / each
	t.Logf("%d that wait: %d octets each", addresses*each, octets)
	if limit := idleLimit * weightOfRace; octets > limit {
		t.Errorf("a client that waits takes %d octets, at most %d are allowed", octets, limit)
	}
}

// connections is how many this process may have open, with both their ends.
func connections(t *testing.T) int {
	t.Helper()
	var files unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &files); err != nil {
		t.Fatal(err)
	}
	return int(min(files.Cur, 1<<20)-100) / 2
}

// dialAs connects from an address of this machine, over a socket that costs this
// process nothing but its descriptor.
func dialAs(t *testing.T, from [4]byte, to netip.AddrPort) (fd int) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: from}); err != nil {
		t.Fatal(err)
	}
	if err := unix.Connect(fd, &unix.SockaddrInet4{Addr: to.Addr().As4(), Port: int(to.Port())}); err != nil {
		t.Fatal(err)
	}
	return fd
}

// sendOne sends one message over a socket that costs this process nothing but
// its descriptor, which is returned; the session stays open.
func sendOne(t *testing.T, addr netip.AddrPort) (fd int) {
	t.Helper()
	fd = dialAs(t, [4]byte{127, 0, 0, 1}, addr)
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

func (discardQueue) Room(context.Context) (peer.Amount, error) { return plenty, nil }
func (discardQueue) Held(context.Context) *peer.Held           { return &peer.Held{} }
func (discardQueue) NewID() (string, error)                    { return "Q1", nil }

func (discardQueue) Begin(context.Context, *Transaction) (Incoming, error) {
	return discardMessage{}, nil
}

type discardMessage struct{}

func (discardMessage) Write(p []byte) (int, error)  { return len(p), nil }
func (discardMessage) ID() string                   { return "Q" }
func (discardMessage) More() []string               { return nil }
func (discardMessage) Commit(context.Context) error { return nil }
func (discardMessage) Release()                     {}
func (discardMessage) Hold(string)                  {}

func (discardMessage) ReadAt([]byte, int64) (int, error) { return 0, io.EOF }

func (discardMessage) Instead(context.Context, *Transaction) (Incoming, error) {
	return discardMessage{}, nil
}
func (discardMessage) Abort() {}

// TestCrowdLeavesNothing looks at what lives when a crowd has come and gone: of each
// connection no more than Go's record of a goroutine that has ended (448 octets), which the
// next crowd uses again, so that this leaves nothing at all. What pools hold is gone, too.
func TestCrowdLeavesNothing(t *testing.T) {
	const (
		sessions = 300
		record   = 800     // octets, with the runtime's lists of them
		buffer   = 8 << 10 // less than what one connection borrows
	)
	o := options(discardQueue{})
	o.Clients, o.Programs = 2*sessions, 8*sessions
	o.Log = slog.New(slog.NewTextHandler(io.Discard, nil))
	s := New(o)
	address, stop := listen(t, s, Relay)
	defer stop()
	addr := netip.MustParseAddrPort(address)
	runtime.GC() // what the tests before this one have in pools goes with the second collection
	runtime.GC()
	crowd := func(n int) (lives int) {
		t.Helper()
		var fds []int
		for range n {
			fds = append(fds, sendOne(t, addr))
		}
		for _, fd := range fds {
			unix.Write(fd, []byte("QUIT\r\n"))
		}
		for _, fd := range fds {
			unix.Close(fd)
		}
		if !testenv.Eventually(func() bool { return s.idle() }) {
			t.Fatal("sessions go on")
		}
		s.turns, s.looked = 0, 0 // it is calm
		s.tidy()
		lives = alive()
		runtime.GC()
		runtime.GC()
		if more := lives - alive(); more > buffer*weightOfRace {
			t.Errorf("%d octets more could have been given back", more)
		}
		return lives
	}
	first := crowd(1)
	second := crowd(sessions)
	third := crowd(sessions)
	t.Logf("%d octets live after one session, %d after %d more, %d after as many again", first, second, sessions, third)
	if each := (second - first) / sessions; each > record*weightOfRace {
		t.Errorf("a session leaves %d octets, at most %d are allowed", each, record)
	}
	if third-second > sessions*record/4*weightOfRace {
		t.Errorf("the second crowd leaves %d octets more", third-second)
	}
}

// alive is how many octets of the heap the last collection left, and what came since.
func alive() int {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

// idle reports whether no connection is left.
func (s *Server) idle() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.wires) == 0
}
