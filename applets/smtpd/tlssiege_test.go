package smtpd

import (
	"context"
	"encoding/binary"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"runtime"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"postoffice/internal/testenv"
)

// halfHello is the hello of a client, as long as one may be, without its last octet.
func halfHello() []byte {
	const longest, record = 1 << 16, 1 << 14 // of crypto/tls for a message, of RFC 8446 section 5.1
	message := append([]byte{1}, make([]byte, longest-1)...)
	binary.BigEndian.PutUint32(message, 1<<24|uint32(longest-4)) // ClientHello and its length
	var all []byte
	for len(message) > 0 {
		n := min(len(message), record)
		all = append(all, 22, 3, 1, byte(n>>8), byte(n)) // a record of a handshake
		all = append(all, message[:n]...)
		message = message[n:]
	}
	return all[:len(all)-1]
}

// A81: ten thousand handshakes that one address begins and doesn't end, as many at a time
// as it may have and wait for, keep nobody else out; their places are given back, and
// what they hold meanwhile has bounds. It takes connections that have buffers: a pipe's
// writer waits for its reader, which who waits for their turn doesn't have.
func TestSiegeOfHandshakes(t *testing.T) {
	const (
		hellos                = 10_000 / weightOfRace
		served, waiting, more = 10, 10, 5 // of each turn: begun, in line, and sent away
		most                  = 300 << 10 // octets for a handshake, of which 64 KiB have come
	)
	o, trust := tlsOptions(t, &memQueue{})
	o.Clients, o.ClientsPerAddress = 4*served, served
	o.Trusted = func(netip.Addr) (local, trusted bool) { return false, false }
	o.Log = slog.New(slog.NewTextHandler(io.Discard, nil))
	s := New(o)
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l, end := &countingListener{TCPListener: tcp.(*net.TCPListener)}, make(chan error, 1)
	go func() { end <- s.Serve(context.Background(), l, SubmissionTLS) }()
	defer func() {
		if err := s.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
		<-end
	}()
	address, hello := l.Addr().String(), halfHello()
	letter := func() {
		t.Helper()
		conn, err := (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 2, 1)}}).Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		c := &talker{t: t, conn: conn}
		c.secure(trust)
		c.want(220)
		c.envelope("a@b.example", "alice@us.example")
		if r := c.do("\r\n."); r.Code != 250 {
			t.Fatalf("a letter: %v", r)
		}
		c.do("QUIT")
	}
	letter()
	runtime.GC()
	runtime.GC()
	before, held := alive(), 0
	const turns = hellos / (served + waiting + more)
	for turn := range turns {
		l.read.Store(0)
		var fds []int
		for range served + waiting + more {
			fd := dialAs(t, [4]byte{127, 0, 1, 1}, netip.MustParseAddrPort(address))
			fds = append(fds, fd)
			unix.Write(fd, hello) // who is sent away may be gone
		}
		if !testenv.Eventually(func() bool { return l.read.Load() == int64(served*len(hello)) && s.places.Waiting() == waiting }) {
			t.Fatalf("turn %d: %d octets of hellos are read and %d connections wait, want %d and %d", turn, l.read.Load(), s.places.Waiting(), served*len(hello), waiting)
		}
		letter()
		if turn == 0 || turn == turns-1 {
			runtime.GC()
			runtime.GC()
			held = max(held, alive()-before)
		}
		for _, fd := range fds {
			unix.Close(fd)
		}
		if !testenv.Eventually(s.idle) {
			t.Fatalf("turn %d: sessions are left when all have gone", turn)
		}
	}
	t.Logf("%d handshakes hold %d octets each", served, held/served)
	if held > served*most*weightOfRace {
		t.Errorf("%d handshakes hold %d octets, at most %d are allowed", served, held, served*most)
	}
}

// countingListener counts the octets that its connections have read.
type countingListener struct {
	*net.TCPListener
	read atomic.Int64
}

func (l *countingListener) Accept() (net.Conn, error) {
	conn, err := l.AcceptTCP()
	if err != nil {
		return nil, err
	}
	return &countingConn{conn, l}, nil
}

type countingConn struct {
	*net.TCPConn
	l *countingListener
}

func (c *countingConn) Read(p []byte) (int, error) {
	n, err := c.TCPConn.Read(p)
	c.l.read.Add(int64(n))
	return n, err
}
