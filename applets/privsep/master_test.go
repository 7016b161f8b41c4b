//go:build linux

package privsep

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"postoffice/applets/privsep/birth"
	"postoffice/applets/service"
	"postoffice/internal/testenv"
)

func TestDeliver(t *testing.T) {
	t.Run("threads", func(t *testing.T) { deliverAll(t, start(t, nil)) })
	t.Run("processes", func(t *testing.T) { deliverAll(t, start(t, byUsers)) })
}

// byUsers has users' processes write mailboxes, as where threads have no ids.
func byUsers(o *MasterOptions) { o.ByUsers = true }

func deliverAll(t *testing.T, h *harness) {
	k := h.dial()
	k.want("delivered 2.0.0 <nil>", "deliver t1 u0 From-a")
	k.want("delivered", "deliver t2 U0 From-b") // R14
	k.want("bounced 5.1.1", "deliver t3 nobody-here From-c")
	k.want("deferred 4.2.0", "deliver t4 toor From-c") // A43
	k.want("delivered", "deliver t5 root From-d")      // a plain mailbox
	for i, n := range []int{1, maxSmall - 1, maxSmall, maxSmall + 1, maxChunk, 10_000_000} {
		before := len(h.mailbox("u1"))
		k.want("delivered", "large l%d u1 %d", i, n)
		if got := len(h.mailbox("u1")) - before; got < n || got > n+2 {
			t.Errorf("message of %d octets: the mailbox grew by %d", n, got)
		}
	}
	if got := h.mailbox("u0"); got != "From-a\n\nFrom-b\n\n" {
		t.Errorf("mailbox %q", got)
	}
	for user, uid := range map[string]int{"u0": firstUID, "root": 0} {
		info, err := os.Stat(filepath.Join(h.mail, user))
		testenv.Must(t, err)
		st := info.Sys().(*syscall.Stat_t)
		if int(st.Uid) != uid || st.Gid != mailGID || info.Mode() != 0o660 {
			t.Errorf("mailbox %s: uid %d, gid %d, mode %v, want %d, %d, 0660", user, st.Uid, st.Gid, info.Mode(), uid, mailGID)
		}
	}
}

// TestServersRights: what the server process is born with.
func TestServersRights(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "secret")
	testenv.Must(t, os.WriteFile(secret, nil, 0o600))
	inherited, err := syscall.Open(secret, syscall.O_RDONLY, 0) // as if we had it from our parent: no close-on-exec
	testenv.Must(t, err)
	defer syscall.Close(inherited)
	testenv.Must(t, service.CloseOnExecAll())
	h := start(t, nil)
	k := h.dial()
	k.want(fmt.Sprintf("uid %d gid %d groups [%[2]d] nnp 1 dumpable 0", nobodyID, nobodyID), "ids")
	if files := k.say("fds"); strings.Contains(files, "secret") || strings.Contains(files, h.dir) {
		t.Errorf("A77: the server has %s", files)
	}
}

// TestDetach: what a server prints goes to its starter until it is ready and,
// behind a master in the background, no longer.
func TestDetach(t *testing.T) {
	for _, detach := range []bool{false, true} {
		h := start(t, func(o *MasterOptions) { o.Detach = detach })
		stderr, err := os.Readlink("/proc/self/fd/2")
		testenv.Must(t, err)
		if detach {
			stderr = os.DevNull
		}
		if got := h.dial().say("stderr"); got != stderr {
			t.Errorf("Detach %v: standard error is %q, want %q", detach, got, stderr)
		}
	}
}

// TestForbiddenA71: a server that asks for what it must not is killed, and its
// successor works.
func TestForbiddenA71(t *testing.T) {
	h := start(t, nil)
	hexOf := func(f frame) string { return fmt.Sprintf("frame %x", f.append(nil)) }
	for i, tt := range []struct{ command, reason string }{
		{"frame ff", "unknown op"},
		{hexOf(frame{opDeliver, []string{"t", "u0", "", "", "", "", ""}}), "descriptors"},
		{"file /dev/null t u0", "want a pipe"},
		{"file /etc/passwd t u0", "want a pipe"},
		{hexOf(frame{opSmall, []string{"t", "../x", "", "", "", "", "", "x"}}), "name begins with"},
		{hexOf(frame{opSmall, []string{"t", "/etc/passwd", "", "", "", "", "", "x"}}), "name has the octet"},
		{hexOf(frame{opSmall, []string{"t", "u0", "", "", "", "", "", strings.Repeat("x", maxSmall+1)}}), "limit 16384"},
		{hexOf(frame{opSmall, []string{"t", "u0", "x", "", "", "", "", "x"}}), "or nothing"},
		{hexOf(frame{opLookup, []string{"1", "-x"}}), "name begins with"},
		{hexOf(frame{opLookup, []string{"x", "u0"}}), "invalid syntax"},
		{hexOf(frame{opRecorded, []string{"a b"}}), "token with the octet"},
		{hexOf(frame{opBroken, []string{"smtp"}}), "none of ours"},
		{hexOf(frame{opKeepOut, []string{strings.Repeat("x", addressSize)}}), "coal is off"},
		{hexOf(frame{opPassword, []string{"1", "h", "u", ""}}), "nobody who has one"},
		{hexOf(frame{op: opHung}), "there never was one"},
		{"piece t u0", "a piece of 4294967295 octets"},
		{"frame " + strings.Repeat("00", maxFrame+10), "larger than"},
	} {
		h.dial().say("%s", tt.command)
		h.log.Wait(t, `msg="server ended"`, i+1)
		if log := h.log.String(); !strings.Contains(log, tt.reason) {
			t.Errorf("%s: no %q in the log", tt.command, tt.reason)
		}
	}
	h.dial().want("delivered", "deliver t u0 From-a")
	if entries, _ := os.ReadDir(h.mail); len(entries) != 1 {
		t.Errorf("%v in the mail directory, want u0 alone", entries)
	}
}

// TestKeepOutA71: a client that the server names by its address, in sixteen octets and
// no others, is kept out; what is busy with that is asked no more.
func TestKeepOutA71(t *testing.T) {
	asked, busy := make(chan netip.Addr, 100), make(chan struct{})
	h := start(t, func(o *MasterOptions) {
		o.KeepOut = func(a netip.Addr) {
			asked <- a
			if a.Is6() && !a.Is4In6() {
				<-busy
			}
		}
	})
	k := h.dial()
	k.want("ok", "keepout 192.0.2.1")
	if a := <-asked; a.Unmap() != netip.MustParseAddr("192.0.2.1") {
		t.Errorf("asked for %v", a)
	}
	for range 3 * maxKeepOuts {
		k.want("ok", "keepout 2001:db8::1")
	}
	for range maxKeepOuts {
		if a := <-asked; a != netip.MustParseAddr("2001:db8::1") {
			t.Errorf("asked for %v", a)
		}
	}
	k.want("delivered", "deliver t u0 From-a") // all that came before is read by now
	if n := len(asked); n != 0 {
		t.Errorf("asked for %d more than %d at once", n, maxKeepOuts)
	}
	close(busy)
	for i, address := range []string{"", "x", strings.Repeat("x", addressSize-1), strings.Repeat("x", addressSize+1)} {
		h.dial().say("frame %x", frame{opKeepOut, []string{address}}.append(nil))
		h.log.Wait(t, `msg="server ended"`, i+1)
	}
	if n := len(asked); n != 0 {
		t.Errorf("asked for %d addresses of another length", n)
	}
	if log := h.log.String(); !strings.Contains(log, "of 15 octets, want 16") || !strings.Contains(log, "keep out: field 0 of 17 octets, limit 16") {
		t.Error("the log doesn't say what was wrong")
	}
}

// TestPasswordA71: the server gets the password of the host and the user that it names,
// as root's Password has it, or why there is none; and no more at once than it may ask for.
func TestPasswordA71(t *testing.T) {
	busy, began := make(chan struct{}), make(chan struct{}, 100)
	h := start(t, func(o *MasterOptions) {
		o.Password = func(ctx context.Context, host, user string, again bool) (string, error) {
			switch user {
			case "long":
				return strings.Repeat("x", maxSecret+1), nil
			case "longest":
				return strings.Repeat("x", maxSecret), nil
			case "none":
				return "", errors.New("none in the file: " + strings.Repeat("x", 2*maxWords))
			case "busy":
				began <- struct{}{}
				<-busy
			}
			return fmt.Sprint(user, "@", host, again), nil
		}
	})
	k := h.dial()
	k.want("me@smtp.example"+"false of 20 <nil>", "password smtp.example me first")
	k.want("me@smtp.example"+"true of 19 <nil>", "password smtp.example me again")
	k.want(strings.Repeat("x", 40)+fmt.Sprintf(" of %d <nil>", maxSecret), "password h longest first")
	k.want(" of 0 a password of", "password h long first")
	k.want(" of 0 none in the file: xxx", "password h none first")
	k.want(" of 0 names that are too long", "password h %s first", strings.Repeat("x", maxPart+1))
	asking := func() { h.dial().say("frame %x", frame{opPassword, []string{"999", "h", "busy", ""}}.append(nil)) }
	for range maxPasswords {
		asking()
		<-began
	}
	asking()
	h.log.Wait(t, `msg="server ended"`, 1)
	close(busy)
	for i, f := range []frame{
		{opPassword, []string{"x", "h", "u", ""}}, {opPassword, []string{"1", "h", "u", "twice"}},
		{opPassword, []string{"1", strings.Repeat("x", maxPart+1), "u", ""}},
	} {
		h.dial().say("frame %x", f.append(nil))
		h.log.Wait(t, `msg="server ended"`, i+2)
	}
	if log := h.log.String(); !strings.Contains(log, fmt.Sprintf("more than %d passwords at once", maxPasswords)) || !strings.Contains(log, `want \"again\" or nothing`) {
		t.Error("the log doesn't say what was wrong")
	}
}

// TestForeignNamesA71: asking for users that don't exist is refused, and not
// endured for long.
func TestForeignNamesA71(t *testing.T) {
	h := start(t, nil)
	k := h.dial()
	for i := range maxForeign {
		k.want("bounced 5.1.1", "deliver t%d foreign%d x", i, i)
	}
	k.say("deliver last 0 x") // uid 0 is no name
	h.log.Wait(t, `msg="server ended"`, 1)
	h.dial().want("delivered", "deliver t u0 From-a")
}

// TestRandomFramesA71 sends 10,000 frames, half of them nearly right.
func TestRandomFramesA71(t *testing.T) {
	testenv.NeedsRoot(t, "starts processes as other users")
	h := prepare(t)
	m := newMaster(t.Context(), optionsIn(h.dir, h.log))
	before := testenv.Descriptors()
	bad := 0
	for seed := range uint64(10_000) {
		ours, theirs, err := birth.Pair()
		testenv.Must(t, err)
		s := newServerLife(m, &child{conn: newConn(ours, toMaster(), toServer()), cmd: noProcess()})
		_, err = theirs.Write(randomFrame(seed))
		testenv.Must(t, err)
		testenv.Must(t, theirs.Close())
		if err := s.read(); err != io.EOF {
			bad++
			if _, ok := errors.AsType[violation](err); !ok {
				t.Errorf("frame %d: %v, want a violation", seed, err)
			}
		}
		testenv.Must(t, s.c.conn.close())
	}
	m.running.Wait()
	if bad < 8_000 {
		t.Errorf("only %d of the frames were refused", bad)
	}
	if entries, _ := os.ReadDir(h.mail); len(entries) != 0 || testenv.Descriptors() != before {
		t.Errorf("%v in the mail directory, %d open files, want none and %d", entries, testenv.Descriptors(), before)
	}
}

// noProcess stands for the server of a session that is worked by hand.
func noProcess() *exec.Cmd { return &exec.Cmd{Process: &os.Process{}} }

// TestServerKilledInTheMiddle: nothing of a message that broke off stays, the
// next server gets what was delivered and not recorded, and it is not
// delivered again.
func TestServerKilledInTheMiddle(t *testing.T) {
	h := start(t, nil)
	k := h.dial()
	k.want("delivered", "deliver t1 u0 From-a")
	k.want("delivered", "deliver t2 u0 From-b")
	k.want("ok", "recorded t2")
	k.want("", "half t3 u0 1000000")
	h.log.Wait(t, `msg="server ended"`, 1)
	k = h.dial()
	if got := k.say("hello"); !strings.HasSuffix(got, "first [t1=delivered]") {
		t.Errorf("the next server got %q, want t1", got)
	}
	k.want("delivered", "deliver t1 u0 From-a")
	k.want("delivered", "deliver t3 u0 From-c")
	k.want("ok", "recorded t1")
	k.want("delivered", "deliver t1 u0 From-a") // recorded: the name is free
	if got, want := h.mailbox("u0"), "From-a\n\nFrom-b\n\nFrom-c\n\nFrom-a\n\n"; got != want {
		t.Errorf("mailbox %q, want %q", got, want)
	}
}

func TestReloadA80(t *testing.T) {
	var settings atomic.Value
	h := start(t, func(o *MasterOptions) {
		o.Reload = func() (Reloaded, error) {
			if s, ok := settings.Load().(string); ok {
				return Reloaded{Settings: []byte(s), Users: o.Users}, nil
			}
			return Reloaded{}, errors.New("postoffice.cf:1: no\npostoffice.cf:2: nor that")
		}
	})
	k := h.dial()
	k.say("hello")
	hup := func(text string) {
		testenv.Must(t, syscall.Kill(os.Getpid(), syscall.SIGHUP))
		h.log.Wait(t, text, 1)
	}
	hup("the old one stays")
	for _, line := range []string{`err="postoffice.cf:1: no"`, `err="postoffice.cf:2: nor that"`} {
		h.log.Wait(t, line, 1)
	}
	long := strings.Repeat("x", 100_000)
	settings.Store(long)
	hup("configuration read anew")
	if got := k.say("reloaded"); got != long {
		t.Errorf("settings %.20q of %d octets after the reload", got, len(got))
	}
}

func TestMasterStops(t *testing.T) {
	h := start(t, func(o *MasterOptions) { o.Grace = time.Hour })
	pid := strings.Fields(h.dial().say("hello"))[0]
	began := time.Now()
	testenv.Must(t, syscall.Kill(os.Getpid(), syscall.SIGTERM))
	if err := <-h.done; err != nil || time.Since(began) > time.Hour/2 {
		t.Errorf("%v after %v", err, time.Since(began))
	}
	h.done = nil
	if _, err := os.Stat("/proc/" + pid); err == nil {
		t.Error("the server still runs")
	}
	if !strings.Contains(h.log.String(), `msg="server stopped"`) {
		t.Error("the end was not logged")
	}
}

// TestMasterLeavesNothing: after the end descriptors and goroutines are as before.
func TestMasterLeavesNothing(t *testing.T) {
	once := func() {
		h := start(t, nil)
		k := h.dial()
		k.want("delivered", "deliver t1 u0 From-a")
		k.want("delivered", "large t2 u1 1000000")
		k.say("exit 1")
		k.c.Close()
		h.log.Wait(t, `msg="server ended"`, 1)
		k = h.dial()
		k.want("delivered", "deliver t1 u0 From-a")
		k.c.Close()
		h.stop()
		testenv.Must(t, <-h.done)
		h.done = nil
	}
	once() // the runtime keeps some for itself: signals, polling
	files, goroutines := testenv.Descriptors(), runtime.NumGoroutine()
	for range 3 {
		once()
	}
	// Goroutines that have nothing left to do but to end get the time for it,
	// however busy the machine is; one that leaks is there after any time.
	asBefore(t, files, goroutines)
}

// asBefore waits until there are no more descriptors and goroutines than those.
func asBefore(t *testing.T, files, goroutines int) {
	t.Helper()
	if !testenv.Eventually(func() bool { return runtime.NumGoroutine() <= goroutines && testenv.Descriptors() <= files }) {
		stacks := make([]byte, 64<<10)
		t.Errorf("%d descriptors and %d goroutines, before %d and %d\n%s", testenv.Descriptors(), runtime.NumGoroutine(), files, goroutines, stacks[:runtime.Stack(stacks, true)])
	}
}

// TestDeafServer: one that does not end when it is told to is killed.
func TestDeafServer(t *testing.T) {
	h := start(t, func(o *MasterOptions) {
		o.Settings = []byte("deaf")
		o.Grace = 100 * time.Millisecond
	})
	h.dial().say("hello")
	h.stop()
	if err := <-h.done; err != nil || !strings.Contains(h.log.String(), "did not end in time") {
		t.Errorf("%v", err)
	}
	h.done = nil
}

func TestFirstServerFails(t *testing.T) {
	h := start(t, func(o *MasterOptions) { o.Settings = []byte("exit 78") })
	err := <-h.done
	if exit, ok := errors.AsType[*service.ExitError](err); !ok || exit.Code != 78 {
		t.Errorf("%v, want exit code 78", err)
	}
	h.done = nil
}

// TestOnePass: a session on an inherited socket, no listener.
func TestOnePass(t *testing.T) {
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	testenv.Must(t, err)
	f := os.NewFile(uintptr(fds[0]), "ours")
	c, err := net.FileConn(f)
	testenv.Must(t, err)
	testenv.Must(t, f.Close())
	defer c.Close()
	ready := make(chan bool, 1)
	h := start(t, func(o *MasterOptions) {
		o.OnePass, o.Session = true, os.NewFile(uintptr(fds[1]), "theirs")
		o.Ready = func() { ready <- true }
	})
	<-ready
	k := &talk{t, c, bufio.NewReader(c)}
	k.want("delivered", "deliver t u0 From-a")
	k.say("done") // the server may be gone before it answers
	if err := <-h.done; err != nil {
		t.Error(err)
	}
	h.done = nil
}

// TestListenerBreaksR53: the port is bound again when it is free.
func TestListenerBreaksR53(t *testing.T) {
	ls, err := service.Listen(t.Context(), "", []string{testenv.OwnAddress() + ":0"}, slog.New(slog.DiscardHandler))
	testenv.Must(t, err)
	tcp := ls[0]
	n, err := net.FileListener(tcp.File)
	testenv.Must(t, err)
	tcp.Name, tcp.Address = "smtp", n.Addr().String()
	testenv.Must(t, n.Close())
	h := start(t, func(o *MasterOptions) { o.Listeners = append(o.Listeners, tcp) })
	k := h.dial()
	ask := func() string {
		c, err := net.Dial("tcp", tcp.Address)
		if err != nil {
			return err.Error()
		}
		defer c.Close()
		return (&talk{t, c, bufio.NewReader(c)}).say("hello")
	}
	if got := ask(); !strings.Contains(got, "first") {
		t.Fatalf("before: %q", got)
	}
	k.want("<nil>", "shutdown smtp")
	h.log.Wait(t, `msg="listener bound again" listen=smtp`, 1)
	k.want("ok", "recorded x")
	if got := ask(); !strings.Contains(got, "first") {
		t.Errorf("after: %q", got)
	}
}

// TestServerDiesWhileOthersWait: deliveries that wait for a mailbox's lock do
// not keep the next server from its work, and are not made behind its back.
func TestServerDiesWhileOthersWait(t *testing.T) {
	h := start(t, func(o *MasterOptions) { o.Mailboxes.LockWait = time.Minute })
	lock := filepath.Join(h.mail, "u0.lock")
	testenv.Must(t, os.WriteFile(lock, nil, 0o600))
	waiting := h.dial()
	fmt.Fprintln(waiting.c, "deliver t1 u0 From-a")
	k := h.dial()
	k.want("delivered", "deliver t2 u1 From-b")
	k.say("exit 1")
	h.log.Wait(t, `msg="server ended"`, 1)
	k = h.dial()
	k.want("delivered", "deliver t3 u1 From-c")
	testenv.Must(t, os.Remove(lock))
	k.want("delivered", "deliver t1 u0 From-a")
	if got := h.mailbox("u0"); got != "From-a\n\n" {
		t.Errorf("mailbox %q", got)
	}
}

// Names that don't exist are counted as long as a minute each.
func TestForeignNamesAreForgotten(t *testing.T) {
	s := &serverLife{}
	now := time.Now()
	for i := range 10 * maxForeign {
		if n := s.countForeign(now.Add(time.Duration(i) * forgiveAfter)); n != 1 {
			t.Fatalf("request %d, one a minute: %d are counted, want 1", i, n)
		}
	}
	now = now.Add(10 * maxForeign * forgiveAfter)
	n := 0
	for range maxForeign + 1 {
		n = s.countForeign(now)
	}
	if n <= maxForeign {
		t.Errorf("%d at once count as %d", maxForeign+1, n)
	}
}
