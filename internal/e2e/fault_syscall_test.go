//go:build e2e

package e2e

import (
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"postoffice/internal/testenv"
)

// traced calls of the short form: those that a message's safety hangs on.
var (
	vitalFiles   = []string{"openat2", "write", "pwrite64", "ftruncate", "fsync", "fdatasync", "renameat2", "unlinkat"}
	vitalSockets = []string{"socket", "connect", "accept4", "recvmsg", "sendmsg"}
)

// injections of a form: what is done to which calls, and up to which number
// of each.
type injections struct {
	do    string
	calls []string
	most  int // 0: until none is left
}

// everyInjection is the list of a form. An error of write(2) would hit Go's own
// event descriptors and the pipes between processes as well, where no disk can
// cause it: the tests that fill disks do that.
func everyInjection(files, sockets []string) []injections {
	all := slices.Concat(files, sockets)
	kill, most, failing := 5, 4, 2
	if *faults == "long" {
		files = testenv.FileCalls
		all = slices.Concat(files, testenv.SocketCalls)
		kill, most, failing = 0, 0, 0
	}
	safe := func(calls []string) []string {
		return slices.DeleteFunc(slices.Clone(calls), func(call string) bool { return call == "write" })
	}
	list := []injections{{"signal=KILL", all, kill}, {"error=ENOSPC", safe(files), most}, {"error=EIO", safe(all), failing}}
	if *faults == "long" {
		list = append(list, injections{"error=EDQUOT", safe(files), 0})
	}
	return list
}

// trial is one letter that meets one injection.
type trial struct {
	*keeper
	l      *ledger
	box    string // the recipient's mailbox
	kills  int    // that were hit
	errors int
	twice  int // letters that were delivered twice
}

// each does every injection of the list to run.
func (x *trial) each(list []injections, run func(in testenv.Injection) testenv.Traced) {
	x.t.Helper()
	for _, i := range list {
		testenv.EveryCall(x.t, i.calls, i.do, false, func(in testenv.Injection) testenv.Traced {
			if x.t.Failed() || i.most > 0 && in.When > i.most {
				return testenv.Traced{}
			}
			return run(in)
		})
	}
	x.t.Logf("%d killed, %d errors, %d letters were delivered twice", x.kills, x.errors, x.twice)
}

// settled counts the injection and checks what became of its letter: nothing
// lost, nothing torn but by a kill, one copy or, after a fault, two.
func (x *trial) settled(r testenv.Traced, sent letter) {
	x.t.Helper()
	// Go's runtime ends the process when its own event descriptor fails.
	kill := strings.HasPrefix(r.Do, "signal") || strings.Contains(r.Stderr, "fatal error: runtime: ")
	most := 1
	if r.Hit != "" {
		most = 2
		if kill {
			x.kills++
		} else {
			x.errors++
		}
	}
	if x.explained() != 0 {
		x.t.Errorf("%v: %d messages are left in the queue\n%s", r.Injection, x.explained(), r.Hit)
	}
	whole, torn := 0, 0
	for _, d := range readMailbox(x.t, x.box) {
		switch {
		case d.bounce:
			x.t.Errorf("%v: a bounce\n%s", r.Injection, r.Hit)
		case d.token == sent.token && d.whole:
			whole++
		case !d.whole:
			torn++
		}
	}
	_, acked := x.l.snapshot()[sent.token]
	if acked && whole == 0 {
		x.t.Errorf("%v: LOST: acknowledged and nowhere\n%s", r.Injection, r.Hit)
	}
	if whole > most || torn > 0 && x.kills == 0 {
		x.t.Errorf("%v: %d whole copies, %d torn ones in all, want at most %d and none without a kill\n%s", r.Injection, whole, torn, most, r.Hit)
	}
	if whole > 1 {
		x.twice++
	}
	if strings.Contains(r.Stderr, "panic: ") {
		x.t.Errorf("%v: a panic:\n%s", r.Injection, r.Stderr)
	}
}

// TestEverySystemCallOfSendmail injects SIGKILL and errors into each call of
// sendmail, and of the server that it starts behind itself where no daemon
// runs: one submission, one acceptance and one delivery (A29).
func TestEverySystemCallOfSendmail(t *testing.T) {
	for _, mode := range modes {
		t.Run(mode.name, func(t *testing.T) {
			l := newLAN(t)
			l.dns("one.test. IN A 10.77.0.2")
			s := mode.install(l.host("one.test"), "minfree=0")
			s.applet("runq") // makes the queue
			x := &trial{keeper: newKeeper(s, s.host), l: newLedger(), box: s.mailbox("alice")}
			x.each(everyInjection(vitalFiles, vitalSockets), x.submitTraced)
		})
	}
}

// submitTraced runs one sendmail, and what it starts, under strace.
func (x *trial) submitTraced(in testenv.Injection) testenv.Traced {
	x.t.Helper()
	sent := newLetter("alice@one.test", 40000)
	x.l.begin(sent)
	r := testenv.Strace{
		Args:   []string{applet("sendmail"), "-C", x.cf, "-i", "-f", "writer@one.test", sent.to},
		Stdin:  strings.NewReader(sent.text),
		Within: []string{"ip", "netns", "exec", x.ns},
		User:   x.user,
	}.Run(x.t, in)
	if r.Code == 0 {
		x.l.end(sent, nil)
	}
	x.gone(30 * time.Second)
	x.emptied()
	x.settled(r, sent)
	return r
}

// emptied runs the queue if something is in it, at most twice.
func (x *trial) emptied() {
	x.t.Helper()
	for run := 0; run < 2 && x.files("queue") > 0; run++ {
		x.applet("runq")
		x.gone(30 * time.Second)
	}
}

// TestEverySystemCallOfDaemon does the same to a running server while it takes
// one message by SMTP and delivers it.
func TestEverySystemCallOfDaemon(t *testing.T) {
	l := newLAN(t)
	l.dns("one.test. IN A 10.77.0.3")
	two := l.host("two.test")
	s := l.host("one.test").installFor(people[6], "minfree=0")
	x := &trial{keeper: newKeeper(s, two), l: newLedger(), box: s.mailbox("alice")}
	x.each(everyInjection(vitalFiles, []string{"accept4", "read"}), func(in testenv.Injection) testenv.Traced {
		x.up()
		stop := testenv.Attach(t, x.cmd.Process.Pid, in)
		sent := newLetter("alice@one.test", 40000)
		x.l.begin(sent)
		x.l.end(sent, plain(x.sendOnce(sent)))
		x.rest()
		r := stop()
		x.end()
		x.emptied()
		x.settled(r, sent)
		return r
	})
}

// sendOnce sends a letter to a server that may die meanwhile.
func (x *trial) sendOnce(sent letter) error {
	conn, err := x.from.dial(net.JoinHostPort(x.IP, x.port))
	if err != nil {
		return err
	}
	defer conn.Close()
	d, err := newDialogue(conn, "writer.two.test")
	if err != nil {
		return err
	}
	defer d.quit()
	return d.send("writer@two.test", sent.to, sent.text)
}

// rest waits until the queue is empty, for a moment, or the server has died.
func (x *trial) rest() {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	end := time.After(500 * time.Millisecond)
	for x.running() && x.files("queue") > 0 {
		select {
		case <-tick.C:
		case <-end:
			return
		}
	}
}
