package peer

import (
	"net"
	"net/netip"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// A81: the kernel tells whose a connection from this machine is.
func TestOwnerOf(t *testing.T) {
	for _, tt := range []struct{ name, listen, dial string }{
		{"IPv4", "127.0.0.1:0", "127.0.0.1"},
		{"IPv4, and the listener has both", "[::]:0", "127.0.0.1"},
		{"another address of loopback", "0.0.0.0:0", "127.9.9.9"},
		{"IPv6", "[::1]:0", "::1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			server, _ := dialed(t, tt.listen, tt.dial)
			if uid, err := OwnerOf(server); err != nil || uid != os.Getuid() {
				t.Errorf("uid %d, %v, want %d", uid, err, os.Getuid())
			}
		})
	}
}

// A81: a program may have a socket of IPv6 that is connected with an address of IPv4.
func TestOwnerOfMapped(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	to := &unix.SockaddrInet6{Port: l.Addr().(*net.TCPAddr).Port, Addr: netip.MustParseAddr("::ffff:127.0.0.1").As16()}
	if err := unix.Connect(fd, to); err != nil {
		t.Fatal(err)
	}
	server, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	if uid, err := OwnerOf(server); err != nil || uid != os.Getuid() {
		t.Errorf("uid %d, %v, want %d", uid, err, os.Getuid())
	}
}

// A81: what has no owner any more, or is half closed, is nobody's, and never root's, whose
// uid the kernel then says.
func TestOwnerOfGone(t *testing.T) {
	for _, tt := range []struct {
		name string
		end  func(server, client *net.TCPConn) error
	}{
		{"closed", func(_, client *net.TCPConn) error { return client.Close() }},
		{"reset", func(_, client *net.TCPConn) error { client.SetLinger(0); return client.Close() }},
		{"half closed", func(_, client *net.TCPConn) error { return client.CloseWrite() }},
		{"in TIME_WAIT", func(server, client *net.TCPConn) error {
			client.Close()
			server.Read(make([]byte, 1))
			return server.CloseWrite()
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			server, client := dialed(t, "127.0.0.1:0", "127.0.0.1")
			if err := tt.end(server, client); err != nil {
				t.Fatal(err)
			}
			if uid, err := OwnerOf(server); err == nil {
				t.Errorf("uid %d, want an error", uid)
			}
		})
	}
}

// A81: where no socket is connected the kernel shows one that listens: that is nobody's
// connection.
func TestOwnerOfListener(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	listener, err := netip.ParseAddrPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if uid, err := ownerOf(listener, netip.MustParseAddrPort("127.0.0.1:9")); err == nil {
		t.Errorf("uid %d, want an error", uid)
	}
}

// A81: a port that another socket has by now is that one's, and a client elsewhere nobody's.
func TestOwnerOfReused(t *testing.T) {
	server, client := dialed(t, "127.0.0.1:0", "127.0.0.1")
	theirs := netip.MustParseAddrPort(client.LocalAddr().String())
	client.SetLinger(0)
	client.Close()
	again := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(theirs)}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := again.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if uid, err := OwnerOf(server); err == nil {
		t.Errorf("a connection whose port went to another one: uid %d, want an error", uid)
	}
	if uid, err := ownerOf(netip.MustParseAddrPort("192.0.2.1:2525"), theirs); err == nil {
		t.Errorf("a client elsewhere: uid %d, want an error", uid)
	}
	if uid, err := ownerOf(netip.MustParseAddrPort("[fe80::1%lo]:2525"), theirs); err == nil {
		t.Errorf("an address with a zone: uid %d, want an error", uid)
	}
}

// FuzzDiagOwner: whatever comes as an answer, no uid is read from one about other ends.
func FuzzDiagOwner(f *testing.F) {
	theirs, ours := netip.MustParseAddrPort("127.0.0.1:4000"), netip.MustParseAddrPort("127.0.0.1:25")
	f.Add(make([]byte, diagAnswer))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		_, err := diagOwner(b, theirs, ours)
		if _, other := diagOwner(b, ours, theirs); err == nil && other == nil {
			t.Errorf("%x is an answer about both ends", b)
		}
	})
}

// dialed makes a connection within this process.
func dialed(tb testing.TB, listen, dial string) (server, client *net.TCPConn) {
	tb.Helper()
	l, err := net.Listen("tcp", listen)
	if err != nil {
		tb.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	c, err := net.Dial("tcp", net.JoinHostPort(dial, port))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { c.Close() })
	s, err := l.Accept()
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { s.Close() })
	return s.(*net.TCPConn), c.(*net.TCPConn)
}

func BenchmarkOwnerOf(b *testing.B) {
	s, _ := dialed(b, "127.0.0.1:0", "127.0.0.1")
	for b.Loop() {
		if uid, err := OwnerOf(s); err != nil || uid != os.Getuid() {
			b.Fatal(uid, err)
		}
	}
}
