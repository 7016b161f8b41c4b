//go:build linux

package privsep

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postoffice/applets/service"
	"postoffice/deliver/local/mailbox"
	"postoffice/internal/account"
	"postoffice/internal/disk"
	"postoffice/internal/testenv"
)

// Users of the tests' passwd file. They exist nowhere else.
const (
	firstUID = 20001
	mailGID  = 20500
	accounts = 4
)

// nobodyID is the uid of nobody on Debian.
const nobodyID = 65534

var serverUser = service.User{Name: "nobody", UID: nobodyID, GID: nobodyID}

// harness is a master, mostly the test's own process, with a fake server.
type harness struct {
	t    *testing.T
	dir  string
	mail string
	log  *testenv.Log
	done chan error
	stop context.CancelFunc
}

// start runs a master with its server until the test ends.
func start(t *testing.T, change func(*MasterOptions)) *harness {
	t.Helper()
	testenv.NeedsRoot(t, "starts processes as other users")
	h := prepare(t)
	o := h.options()
	if change != nil {
		change(&o)
	}
	ctx, cancel := context.WithCancel(context.Background())
	h.stop = cancel
	go func() { h.done <- RunMaster(ctx, o) }()
	t.Cleanup(func() {
		cancel()
		if h.done != nil {
			<-h.done
		}
		if t.Failed() {
			t.Logf("log:\n%s", h.log)
		}
	})
	return h
}

func prepare(t *testing.T) *harness {
	h := &harness{t: t, dir: t.TempDir(), log: &testenv.Log{}, done: make(chan error, 1)}
	testenv.Must(t, os.Chmod(h.dir, 0o755))
	testenv.Must(t, os.Chmod(filepath.Dir(h.dir), 0o755))
	h.mail = filepath.Join(h.dir, "mail")
	testenv.Must(t, os.Mkdir(h.mail, 0o755))
	testenv.Must(t, os.Chown(h.mail, 0, mailGID))
	testenv.Must(t, os.Chmod(h.mail, 0o775|os.ModeSetgid))
	var passwd strings.Builder
	passwd.WriteString("root:x:0:0::/root:/bin/sh\ntoor:x:0:0::/root:/bin/sh\n")
	for i := range accounts {
		fmt.Fprintf(&passwd, "u%d:x:%d:%d::/nonexistent:/bin/false\n", i, firstUID+i, firstUID+100+i)
	}
	testenv.Must(t, os.WriteFile(h.path("passwd"), []byte(passwd.String()), 0o644))
	testenv.Must(t, os.WriteFile(h.path("group"), []byte("staff:x:20901:u9,u0\nx:x:20902:u00\nmail:x:20500:u0,u1\n"), 0o644))
	testenv.Must(t, os.WriteFile(h.path("nsswitch.conf"), []byte("passwd: files\n"), 0o644))
	return h
}

func (h *harness) path(name string) string { return filepath.Join(h.dir, name) }

func (h *harness) options() MasterOptions {
	l, err := service.ListenUnix(service.Control, h.path(service.Control))
	testenv.Must(h.t, err)
	o := optionsIn(h.dir, h.log)
	o.Listeners = []service.Listener{l}
	return o
}

// optionsIn are those of a master that works in dir.
func optionsIn(dir string, log io.Writer) MasterOptions {
	return MasterOptions{
		Settings:   []byte("first"),
		Server:     serverUser,
		Mailboxes:  mailbox.Options{FS: disk.OS(), Dir: filepath.Join(dir, "mail"), LockWait: 2 * time.Second},
		Names:      account.Names{Passwd: filepath.Join(dir, "passwd"), Group: filepath.Join(dir, "group"), NSSwitch: filepath.Join(dir, "nsswitch.conf"), Getent: filepath.Join(dir, "getent")},
		Users:      UserOptions{Settings: []byte(filepath.Join(dir, "gate")), DefaultUser: "u3", RunTime: time.Minute},
		Log:        slog.New(slog.NewTextHandler(log, nil)),
		firstPause: 10 * time.Millisecond,
		lastPause:  20 * time.Millisecond,
	}
}

// talk is a connection to the fake server, whichever there is.
type talk struct {
	t *testing.T
	c net.Conn
	r *bufio.Reader
}

func (h *harness) dial() *talk {
	h.t.Helper()
	c, err := net.Dial("unix", h.path(service.Control))
	testenv.Must(h.t, err)
	h.t.Cleanup(func() { c.Close() })
	return &talk{h.t, c, bufio.NewReader(c)}
}

// say sends a command and returns the answer; "" if the server died of it.
func (k *talk) say(format string, args ...any) string {
	k.t.Helper()
	return k.answer(k.begin(format, args...))
}

// begin sends a command; its answer comes through the channel, which is closed
// without one if none comes in time.
func (k *talk) begin(format string, args ...any) <-chan string {
	k.c.SetDeadline(time.Now().Add(2 * time.Minute))
	fmt.Fprintf(k.c, format+"\n", args...)
	answer := make(chan string, 1)
	go func() {
		defer close(answer)
		line, err := k.r.ReadString('\n')
		if ne, ok := err.(net.Error); ok && ne.Timeout() {
			return
		}
		answer <- strings.TrimSuffix(line, "\n")
	}()
	return answer
}

func (k *talk) answer(c <-chan string) string {
	k.t.Helper()
	line, ok := <-c
	if !ok {
		k.t.Fatal("no answer in time")
	}
	return line
}

func (k *talk) want(answer, format string, args ...any) {
	k.t.Helper()
	if got := k.say(format, args...); !strings.HasPrefix(got, answer) {
		k.t.Errorf("%s: %q, want %q", fmt.Sprintf(format, args...), got, answer)
	}
}

// mailbox is the content of a user's mailbox.
func (h *harness) mailbox(user string) string {
	b, _ := os.ReadFile(filepath.Join(h.mail, user))
	return string(b)
}
