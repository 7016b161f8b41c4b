//go:build linux

package privsep

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"postoffice/applets/service"
	"postoffice/internal/account"
	"postoffice/internal/testenv"
)

var rootAccount = account.Account{Name: "root"}

func TestRunAndList(t *testing.T) {
	h := start(t, nil)
	k := h.dial()
	k.want("delivered 2.0.0 u3 alias 6162 true s@one.example r+x@two.example x Q1 for u3 <nil>", "run u3 alias job t1 10")
	k.want("delivered 2.0.0 10 octets <nil>", "run U0 forward U0 t2 10") // R14: their own, however it is spelt
	k.want("delivered 2.0.0 100000 octets <nil>", "run u3 alias octets t3 100000")
	k.want("delivered 2.0.0  <nil>", "run u3 alias unread t4 1000000")
	k.want("deferred 4.3.0 local delivery is not possible now read the message: disk", "brokenrun u3 alias x t5")
	k.want("deferred 4.3.0 the user's process has a fault panic: a fault", "run u3 alias panic t6 10")
	k.want("3 lines, last /list:3 member2@example.org", "list u3 alias lines:3")
	k.want("0 lines, <nil>", "list u0 alias lines:0")
	k.want("50000 lines, last /list:50000 member49999@example.org", "list u0 alias lines:50000")
	k.want("0 lines, /list: 60001 targets, at most 60000", "list u0 alias lines:60001")
	k.want("owner {File:/list User:u1 UID:20002}", "list u3 alias owner")
	k.want("0 lines, no list for forward u0 \"ext\"", "list u0 forward u0 ext")
	k.want("0 lines, panic: a fault", "list u0 alias panic")
	k.want("0 lines, the user's process ended", "list u0 alias kill")
	k.want("false <nil>", "forwards u0")
	k.want("false no such user", "forwards nobody-here")
}

// TestProgramsRights is A43 and A77: what a user's process and a program of theirs
// have.
func TestProgramsRights(t *testing.T) {
	// As if we had it from our parent: no close-on-exec, which CloseOnExecAll
	// then sets.
	inherited, err := syscall.Open("/etc/shadow", syscall.O_RDONLY, 0)
	testenv.Must(t, err)
	defer syscall.Close(inherited)
	testenv.Must(t, service.CloseOnExecAll())
	h := start(t, func(o *MasterOptions) { o.Users.DefaultUser = "u0" })
	g := h.gate()
	k := h.dial()
	got := k.say("run u0 alias program t1 10")
	got = strings.ReplaceAll(got, "SigIgn:\t0000000080000000", "SigIgn:\t0000000000000000") // glibc's own, if make started us
	for _, want := range []string{
		"|Uid:\t20001\t20001\t20001\t20001|", "|Gid:\t20101\t20101\t20101\t20101|", "|Groups:\t20101 20500 20901 |",
		"|NoNewPrivs:\t0|", "|SigBlk:\t0000000000000000|SigIgn:\t0000000000000000|", "|0077|/|0|PATH=/usr/bin:/bin|",
	} {
		if !strings.Contains(strings.ReplaceAll(got, "PWD=/|", ""), want) {
			t.Errorf("no %q in %q", want, got)
		}
	}
	for _, name := range []string{"shadow", "socket:", h.dir} {
		if strings.Contains(got, name) {
			t.Errorf("A77: the program has %s: %q", name, got)
		}
	}
	k.begin("run u0 alias ask t2 10")
	c := g.next()
	s := status(t, c.pid)
	for name, want := range map[string]string{
		"Uid": "20001 20001 20001 20001", "Gid": "20101 20101 20101 20101", "Groups": "20101 20500 20901",
		"NoNewPrivs": "0", "CapEff": "0000000000000000", "Umask": "0077",
	} {
		if s[name] != want {
			t.Errorf("user's process: %s %q, want %q", name, s[name], want)
		}
	}
	if sid, err := unix.Getsid(c.pid); err != nil || sid != c.pid {
		t.Errorf("session %d, %v, want its own", sid, err)
	}
	if b, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", c.pid)); err != nil || string(b) != "postoffice: user u0\x00" {
		t.Errorf("R46: argv %q, %v", b, err)
	}
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", c.pid))
	testenv.Must(t, err)
	for _, e := range entries {
		name, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%s", c.pid, e.Name()))
		if err == nil && name != os.DevNull && !strings.HasPrefix(name, "/sys/fs/cgroup/") && !strings.HasPrefix(name, "socket:") && !strings.HasPrefix(name, "anon_inode:") && !strings.HasPrefix(name, "pipe:") {
			t.Errorf("A77: the user's process has %s", name)
		}
	}
	c.say("delivered")
}

// A43: what is run for the server's own user, as by a .forward that a server which was
// taken over has written, gains no rights by a set-id program, as the server doesn't.
func TestServerUserConfined(t *testing.T) {
	h := start(t, func(o *MasterOptions) {
		o.Server, o.Users.DefaultUser = service.User{Name: "u0", UID: firstUID, GID: firstUID + 100}, "u0"
	})
	got := h.dial().say("run u0 alias program t1 10")
	for _, want := range []string{"|Uid:\t20001\t20001\t20001\t20001|", "|NoNewPrivs:\t1|"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in %q", want, got)
		}
	}
}

// TestUserDiesInTheMiddle: what the process was at is deferred and done again, and an
// answer that no process of ours gives ends it.
func TestUserDiesInTheMiddle(t *testing.T) {
	h := start(t, nil)
	g := h.gate()
	k := h.dial()
	frames := []frame{
		{opResult, []string{"9", "delivered", "250", "2.0.0", "", ""}},   // nobody asked
		{opResult, []string{"1", "done", "250", "2.0.0", "", ""}},        // no such status
		{opResult, []string{"1", "delivered", "25", "2.0.0", "", ""}},    // no such code
		{opResult, []string{"1", "delivered", "250", "\r\n", "", ""}},    // nor that
		{opListed, []string{"1", "owner", "/x", "../x", "20001", ""}},    // no name
		{opListed, []string{"1", "owner", "/x", "u1", "4294967296", ""}}, // no uid
		{opListed, []string{"1", "perhaps", "", "", "0", ""}},            // no outcome
		{opReady, nil}, // the server's
		{opDeliver, []string{"t", "u0", "", "", "", "", ""}}, // too
		{opResult, []string{"1", "delivered", "250", "2.0.0", strings.Repeat("x", maxWords+1), ""}},
	}
	orders := []string{"kill"}
	for _, f := range frames {
		orders = append(orders, fmt.Sprintf("frame %x", f.append(nil)))
	}
	for i, order := range orders {
		answer := k.begin("run u3 alias ask t 10")
		c := g.next()
		c.say("%s", order)
		if got := k.answer(answer); !strings.HasPrefix(got, "deferred") || !strings.Contains(got, "the user's process ended") {
			t.Errorf("%s: %q, want deferred", order, got)
		}
		awaitEnd(t, c.pid)
		if n := strings.Count(h.log.String(), "user's process killed"); n != i {
			t.Errorf("%s: %d killed in the log, want %d", order, n, i)
		}
	}
	k.want("delivered", "run u3 alias octets t 10")
}

// TestServerDiesInTheMiddleOfARun: the run goes on, its result is kept for the
// next server, and nothing is run again as long as it is kept.
func TestServerDiesInTheMiddleOfARun(t *testing.T) {
	h := start(t, nil)
	g := h.gate()
	k := h.dial()
	k.begin("run u3 alias ask t1 10")
	c := g.next()
	h.dial().say("exit 1")
	h.log.Wait(t, `msg="server ended"`, 1)
	h.dial().want("deferred 4.3.0 an earlier delivery", "run u3 alias ask t1 10")
	c.say("delivered")
	// Its end is seen by asking: an answer that it still runs, or the result.
	k = h.dial()
	limit := time.Now().Add(2 * time.Minute)
	for !strings.HasPrefix(k.say("run u3 alias ask t1 10"), "delivered") {
		if time.Now().After(limit) {
			t.Fatal("the run does not end")
		}
	}
	k.say("exit 1")
	h.log.Wait(t, `msg="server ended"`, 2)
	k = h.dial()
	if got := k.say("hello"); !strings.HasSuffix(got, "[t1=delivered]") {
		t.Errorf("the next server got %q, want t1", got)
	}
	k.want("ok", "recorded t1")
	if len(g.calls) > 0 {
		t.Error("it was run twice")
	}
}

// TestUserNotStartedA43: no process is started for uid 0, whoever asks.
func TestUserNotStartedA43(t *testing.T) {
	c, err := startUser(rootAccount, []uint32{0}, false, false)
	if err == nil {
		c.Cmd.Process.Kill()
		t.Error("a process was started for uid 0")
	}
	if got := title("a b\x01ä" + strings.Repeat("x", 100)); len(got) > 32 || strings.ContainsAny(got, " \x01ä") {
		t.Errorf("title %q", got)
	}
}
