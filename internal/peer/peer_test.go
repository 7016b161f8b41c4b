package peer

import (
	"net"
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

// TestOf: both ends learn who the other is.
func TestOf(t *testing.T) {
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	near, err := net.Dial("unix", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer near.Close()
	far, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer far.Close()
	want := Peer{PID: os.Getpid(), UID: os.Getuid(), GID: os.Getgid()}
	if runtime.GOOS != "linux" {
		want.PID = 0
	}
	for _, c := range []net.Conn{near, far} {
		if got, err := Of(c.(*net.UnixConn)); err != nil || got != want {
			t.Errorf("%+v, %v, want %+v", got, err, want)
		}
	}
	near.Close()
	if got, err := Of(near.(*net.UnixConn)); err == nil {
		t.Errorf("closed: %+v", got)
	}
}
