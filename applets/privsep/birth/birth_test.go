//go:build linux

package birth

import (
	"net"
	"os"
	"os/exec"
	"reflect"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"postoffice/applets/privsep/creds"
	"postoffice/applets/service"
	"postoffice/internal/testenv"
)

// TestMain: no test here is to start a child.
func TestMain(m *testing.M) { os.Exit(testenv.Main(m.Run, nil)) }

// TestDoor: of all that may come out of a door only a link that the child itself
// gives away, as who it is to be, is taken (A85). We are the child here.
func TestDoor(t *testing.T) {
	link, _ := files(t)
	_, second := files(t)
	pipe, w, err := os.Pipe()
	must(t, err)
	t.Cleanup(func() { w.Close() })
	udp, err := net.ListenPacket("udp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { udp.Close() })
	other, err := udp.(*net.UDPConn).File()
	must(t, err)
	self := creds.Identity{UID: os.Getuid(), GID: os.Getgid()}
	for _, tt := range []struct {
		name  string
		who   creds.Identity
		pid   int
		text  string
		files []*os.File
		want  string // in the error
	}{
		{"as it should be", self, os.Getpid(), "+", []*os.File{link}, ""},
		{"a thief's", self, os.Getppid(), "+", []*os.File{link}, "has taken its door"},
		{"a thief's words", self, os.Getppid(), "-x", nil, "has taken its door"},
		{"before it has switched", creds.Identity{UID: self.UID + 1, GID: self.GID}, os.Getpid(), "+", []*os.File{link}, "it has uid"},
		{"in another group", creds.Identity{UID: self.UID, GID: self.GID + 1}, os.Getpid(), "+", []*os.File{link}, "it has uid"},
		{"it can't", self, os.Getpid(), "-setresuid: \xff", nil, "setresuid: ?"},
		{"no link", self, os.Getpid(), "+", nil, "gave 0 descriptors"},
		{"two", self, os.Getpid(), "+", []*os.File{link, second}, "gave 2 descriptors"},
		{"many", self, os.Getpid(), "+", []*os.File{link, link, link, link, link, link, link, link}, "descriptors away, not its link"},
		{"a pipe", self, os.Getpid(), "+", []*os.File{pipe}, "getsockopt"},
		{"a port", self, os.Getpid(), "+", []*os.File{other}, "is no link"},
		{"something else", self, os.Getpid(), "hello", []*os.File{link}, `it said "hello"`},
		{"nothing", self, os.Getpid(), "", nil, ErrEnded.Error()},
	} {
		before := testenv.Descriptors()
		ours, theirs, err := Pair()
		must(t, err)
		must(t, vouch(ours))
		c := &Child{Cmd: &exec.Cmd{Process: &os.Process{Pid: tt.pid}}, door: ours, who: tt.who}
		tell(t, theirs, tt.text, tt.files)
		got, err := c.Link(time.Minute)
		if tt.want == "" {
			must(t, err)
			must(t, got.Close())
		} else if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
		if n := testenv.Descriptors(); n != before {
			t.Errorf("%s: %d descriptors are open, %d were before", tt.name, n, before)
		}
	}
}

// tell sends a message, if there is something to say, and closes the end.
func tell(t *testing.T, end *os.File, text string, files []*os.File) {
	t.Helper()
	defer end.Close()
	if text == "" {
		return
	}
	must(t, service.WithDescriptors(append([]*os.File{end}, files...), nil, func(fds []int) error {
		var rights []byte
		if len(fds) > 1 {
			rights = unix.UnixRights(fds[1:]...)
		}
		return unix.Sendmsg(fds[0], []byte(text), rights, nil, 0)
	}))
}

// files are both ends of a link.
func files(t *testing.T) (a, b *os.File) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	must(t, err)
	a, b = os.NewFile(uintptr(fds[0]), "a"), os.NewFile(uintptr(fds[1]), "b")
	t.Cleanup(func() { a.Close(); b.Close() })
	return a, b
}

// TestLinkInTime: a child that its user has stopped keeps nobody waiting.
func TestLinkInTime(t *testing.T) {
	ours, theirs, err := Pair()
	must(t, err)
	defer theirs.Close()
	must(t, vouch(ours))
	c := &Child{Cmd: &exec.Cmd{Process: &os.Process{Pid: os.Getpid()}}, door: ours}
	if _, err := c.Link(time.Millisecond); err == nil || !strings.Contains(err.Error(), "timeout") {
		t.Errorf("%v, want a timeout", err)
	}
}

// FuzzIdentity: what is understood is who was meant, and has one form.
func FuzzIdentity(f *testing.F) {
	f.Add(encode(creds.Identity{UID: 1, GID: 1<<31 - 2, Bare: true}))
	f.Add([]byte("\x00\x00\x00\x01\x00\x00\x00\x02\x00\x00\x00\x02"))
	f.Fuzz(func(t *testing.T, b []byte) {
		i, err := decode(b)
		if err != nil {
			return
		}
		if again := encode(i); !reflect.DeepEqual(again, b) {
			t.Errorf("%x is understood as %+v, which is %x", b, i, again)
		}
	})
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
