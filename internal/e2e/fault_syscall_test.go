//go:build e2e

package e2e

import (
	"bytes"
	"cmp"
	"context"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"postoffice/internal/testenv"
)

var (
	// faultSeed chooses the short form's sample.
	faultSeed = flag.Uint64("faultseed", 0, "which system calls the short form takes; 0: others each time, the seed is printed")
	// faultOnly repeats what a run has found.
	faultOnly = flag.String("faultonly", "", "only the faults in system calls whose text contains this: \"ENOSPC at smtpd's fsync 6\"")
)

// enough failures end a test before its time.
const enough = 30

// slowest is how long a sendmail that met a fault may take: it waits a minute
// for its server.
const slowest = 90 * time.Second

// sampled is how many faults of one scenario the short form tries.
const sampled = 50

// trial is a site that handles one letter after the other, each of which meets
// one fault.
type trial struct {
	*keeper
	l   *ledger
	box string // the recipient's mailbox

	kills, errors int // that happened
	missed        int // whose call didn't come this time
	twice         int // letters that were delivered twice
	failures      int
	longest       time.Duration
	slow          meeting // that took so long
}

// meeting is how one letter met its fault.
type meeting struct {
	letter
	testenv.Fault
	calls []testenv.Call
	hit   *testenv.Call
	words string // that the programs printed
	took  time.Duration
	wrong string // what the sender was told and should not have been
}

// each records what calls the scenario makes without a fault, and runs it again
// with each fault that those calls can meet, or with a sample of them.
func (x *trial) each(scenario func(testenv.Fault) meeting) {
	x.t.Helper()
	calls := map[testenv.Fault]testenv.Call{} // by place
	for range 3 {                             // threads and timers make no two runs equal
		m := scenario(testenv.Fault{})
		x.settled(m)
		for _, c := range m.calls {
			calls[testenv.Fault{Role: c.Role, Call: c.Name, On: c.On, N: c.N}] = c
		}
		if _, acked := x.l.snapshot()[m.token]; !acked || x.t.Failed() {
			x.t.Fatalf("without a fault: not acknowledged: %v\n%s", x.l.refused, m.words)
		}
	}
	all := testenv.Faults(slices.SortedFunc(maps.Values(calls), func(a, b testenv.Call) int {
		return cmp.Or(cmp.Compare(a.Role, b.Role), cmp.Compare(a.Name, b.Name), cmp.Compare(a.On, b.On), cmp.Compare(a.N, b.N))
	}))
	x.t.Logf("%d calls, %d faults: %v", len(calls), len(all), tally(calls))
	for _, f := range x.sample(all) {
		m := scenario(f)
		x.settled(m)
		for range many(0, 2) { // threads and timers may have gone another way
			if m.hit == nil {
				x.missed--
				m = scenario(f)
				x.settled(m)
			}
		}
		if x.failures >= enough {
			x.t.Logf("%d failures are enough", x.failures)
			break
		}
	}
	x.t.Logf("%d killed, %d errors, %d calls did not come; %d letters were delivered twice; longest %v (%v: %v); not acknowledged: %v",
		x.kills, x.errors, x.missed, x.twice, x.longest.Round(time.Millisecond), x.slow.Fault, x.slow.hit, x.l.refused)
}

// tally counts the places by role and call.
func tally(calls map[testenv.Fault]testenv.Call) []string {
	n := map[string]int{}
	for _, c := range calls {
		n[c.Role+": "+c.Name]++
	}
	var all []string
	for _, what := range slices.Sorted(maps.Keys(n)) {
		all = append(all, fmt.Sprintf("%s %d", what, n[what]))
	}
	return all
}

// sample is all in the long form.
func (x *trial) sample(all []testenv.Fault) []testenv.Fault {
	if *faultOnly != "" {
		return slices.DeleteFunc(all, func(f testenv.Fault) bool { return !strings.Contains(f.String(), *faultOnly) })
	}
	if *faults == "long" || len(all) <= sampled {
		return all
	}
	seed := *faultSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	x.t.Logf("a sample of %d of %d faults: repeat it with -faultseed=%d", sampled, len(all), seed)
	random := rand.New(rand.NewPCG(seed, 0))
	random.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all[:sampled]
}

// settled counts the fault and checks what became of its letter: nothing
// lost, nothing torn but by a kill, one copy or, after a fault, two.
func (x *trial) settled(m meeting) {
	x.t.Helper()
	if m.took > x.longest {
		x.longest, x.slow = m.took, m
	}
	most, kill := 1, false
	switch {
	case m.hit == nil:
		x.missed++
	case m.Errno == 0:
		kill, most = true, 2
		x.kills++
	default:
		most = 2
		x.errors++
	}
	bad := func(format string, args ...any) {
		x.t.Helper()
		x.failures++
		x.t.Errorf("%v: %s\n%v\n%s", m.Fault, fmt.Sprintf(format, args...), m.hit, tail(m.words, 12))
	}
	if n := x.explained(); n != 0 {
		bad("%d messages are left in the queue", n)
	}
	whole, torn := 0, 0
	for _, d := range readMailbox(x.t, x.box) {
		switch {
		case d.bounce:
			bad("a bounce")
		case d.token == m.token && d.whole:
			whole++
		case !d.whole:
			torn++
		}
	}
	os.Remove(x.box)
	_, acked := x.l.snapshot()[m.token]
	if acked && whole == 0 {
		bad("LOST: acknowledged and nowhere")
	}
	if whole > most || torn > 0 && !kill {
		bad("%d whole copies, %d torn ones, want at most %d and none without a kill", whole, torn, most)
	}
	if whole > 1 {
		x.twice++
	}
	for _, word := range []string{"panic: ", "fatal error: "} {
		if strings.Contains(m.words, word) {
			bad("a panic")
		}
	}
	if m.wrong != "" {
		bad("%s", m.wrong)
	}
	if x.t.Failed() { // the next one begins with nothing
		for _, dir := range []string{"queue", "corrupt"} {
			for _, e := range readDir(x.t, x.path("queue", dir)) {
				os.Remove(x.path("queue", dir, e.Name()))
			}
		}
	}
}

// TestEverySystemCallOfSendmail has each call of sendmail be the last one or
// fail: with no daemon, where a server that it starts behind itself takes the
// message and delivers it (A29), and with one.
func TestEverySystemCallOfSendmail(t *testing.T) {
	for _, mode := range modes {
		t.Run(mode.name, func(t *testing.T) {
			l := newLAN(t)
			l.dns("one.test. IN A 10.77.0.2")
			s := mode.install(l.host("one.test"), "minfree=0")
			s.applet("runq") // makes the queue
			x := &trial{keeper: newKeeper(s, s.host), l: newLedger(), box: s.mailbox("alice")}
			x.each(func(f testenv.Fault) meeting { return x.submitTraced(s.user, f) })
		})
	}
	t.Run("through a daemon", func(t *testing.T) {
		l := newLAN(t)
		l.dns("one.test. IN A 10.77.0.2")
		s := l.host("one.test").install("minfree=0")
		x := &trial{keeper: newKeeper(s, s.host), l: newLedger(), box: s.mailbox("alice")}
		x.up()
		x.each(func(f testenv.Fault) meeting { return x.submitTraced("bob", f) })
	})
}

// submitTraced runs one sendmail, and what it starts, with a fault.
func (x *trial) submitTraced(user string, f testenv.Fault) meeting {
	x.t.Helper()
	m := meeting{letter: newLetter("alice@one.test", 40000), Fault: f}
	x.l.begin(m.letter)
	ctx, cancel := context.WithTimeout(x.t.Context(), slowest)
	defer cancel()
	args := append(testenv.TracePrefix(applet("launcher")), applet("sendmail"), "-C", x.cf, "-i", "-f", "alice@one.test", m.to)
	cmd := x.command(ctx, args...)
	if user != "" {
		cmd = x.as(ctx, user, args...)
	}
	var out bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(m.text), &out, &out
	cmd.WaitDelay = 10 * time.Second
	begin := time.Now()
	if err := cmd.Start(); err != nil {
		x.t.Fatal(err)
	}
	tracer := testenv.NewTracer(x.t, cmd.Process.Pid, binary, f)
	err := cmd.Wait()
	m.took = time.Since(begin)
	x.l.end(m.letter, err)
	m.words = out.String()
	if code := cmd.ProcessState.ExitCode(); err != nil && code != 75 && (code != -1 || f.Errno != 0) {
		m.wrong = fmt.Sprintf("sendmail: %v, want exit code 0 or 75", err)
	}
	if x.running() {
		if x.files("maildrop") > 0 { // it could not reach the daemon
			x.applet("runq")
			until(x.t, 90*time.Second, "maildrop/ is empty", func() bool { return x.files("maildrop") == 0 })
		}
		x.drained(30 * time.Second)
	} else {
		x.gone(60 * time.Second)
		x.emptied()
	}
	m.calls, m.hit = tracer.Seen()
	return m
}

// emptied runs the queue if something is in it, at most twice.
func (x *trial) emptied() {
	x.t.Helper()
	for run := 0; run < 2 && x.files("queue") > 0; run++ {
		x.applet("runq")
		x.gone(30 * time.Second)
	}
}

// TestEverySystemCallOfDaemon does the same to a server in its whole life: it
// starts, takes one message by SMTP, delivers it and ends. In the root tree the
// calls are the master's and the server's.
func TestEverySystemCallOfDaemon(t *testing.T) {
	for _, mode := range modes {
		t.Run(mode.name, func(t *testing.T) {
			l := newLAN(t)
			l.dns("one.test. IN A 10.77.0.3")
			two := l.host("two.test")
			s := mode.install(l.host("one.test"), "minfree=0")
			x := &trial{keeper: newKeeper(s, two), l: newLedger(), box: s.mailbox("alice")}
			x.each(x.serveTraced)
		})
	}
}

// serveTraced runs one server from its start to its end, with a fault. If it
// dies of it another one takes its place, without a fault.
func (x *trial) serveTraced(f testenv.Fault) meeting {
	x.t.Helper()
	m := meeting{letter: newLetter("alice@one.test", 40000), Fault: f}
	var tracer *testenv.Tracer
	said, err := x.log.Seek(0, 2)
	if err != nil {
		x.t.Fatal(err)
	}
	x.prefix = testenv.TracePrefix(applet("launcher"))
	x.started = func(pid int) {
		tracer = testenv.NewTracer(x.t, pid, binary, f)
		x.prefix, x.started = nil, nil
	}
	begin := time.Now()
	x.up()
	x.l.begin(m.letter)
	err = x.sendOnce(m.letter)
	x.l.end(m.letter, plain(err))
	if err != nil && strings.HasPrefix(err.Error(), "refused: 5") {
		m.wrong = fmt.Sprintf("%v, want a 4yz", err)
	}
	x.rest()
	x.end()
	m.took = time.Since(begin)
	x.emptied()
	m.calls, m.hit = tracer.Seen()
	words, err := os.ReadFile(x.log.Name())
	if err != nil {
		x.t.Fatal(err)
	}
	m.words = string(words[said:])
	return m
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
	return d.send("alice@one.test", sent.to, sent.text)
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
