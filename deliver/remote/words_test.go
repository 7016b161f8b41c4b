package remote

import (
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postoffice/internal/testenv"
)

// What goes wrong with a connection is told in words, not in Go's: who the peer
// is stands beside it.
func TestErrorsAreWords(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	mute, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := func(l net.Listener) int { return l.Addr().(*net.TCPAddr).Port }
	defer mute.Close() // the kernel takes connections, nobody talks
	gone, err := net.Listen("tcp", testenv.OwnAddress()+":0")
	if err != nil {
		t.Fatal(err)
	}
	gone.Close()
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			conn.Close()
		}
	}()
	local := netip.MustParseAddr("127.0.0.1")
	o := Options{Hostname: "us.example"}
	slow := o
	slow.Step = time.Millisecond
	for _, tt := range []struct {
		name string
		hop  Hop
		o    Options
		want string
	}{
		{"nobody there", HopTo([]Target{{Host: "[127.0.0.1]", Addrs: []netip.Addr{netip.MustParseAddr(testenv.OwnAddress())}, Port: port(gone)}}), o, "could not connect, connection refused"},
		{"closed at once", HopTo([]Target{{Host: "[127.0.0.1]", Addrs: []netip.Addr{local}, Port: port(l)}}), o, "connection lost, the other side closed it"},
		{"mute", HopTo([]Target{{Host: "[127.0.0.1]", Addrs: []netip.Addr{local}, Port: port(mute)}}), slow, "peer too slow: no answer in time"},
		{"no store", HopToStore(filepath.Join(t.TempDir(), "store")), o, "could not connect, no such file or directory"},
	} {
		_, err := Open(t.Context(), tt.hop, tt.o)
		if err == nil || !strings.HasSuffix(err.Error(), ": "+tt.want) {
			t.Errorf("%s: %v, want %s", tt.name, err, tt.want)
		}
	}
}
