//go:build linux

package privsep

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"postoffice/internal/testenv"
)

// TestManyUsers: 40 at once in 32 processes, and no more than four runs of
// one user at one time.
func TestManyUsers(t *testing.T) {
	h := start(t, nil)
	g := h.gate()
	passwd, err := os.ReadFile(h.path("passwd"))
	testenv.Must(t, err)
	for i := range 40 {
		passwd = fmt.Appendf(passwd, "p%d:x:%d:%d::/nonexistent:/bin/false\n", i, 21000+i, 21000+i)
	}
	testenv.Must(t, os.WriteFile(h.path("passwd"), passwd, 0o644))
	var done []<-chan string
	for i := range 40 {
		done = append(done, h.dial().begin("run p%d usermap ask t%d 10", i, i))
	}
	var held []*call
	pids := map[int]bool{}
	for range maxRunning {
		c := g.next()
		held, pids[c.pid] = append(held, c), true
	}
	if len(pids) != maxRunning || len(userProcesses(t)) != maxRunning || len(g.calls) > 0 {
		t.Errorf("%d processes worked, %d are alive, %d more work, want %d, %[4]d, 0", len(pids), len(userProcesses(t)), len(g.calls), maxRunning)
	}
	for i := range 40 {
		if i < len(held) {
			held[i].say("delivered")
		} else {
			g.next().say("delivered")
		}
		if n := len(userProcesses(t)); n > maxUsers {
			t.Errorf("%d processes, want at most %d", n, maxUsers)
		}
	}
	for i, answer := range done {
		if got := <-answer; !strings.HasPrefix(got, "delivered") {
			t.Errorf("user %d: %q", i, got)
		}
	}
	done = nil
	for i := range 2 * perUser {
		done = append(done, h.dial().begin("run u2 usermap ask x%d 10", i))
	}
	held = held[:0]
	for range perUser {
		held = append(held, g.next())
	}
	h.dial().want("1 lines", "list u2 usermap lines:1") // lists have places of their own
	if len(g.calls) > 0 {
		t.Errorf("more than %d runs at one time", perUser)
	}
	for i := range 2 * perUser {
		if i < perUser {
			held[i].say("delivered")
		} else {
			g.next().say("delivered")
		}
	}
	for _, answer := range done {
		<-answer
	}
}

// TestWaitForAPlaceEnds: a request that finds no place in time is deferred.
func TestWaitForAPlaceEnds(t *testing.T) {
	h := start(t, func(o *MasterOptions) { o.placeWait = 100 * time.Millisecond })
	g := h.gate()
	for i := range perUser {
		h.dial().begin("run u2 usermap ask t%d 10", i)
		g.next()
	}
	for i := range perDefault { // one alias has no more than perUser
		h.dial().begin("run u3 alias ask d%d 10", i)
		g.next()
	}
	for _, who := range []string{"u2 usermap", "u3 alias"} {
		h.dial().want("deferred 4.3.0 the address's program or file can't be used now too many users' processes are busy", "run %s ask x%s 10", who, who[:2])
	}
}

// TestStoppedUserHoldsUpNobody: lists of users whose processes don't answer, as
// they do when their users stop them, keep nobody else's from being read.
func TestStoppedUserHoldsUpNobody(t *testing.T) {
	h := start(t, nil)
	k := h.dial()
	var waiting []<-chan string
	for range 2 * linkLists {
		waiting = append(waiting, h.dial().begin("list u1 alias hang"))
	}
	for len(userProcesses(t)) == 0 {
		k.say("hello")
	}
	k.want("3 lines", "list u2 alias lines:3")
	for _, pid := range userProcesses(t) {
		syscall.Kill(pid, syscall.SIGKILL)
	}
	h.stop()
	for _, w := range waiting {
		<-w
	}
}

// TestListsGivenUp: the places of lists that nobody waits for any more are
// taken until the answer comes, so that a server that asks for others does not
// ask for more than the master allows, and is not taken for a broken one.
func TestListsGivenUp(t *testing.T) {
	h := start(t, nil)
	k := h.dial()
	before := k.say("hello")
	for i := range 3 {
		for range 3 {
			k.want("ok", "giveup u%d hang 40", i)
		}
	}
	if after := k.say("hello"); after != before {
		t.Errorf("%q, was %q: the master killed its server", after, before)
	}
	k.want("2 lines", "list u3 alias lines:2")
}

// TestRunTakesTooLong: a process that gives no answer in the time of a program
// and some more is killed. How long it takes to appear has no part in it.
func TestRunTakesTooLong(t *testing.T) {
	h := start(t, func(o *MasterOptions) { o.Users.RunTime, o.runSpare = 50*time.Millisecond, 50*time.Millisecond })
	h.gate()
	k := h.dial()
	for n := 0; !strings.HasPrefix(k.say("run u3 alias x early%d 10", n), "delivered"); n++ {
		// On a busy machine it was not there in time, and another one is on its way.
	}
	alive := userProcesses(t)
	got := k.say("run u3 alias ask t 10")
	if !strings.Contains(got, "deferred 4.3.0 the address's program or file can't be used now the user's process ended: it gave no answer in 100ms") {
		t.Errorf("%q", got)
	}
	for _, pid := range alive {
		awaitEnd(t, pid)
	}
}

// TestStopWhileAProgramRuns: a master that is told to end has programs ended long
// before its server's time is over, which so can record what became of them.
func TestStopWhileAProgramRuns(t *testing.T) {
	h := start(t, func(o *MasterOptions) {
		o.Settings, o.Grace, o.programWait = []byte("patient"), time.Hour, time.Millisecond
	})
	g := h.gate()
	k := h.dial()
	answer := k.begin("run u3 alias ask t 10")
	c := g.next()
	h.stop()
	if got := k.answer(answer); !strings.HasPrefix(got, "deferred 4.3.0") || !strings.HasSuffix(got, "the user's process ended") {
		t.Errorf("%q, want deferred", got)
	}
	testenv.Must(t, <-h.done)
	h.done = nil
	awaitEnd(t, c.pid)
}

// TestNotStartedA43: a limit of a user's processes, which root doesn't have, holds
// for what is done for the user, and without the groups nothing is started: the
// mail waits.
func TestNotStartedA43(t *testing.T) {
	h := start(t, nil)
	k := h.dial()
	k.say("hello") // the server runs
	var limit unix.Rlimit
	testenv.Must(t, unix.Getrlimit(unix.RLIMIT_NPROC, &limit))
	none := limit
	none.Cur = 0
	testenv.Must(t, unix.Setrlimit(unix.RLIMIT_NPROC, &none))
	got := k.say("run u3 alias program t 10")
	testenv.Must(t, unix.Setrlimit(unix.RLIMIT_NPROC, &limit))
	// The kernel refuses the program, or threads of the process a moment earlier.
	if !strings.Contains(got, "resource temporarily unavailable") && !strings.HasPrefix(got, "deferred 4.3.0 the address's program or file can't be used now the user's process ") {
		t.Errorf("%q, want no program", got)
	}
	testenv.Must(t, os.Remove(h.path("group")))
	testenv.Must(t, os.Mkdir(h.path("group"), 0o755))
	k.want("deferred 4.3.0 the address's program or file can't be used now the user's process could not be started: look for the groups of u1", "run u1 forward u1 t2 10")
	testenv.Must(t, os.Remove(h.path("group")))
	k.want("delivered", "run u1 forward u1 t3 10") // whoever has no such file is in no group
}

// TestIdleUsersEnd: a process that nobody needs ends; so does one whose
// settings are old, after its work.
func TestIdleUsersEnd(t *testing.T) {
	h := start(t, func(o *MasterOptions) {
		o.idleTime = 50 * time.Millisecond
		changed := o.Users
		changed.DefaultUser = "u2"
		o.Reload = func() (Reloaded, error) { return Reloaded{[]byte("second"), changed}, nil }
	})
	g := h.gate()
	k := h.dial()
	var answer <-chan string
	ask := func(user string) *call {
		answer = k.begin("run %s alias ask t 10", user)
		return g.next()
	}
	c := ask("u3")
	c.say("delivered")
	<-answer
	k.want("ok", "recorded t")
	awaitEnd(t, c.pid)
	c = ask("u3")
	testenv.Must(t, syscall.Kill(os.Getpid(), syscall.SIGHUP))
	k2 := h.dial()
	if got := k2.say("reloaded"); got != "second" {
		t.Errorf("settings %q", got)
	}
	k2.want("deferred 4.3.0 this user's process can't be started now u3 is the default-user no longer", "run u3 alias x t2 10")
	c.say("refused")
	if got := <-answer; !strings.HasPrefix(got, "bounced 5.3.0") {
		t.Errorf("%q", got)
	}
	awaitEnd(t, c.pid)
	c = ask("u2")
	c.say("delivered")
	<-answer
}

// TestNoUsersLeft: after the end no process, goroutine or descriptor of users is
// there, whatever they were at.
func TestNoUsersLeft(t *testing.T) {
	var pids []int
	once := func() {
		h := start(t, func(o *MasterOptions) { o.Grace = userEnd + 100*time.Millisecond })
		g := h.gate()
		k := h.dial()
		k.want("1 lines", "list u0 alias lines:1")
		k.want("delivered", "run u3 alias octets t1 100000")
		busy, stopped := h.dial(), h.dial()
		answers := []<-chan string{busy.begin("run u3 alias ask t2 10")}
		first := g.next()
		answers = append(answers, stopped.begin("run u1 usermap ask t3 10"))
		second := g.next()
		second.say("stop") // it hears nothing: killed
		pids = append(userProcesses(t), first.pid, second.pid)
		k.c.Close()
		h.stop()
		testenv.Must(t, <-h.done)
		h.done = nil
		<-answers[0]
		<-answers[1]
		busy.c.Close()
		stopped.c.Close()
		first.c.Close()
		second.c.Close()
		g.l.Close()
	}
	once()
	files, goroutines := testenv.Descriptors(), runtime.NumGoroutine()
	once()
	for _, pid := range pids {
		awaitEnd(t, pid)
	}
	asBefore(t, files, goroutines)
}

// TestNoDescriptorsA73: a master that may open no more files defers what needs
// one. It is not the server's fault, which lives on.
func TestNoDescriptorsA73(t *testing.T) {
	h := start(t, nil)
	k := h.dial()
	before := k.say("hello")
	k.want("1 lines", "list u3 alias lines:1") // the process is there
	var limit unix.Rlimit
	testenv.Must(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &limit))
	less := limit
	less.Cur = uint64(testenv.Descriptors()) + 20
	testenv.Must(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &less))
	var fillers []*os.File
	for {
		f, err := os.Open(os.DevNull)
		if err != nil {
			break
		}
		fillers = append(fillers, f)
	}
	large := k.say("large t1 u0 1000000")
	run := k.say("run u3 alias octets t2 10")
	list := k.say("list u3 alias lines:1")
	closeAll(fillers)
	testenv.Must(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &limit))
	for _, got := range []string{large, run} {
		if !strings.HasPrefix(got, "deferred 4.3.0") || !strings.Contains(got, "may open no more files") {
			t.Errorf("%q, want deferred", got)
		}
	}
	if !strings.HasPrefix(list, "0 lines, this process may open no more files") {
		t.Errorf("%q, want an error", list)
	}
	k.want("delivered", "large t1 u0 1000000")
	k.want("delivered", "run u3 alias octets t2 10")
	k.want("1 lines", "list u3 alias lines:1")
	if got := k.say("hello"); got != before {
		t.Errorf("server %q, before %q", got, before)
	}
}
