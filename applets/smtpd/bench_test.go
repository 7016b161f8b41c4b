package smtpd

import (
	"net/netip"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// rawClient is a client that allocates nothing, so that a benchmark's figures
// are the server's.
type rawClient struct {
	b   *testing.B
	fd  int
	buf [4096]byte
}

func newRawClient(b *testing.B, addr netip.AddrPort) *rawClient {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		b.Fatal(err)
	}
	unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	if err := unix.Connect(fd, &unix.SockaddrInet4{Addr: addr.Addr().As4(), Port: int(addr.Port())}); err != nil {
		b.Fatal(err)
	}
	c := &rawClient{b: b, fd: fd}
	c.read("220")
	return c
}

func (c *rawClient) read(code string) {
	n, err := unix.Read(c.fd, c.buf[:])
	if err != nil || n < 3 || string(c.buf[:3]) != code {
		c.b.Fatalf("%q, %v, want %s", c.buf[:max(n, 0)], err, code)
	}
}

func (c *rawClient) do(text []byte, code string) {
	if _, err := unix.Write(c.fd, text); err != nil {
		c.b.Fatal(err)
	}
	c.read(code)
}

func (c *rawClient) close() {
	c.do([]byte("QUIT\r\n"), "221")
	unix.Close(c.fd)
}

var (
	benchHello    = []byte("EHLO client.example\r\n")
	benchEnvelope = []byte("MAIL FROM:<joe@client.example> SIZE=4096\r\nRCPT TO:<alice@us.example>\r\nDATA\r\n")
	benchMessage  = []byte("From: joe@client.example\r\nTo: alice@us.example\r\nSubject: a benchmark\r\nDate: Mon, 2 Jan 2006 15:04:05 -0700\r\nMessage-ID: <1@client.example>\r\n\r\n" +
		strings.Repeat("0123456789012345678901234567890123456789012345678901234567890123456789\r\n", 55) + ".\r\n")
)

// BenchmarkSession is a connection, a message of 4 KiB with a pipelined
// envelope, and QUIT, into a queue that keeps nothing.
func BenchmarkSession(b *testing.B) {
	address, stop := listen(b, New(options(discardQueue{})), Relay)
	defer stop()
	addr := netip.MustParseAddrPort(address)
	b.ReportAllocs()
	b.SetBytes(int64(len(benchMessage)))
	for b.Loop() {
		c := newRawClient(b, addr)
		c.do(benchHello, "250")
		c.do(benchEnvelope, "250")
		c.do(benchMessage, "250")
		c.close()
	}
}

// BenchmarkMessage is one message of 4 KiB in a session that goes on.
func BenchmarkMessage(b *testing.B) {
	address, stop := listen(b, New(options(discardQueue{})), Relay)
	defer stop()
	c := newRawClient(b, netip.MustParseAddrPort(address))
	defer c.close()
	c.do(benchHello, "250")
	b.ReportAllocs()
	b.SetBytes(int64(len(benchMessage)))
	for b.Loop() {
		c.do(benchEnvelope, "250")
		c.do(benchMessage, "250")
	}
}
