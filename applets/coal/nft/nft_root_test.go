//go:build e2e && linux

package nft

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// network puts the test, and what it starts, into a network of its own, with addresses
// on the loopback interface.
func network(t *testing.T, addrs ...string) {
	t.Helper()
	runtime.LockOSThread() // which ends with the test
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Fatal(err)
	}
	run(t, "ip", "link", "set", "lo", "up")
	for _, a := range addrs {
		run(t, "ip", "addr", "add", a, "dev", "lo")
	}
}

func run(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %v\n%s", args, err, out)
	}
	return string(out)
}

// listen takes connections to a port until the test ends, and returns each.
func listen(t *testing.T, address string) (port uint16, taken <-chan net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	conns := make(chan net.Conn, 1000)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			conns <- c
		}
	}()
	return netip.MustParseAddrPort(l.Addr().String()).Port(), conns
}

// connect makes a connection from an address to another one, if one can be made.
func connect(from, to string, port uint16) (net.Conn, error) {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: 200 * time.Millisecond}
	return d.Dial("tcp", netip.AddrPortFrom(netip.MustParseAddr(to), port).String())
}

// TestTable: who is in a set can begin no connection to the ports, an IPv6 client from
// no address of its /64, and may do all else; when the time is over it can again.
func TestTable(t *testing.T) {
	network(t, "192.0.2.1/32", "192.0.2.2/32", "192.0.2.25/32", "2001:db8:1:2::1/128", "2001:db8:1:2:ffff::1/128", "2001:db8:1:3::1/128", "2001:db8:25::25/128")
	const four, six = "192.0.2.25", "2001:db8:25::25"
	port, taken := listen(t, "[::]:0")
	second, _ := listen(t, "[::]:0")
	other, _ := listen(t, "[::]:0")
	table, err := Open([]uint16{port, second})
	if err != nil {
		t.Fatal(err)
	}
	begun, err := connect("192.0.2.1", four, port)
	if err != nil {
		t.Fatal(err)
	}
	answering := <-taken
	try := func(from, to string, port uint16, may bool) {
		t.Helper()
		c, err := connect(from, to, port)
		if (err == nil) != may {
			t.Errorf("from %s to port %d: %v, want a connection: %v", from, port, err, may)
		}
		if err == nil {
			c.Close()
		}
	}
	for _, p := range []string{"192.0.2.1/32", "2001:db8:1:2::/64"} {
		for range 2 { // once more changes nothing
			if err := table.Add(netip.MustParsePrefix(p), time.Hour); err != nil {
				t.Fatal(err)
			}
		}
	}
	try("192.0.2.1", four, port, false)
	try("192.0.2.1", four, second, false)
	try("192.0.2.1", four, other, true)
	try("192.0.2.2", four, port, true)
	try("2001:db8:1:2::1", six, port, false)
	try("2001:db8:1:2:ffff::1", six, second, false)
	try("2001:db8:1:2::1", six, other, true)
	try("2001:db8:1:3::1", six, port, true)
	go io.WriteString(answering, "x")
	if _, err := io.ReadFull(begun, make([]byte, 1)); err != nil {
		t.Errorf("a connection that was made before: %v", err)
	}
	if got := run(t, "nft", "list", "set", "inet", "postoffice", "coal6"); !strings.Contains(got, "elements = { 2001:db8:1:2:: timeout 1h ") {
		t.Errorf("the set is\n%s", got)
	}
	if err := table.Close(); err != nil {
		t.Error(err)
	}
	try("192.0.2.1", four, port, true)
	if err := table.Close(); err != nil {
		t.Errorf("a table that is gone: %v", err)
	}
}

// TestTableTimes: an address is out of the set when its time is over.
func TestTableTimes(t *testing.T) {
	network(t, "192.0.2.1/32")
	port, _ := listen(t, "127.0.0.1:0")
	table, err := Open([]uint16{port})
	if err != nil {
		t.Fatal(err)
	}
	if err := table.Add(netip.MustParsePrefix("192.0.2.1/32"), time.Second); err != nil {
		t.Fatal(err)
	}
	limit := time.Now().Add(time.Minute)
	for {
		c, err := connect("192.0.2.1", "127.0.0.1", port)
		if err == nil {
			c.Close()
			return
		}
		if time.Now().After(limit) {
			t.Fatalf("a minute later: %v", err)
		}
	}
}

// TestTableIsOurs: other tables stay as they are; one of ours that an earlier server
// left is made anew, and so is one that somebody has removed with all others.
func TestTableIsOurs(t *testing.T) {
	network(t)
	run(t, "nft", "add table inet firewall; add chain inet firewall x; add table inet postoffice; add set inet postoffice coal4 { type inet_service; }; add chain inet postoffice theirs")
	table, err := Open([]uint16{25})
	if err != nil {
		t.Fatal(err)
	}
	one, two := netip.MustParsePrefix("192.0.2.1/32"), netip.MustParsePrefix("192.0.2.2/32")
	if err := table.Add(one, time.Hour); err != nil {
		t.Fatal(err)
	}
	if got := run(t, "nft", "list", "ruleset"); !strings.Contains(got, "firewall") || strings.Contains(got, "theirs") || !strings.Contains(got, "192.0.2.1 ") {
		t.Errorf("the rules are\n%s", got)
	}
	run(t, "nft", "flush", "ruleset")
	if err := table.Add(two, time.Hour); err != nil {
		t.Fatal(err)
	}
	if got := run(t, "nft", "list", "ruleset"); strings.Contains(got, "192.0.2.1 ") || !strings.Contains(got, "192.0.2.2 ") || !strings.Contains(got, "tcp dport 25 ") {
		t.Errorf("after all tables were removed the rules are\n%s", got)
	}
}

// TestTableIsBounded: the kernel takes as many as there may be in a set, and no more.
func TestTableIsBounded(t *testing.T) {
	network(t)
	table, err := Open([]uint16{25})
	if err != nil {
		t.Fatal(err)
	}
	add := func(n uint32) error {
		a := netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, 1<<24+n)))
		return table.Add(netip.PrefixFrom(a, 32), time.Hour)
	}
	for n := range uint32(maxElements) {
		if err := add(n); err != nil {
			t.Fatalf("address %d: %v", n, err)
		}
	}
	if err := add(maxElements); !errors.Is(err, ErrFull) {
		t.Errorf("one too many: %v, want %v", err, ErrFull)
	}
	if err := table.Add(netip.MustParsePrefix("2001:db8::/64"), time.Hour); err != nil {
		t.Errorf("one of IPv6: %v", err)
	}
}

// BenchmarkAdd is what it costs to keep one out.
func BenchmarkAdd(b *testing.B) {
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		b.Fatal(err)
	}
	table, err := Open([]uint16{25})
	if err != nil {
		b.Fatal(err)
	}
	n := uint32(0)
	for b.Loop() {
		n++
		a := netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, 1<<24+n%maxElements)))
		if err := table.Add(netip.PrefixFrom(a, 32), time.Hour); err != nil {
			b.Fatal(err)
		}
	}
}
